"""Append-only files of JSON lines, and the lock that is held to write to them."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .. import atomic
from ..errors import RethinkError
from ..text_files import parse_record

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
MAX_LINE = 2**24  # bytes
_log = logging.getLogger(__name__)
_reported: set[tuple[str, int]] = set()  # (path, offset) of damaged lines that were logged


class DiskFull(RethinkError):
    """Nothing more can be written. This ends a run, which resumes where it stopped when it is started again."""


class NewerVersion(RethinkError):
    """A record written by a newer version, which this one cannot check."""


@contextmanager
def disk_full_as_error(folder: Path) -> Iterator[None]:
    """Raise DiskFull for an OSError that means a full or read-only disk."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            if error.errno == errno.EROFS:
                raise DiskFull(f"{folder} is on a read-only disk; choose another folder.") from error
            raise DiskFull(f"no space left in {folder}; free some space and run again to resume.") from error
        raise


def fields_are(**kinds: type | tuple[type, ...]) -> Callable[[dict], None]:
    """A check, for JsonlLog, that a record has fields of these types."""

    def check(record: dict) -> None:
        for name, kind in kinds.items():
            if not isinstance(record.get(name), kind):
                raise RethinkError(f"its “{name}” is missing or has the wrong type")

    return check


class JsonlLog:
    """An append-only file of JSON lines. A line torn by a kill is cut off when the file is opened for writing.

    check: raises RethinkError with the reason for a record that does not belong here. required: whether a damaged line is
    an error that names it. Otherwise it is skipped with one warning, since its contents will be computed again.
    """

    def __init__(self, path: Path, check: Callable[[dict], None] = lambda record: None, required: bool = False):
        self.path, self.check, self.required = path, check, required

    def __iter__(self) -> Iterator[dict]:
        return (record for *_, record in self.read_from(0))

    def read_from(self, offset: int) -> Iterator[tuple[int, int, dict]]:
        """(start, end, record) of every complete line from `offset` on, all in bytes."""
        for start, end, record in self._lines(offset):
            if not isinstance(record, RethinkError):
                yield start, end, record
            elif self.required:
                raise RethinkError(f"{self._damage(start, record)}; delete this one line and keep all others.")
            elif (str(self.path), start) not in _reported:
                _reported.add((str(self.path), start))
                _log.warning("%s and is skipped. All other lines are used.", self._damage(start, record))

    def damage(self) -> list[str]:
        """A sentence for every line that is skipped."""
        return [
            f"{self._damage(at, why)} and is skipped." for at, _, why in self._lines(0) if isinstance(why, RethinkError)
        ]

    def _lines(self, offset: int) -> Iterator[tuple[int, int, dict | RethinkError]]:
        if not self.path.exists():
            return
        if not self.path.is_file():  # a pipe would block forever
            raise RethinkError(f"pairs: {self.path} is not a file; choose another store.")
        with open(self.path, "rb") as lines:
            lines.seek(offset)
            while line := lines.readline(MAX_LINE):
                start, whole = offset, len(line) < MAX_LINE
                offset += len(line)
                while not line.endswith(b"\n") and (line := lines.readline(MAX_LINE)):
                    offset += len(line)
                if not line:
                    return  # torn, or being written right now
                if not line.isspace():
                    yield start, offset, self._record(line) if whole else RethinkError("it is too long")

    def _record(self, line: bytes) -> dict | RethinkError:
        try:
            record = parse_record(line)
            self.check(record)
            return record
        except NewerVersion:
            raise
        except RethinkError as error:
            return error

    def _damage(self, start: int, why: RethinkError) -> str:
        with open(self.path, "rb") as file:
            number = 1
            while start > 0 and (part := file.read(min(start, 2**20))):
                number, start = number + part.count(b"\n"), start - len(part)
        return f"{self.path}: line {number} is damaged ({why})"

    def repair(self) -> None:
        """Complete the last line where only its line break is missing, or cut it off where it is torn.

        Needs the write lock.

        Raises RethinkError for a file that Rethink did not write.
        """
        if not self.path.exists():
            return
        if self._is_foreign():
            raise self._foreign_error()
        with open(self.path, "rb+") as file:
            end, position = file.seek(0, os.SEEK_END), self._end_of_lines(file)
            file.seek(position)
            # A machine that lost power leaves zeros.
            tail = file.read(min(MAX_LINE, end - position)).rstrip(b"\0 \t\r")
            if tail and not isinstance(self._record(tail), RethinkError):
                file.truncate(position + len(tail))
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
            elif tail and (_is_json(tail) or not tail.startswith(b"{")):
                raise self._foreign_error()
            else:
                file.truncate(position)

    def _is_foreign(self) -> bool:
        """Whether it has lines, none of them valid."""
        damaged = False
        for *_, record in self._lines(0):
            damaged = isinstance(record, RethinkError)
            if not damaged:
                break
        return damaged

    def _foreign_error(self) -> RethinkError:
        return RethinkError(f"{self.path} was not written by Rethink and will not be changed; choose another path.")

    @staticmethod
    def _end_of_lines(file) -> int:
        position = file.seek(0, os.SEEK_END)
        while position:
            start = max(0, position - 65536)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            position = start
        return 0

    def end_line(self) -> None:
        """End a line in which a write was cut off, so that the next one is whole. Needs no lock."""
        if not self.path.is_file() or not self.path.stat().st_size:
            return
        with open(self.path, "rb") as lines:
            lines.seek(-1, os.SEEK_END)
            torn = lines.read(1) != b"\n"
        if torn:
            with open(self.path, "ab") as lines:  # at the end, wherever that is by now
                lines.write(b"\n")

    def append(self, *records: dict) -> None:
        """Write records, one per line, all or none. Raises DiskFull."""
        if not records:
            return
        data = "".join(json.dumps(record) + "\n" for record in records).encode()
        with disk_full_as_error(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            try:
                before = os.fstat(file).st_size
                if os.write(file, data) < len(data):  # the disk is full: leave no partial line
                    os.ftruncate(file, before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(file)


def _is_json(line: bytes) -> bool:
    try:
        return bool(parse_record(line))
    except RethinkError:
        return False


class LatestIndex:
    """The latest record of every id in a log. Only offsets are held in memory, since there may be millions."""

    def __init__(self, log: JsonlLog):
        self.log, self._offsets, self._end = log, {}, 0
        self.refresh()

    def refresh(self) -> None:
        """Read what was appended since the last call."""
        for start, end, record in self.log.read_from(self._end):
            self._end = end
            self._offsets[record["id"]] = start

    def __contains__(self, id: str) -> bool:
        return id in self._offsets

    def __iter__(self) -> Iterator[str]:
        return iter(self._offsets)

    def records(self, ids: Iterable[str]) -> Iterator[dict]:
        """The latest record of each id, in their order."""
        offsets = [self._offsets[id] for id in ids]
        if not offsets:
            return  # there may be no file yet
        with open(self.log.path, "rb") as lines:
            for offset in offsets:
                lines.seek(offset)
                yield json.loads(lines.readline())


@contextmanager
def locked(path: Path, what: Path) -> Iterator[None]:
    """Hold the lock file `path`, created if missing. The system releases it when the process dies.

    Raises RethinkError saying that `what` is in use or cannot be written.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(atomic.locked(path))
        except BlockingIOError as error:
            raise RethinkError(f"another run is writing to {what}; wait until it ends, or choose another.") from error
        except OSError as error:
            raise RethinkError(f"cannot write to {what}: {error.strerror}.") from error
        yield
