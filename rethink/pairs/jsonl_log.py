"""Files of JSON lines that are only ever appended, and the right to append to them."""

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
LONGEST = 2**24  # bytes of a line of ours
_log = logging.getLogger(__name__)
_said: set[tuple[str, int]] = set()  # damaged lines that were told of


class DiskFull(RethinkError):
    """Nothing more can be written; a run ends by it, and goes on where it stopped when it is started again."""


class NewerVersion(RethinkError):
    """What a newer version has written, which is not for this one to judge."""


@contextmanager
def disk_full_as_error(folder: Path) -> Iterator[None]:
    """Within it, that there is none left is a DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(f"pairs: no room left in {folder}; make room and run again, it goes on.") from error
        raise


def fields_are(**kinds: type | tuple[type, ...]) -> Callable[[dict], None]:
    """A check that a record has fields of these types."""

    def check(record: dict) -> None:
        for name, kind in kinds.items():
            if not isinstance(record.get(name), kind):
                raise RethinkError(f"its “{name}” is missing or of another kind")

    return check


class JsonlLog:
    """A file of JSON lines that is only ever appended. A line torn by a kill is cut off when it is opened to write.

    check: raises RethinkError with the reason for a record that is none of this file's. A damaged line is left out, and said
    so once, as what stands in it is made anew; where it cannot be (`needed`), it is an error that names the line.
    """

    def __init__(self, path: Path, check: Callable[[dict], None] = lambda record: None, needed: bool = False):
        self.path, self.check, self.needed = path, check, needed

    def __iter__(self) -> Iterator[dict]:
        return (record for *_, record in self.read_from(0))

    def read_from(self, place: int) -> Iterator[tuple[int, int, dict]]:
        """(where the line begins, where it ends, its record) of every whole line from `place` on, both in bytes."""
        for start, end, record in self._lines(place):
            if not isinstance(record, RethinkError):
                yield start, end, record
            elif self.needed:
                raise RethinkError(f"{self._damage(start, record)}; delete this one line, all others are kept.")
            elif (str(self.path), start) not in _said:
                _said.add((str(self.path), start))
                _log.warning("%s, and left out. All other lines are used.", self._damage(start, record))

    def damage(self) -> list[str]:
        """A sentence for every line that is left out."""
        return [
            f"{self._damage(at, why)}, and left out." for at, _, why in self._lines(0) if isinstance(why, RethinkError)
        ]

    def _lines(self, place: int) -> Iterator[tuple[int, int, dict | RethinkError]]:
        if not self.path.exists():
            return
        if not self.path.is_file():  # a pipe would be waited for without end
            raise RethinkError(f"pairs: {self.path} is no file; choose another store.")
        with open(self.path, "rb") as lines:
            lines.seek(place)
            while line := lines.readline(LONGEST):
                start, whole = place, len(line) < LONGEST
                place += len(line)
                while not line.endswith(b"\n") and (line := lines.readline(LONGEST)):
                    place += len(line)
                if not line:
                    return  # torn, or being written right now
                if not line.isspace():
                    yield start, place, self._record(line) if whole else RethinkError("it is too long")

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
        """End a last line that has no end, or cut it off where it is torn. Only for who holds the right to write.

        Raises RethinkError where it is none of ours.
        """
        if not self.path.exists():
            return
        if self._is_strange():
            raise self._stranger()
        with open(self.path, "rb+") as file:
            end, position = file.seek(0, os.SEEK_END), self._end_of_lines(file)
            file.seek(position)
            tail = file.read(min(LONGEST, end - position)).rstrip(
                b"\0 \t\r"
            )  # a machine that lost its power leaves zeros
            if tail and not isinstance(self._record(tail), RethinkError):
                file.truncate(position + len(tail))
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
            elif tail and (_is_json(tail) or not tail.startswith(b"{")):
                raise self._stranger()
            else:
                file.truncate(position)

    def _is_strange(self) -> bool:
        """Whether it has lines, and none of them is ours."""
        damaged = False
        for *_, record in self._lines(0):
            damaged = isinstance(record, RethinkError)
            if not damaged:
                break
        return damaged

    def _stranger(self) -> RethinkError:
        return RethinkError(
            f"{self.path} holds what was not written by Rethink, and is left alone; choose another place."
        )

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

    def append(self, *records: dict) -> None:
        """Write records, a line each, all at once or not at all. Raises DiskFull."""
        if not records:
            return
        data = "".join(json.dumps(record) + "\n" for record in records).encode()
        with disk_full_as_error(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            try:
                before = os.fstat(file).st_size
                if os.write(file, data) < len(data):  # the disk is full: leave no half line
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
    """The last line of every id in a log. Only where it stands is held, not what it says: there may be millions."""

    def __init__(self, log: JsonlLog):
        self.log, self._places, self._end = log, {}, 0
        self.refresh()

    def refresh(self) -> None:
        """Take in what was appended since."""
        for start, end, record in self.log.read_from(self._end):
            self._end = end
            self._places[record["id"]] = start

    def __contains__(self, id: str) -> bool:
        return id in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def of(self, ids: Iterable[str]) -> Iterator[dict]:
        """The records of some ids, in their order."""
        places = [self._places[id] for id in ids]
        if not places:
            return  # there may be no file yet
        with open(self.log.path, "rb") as lines:
            for place in places:
                lines.seek(place)
                yield json.loads(lines.readline())


@contextmanager
def locked(path: Path, what: Path) -> Iterator[None]:
    """Hold the lock file `path`, made where it is missing; the system lets go of it when the process dies.

    Raises RethinkError saying that `what` is in use, or cannot be written.
    """
    with ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(atomic.locked(path))
        except BlockingIOError as error:
            raise RethinkError(f"pairs: another run is writing to {what}; wait for it, or choose another.") from error
        except OSError as error:
            raise RethinkError(f"pairs: cannot write to {what}: {error.strerror}.") from error
        yield
