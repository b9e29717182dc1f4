"""The store of edit pairs: a folder with images and a manifest that is only ever appended, one JSON line a pair.

    my-pairs/
      manifest.jsonl     one EditPair a line; a pair exists when its line does
      images/ab/…        written whole before their line
      skipped.jsonl      what was left out, and why
      spots.jsonl        where a thinker saw what in which source
      drawn.jsonl        captions whose candidates were drawn, and what became of them
      seeds.jsonl        with which seeds which work was begun
      scores.jsonl       what the filters measured
      verdicts.jsonl     accepted or rejected, and why; the last line of a pair counts

Kill it anywhere: the next run cuts off a torn line, sees which pairs are there, and makes the others.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RethinkError
from .pictures import encode_png, read_picture, write_whole

SCHEMA = 1
MANIFEST, LOCK = "manifest.jsonl", ".lock"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class DiskFull(RethinkError):
    """Nothing more can be written; a run ends by it, and goes on where it stopped when it is started again."""


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Within it, that there is none left is a DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(f"pairs: no room left in {folder}; make room and run again, it goes on.") from error
        raise


@dataclass(frozen=True)
class EditPair:
    """One example of an edit: `input` + `instruction` → `target`.

    id: 16 hexadecimal digits, the same for the same source, number and recipe.
    input, target: image files relative to the store. The real picture is the target of an inverse edit.
    region: a mask file, white where the two may differ; "" where everything may.
    operation, parameters, seed: how it was made. source: which picture it came from; `number`: its how-manieth pair.
    description: what the operation hid, as the instruction tells it.
    input_caption, target_caption: captions of both, where there are any (pairs from captions).
    """

    id: str
    input: str
    target: str
    instruction: str
    region: str = ""
    operation: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    source: str = ""
    number: int = 0
    description: str = ""
    input_caption: str = ""
    target_caption: str = ""

    def to_json(self) -> dict:
        """The pair as its line in the manifest, with the version of the layout."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, record: dict) -> EditPair:
        """Raises RethinkError for a record that is no pair, was written by a newer version, or points out of the store."""
        try:
            if record.get("schema", SCHEMA) > SCHEMA:
                raise RethinkError("pairs: a newer version of Rethink has written this store; update Rethink to read it.")
            pair = cls(**{name: value for name, value in record.items() if name in FIELDS})
            outside = [path for path in (pair.input, pair.target, pair.region) if not stays_inside(path)]
        except (TypeError, AttributeError) as error:
            raise RethinkError(f"pairs: a line of the manifest is no pair ({error}).") from error
        if outside:
            raise RethinkError(f"pairs: the path {outside[0]!r} in the manifest leads out of the store.")
        return pair


FIELDS = frozenset(field.name for field in fields(EditPair))


def stays_inside(path: str) -> bool:
    """Whether a relative path, in the notation of any system, stays in its folder."""
    path = path.replace("\\", "/")
    return not (path.startswith("/") or path[1:2] == ":" or ".." in path.split("/"))


def is_within(path: str | Path, folder: str | Path) -> bool:
    """Whether a file, its links followed, lies in a folder, whose own links are followed too."""
    real, home = (os.path.normcase(os.path.realpath(place)) for place in (path, folder))
    return real.startswith(os.path.join(home, ""))


def json_lines(path: str | Path, name: str) -> Iterator[dict]:
    """The records of somebody's file of JSON lines; RethinkError naming the input, the file and the line for what is none."""
    number = 0
    try:
        with open(path, encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise ValueError("it is no record")
                    yield record
    except OSError as error:
        raise RethinkError(f"{name}: cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise RethinkError(f"{name}: line {number} of {path} is no JSON line: {error}") from error


class Ledger:
    """A file of JSON lines that is only ever appended. A line torn by a kill is cut off when it is opened to write."""

    def __init__(self, path: Path):
        self.path = path

    def __iter__(self) -> Iterator[dict]:
        return (record for _, record in self.since(0))

    def since(self, place: int) -> Iterator[tuple[int, dict]]:
        """(where the line ends, its record) of every whole line from `place` on, both in bytes."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as lines:
            lines.seek(place)
            for line in lines:
                if not line.endswith(b"\n"):
                    return  # torn, or being written right now
                place += len(line)
                try:
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise ValueError("it is no record")
                except ValueError as error:
                    number = self.path.read_bytes()[:place].count(b"\n")
                    raise RethinkError(f"{self.path}: line {number} is no JSON record; repair or delete it.") from error
                yield place, record

    def repair(self) -> None:
        """Cut off a last line that has no end. Only for who holds the right to write."""
        if not self.path.exists():
            return
        with open(self.path, "rb+") as file:
            end = position = file.seek(0, os.SEEK_END)
            while position:
                start = max(0, position - 65536)
                file.seek(start)
                newline = file.read(position - start).rfind(b"\n")
                if newline >= 0:
                    position = start + newline + 1
                    break
                position = start
            if position < end:
                file.truncate(position)

    def append(self, *records: dict) -> None:
        """Write records, a line each, all at once or not at all. Raises DiskFull."""
        if not records:
            return
        data = "".join(json.dumps(record) + "\n" for record in records).encode()
        with room_in(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            try:
                before = os.fstat(file).st_size
                if os.write(file, data) < len(data):  # the disk is full: leave no half line
                    os.ftruncate(file, before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(file)


class Last:
    """The last line of every id in a ledger. Only where it stands is held, not what it says: there may be millions."""

    def __init__(self, ledger: Ledger):
        self.ledger, self._places, self._end = ledger, {}, 0
        self.read_on()

    def read_on(self) -> None:
        """Take in what was appended since."""
        for end, record in self.ledger.since(self._end):
            self._places[record["id"]], self._end = self._end, end

    def __contains__(self, id: str) -> bool:
        return id in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def of(self, ids: Iterable[str]) -> Iterator[dict]:
        """The records of some ids, in their order."""
        lines = None
        try:
            for id in ids:
                lines = lines or open(self.ledger.path, "rb")
                lines.seek(self._places[id])
                yield json.loads(lines.readline())
        finally:
            if lines:
                lines.close()


class Verdicts(dict[str, dict]):
    """id → {"id", "accepted", "why": [reasons], "by"}: the verdict on every pair that has one. A person's stands over a
    filter's, until it is taken back."""

    def __init__(self, ledger: Ledger):
        super().__init__()
        self.ledger, self._by_filter, self._end = ledger, {}, 0
        self.read_on()

    def read_on(self) -> None:
        """Take in what was appended since."""
        for self._end, verdict in self.ledger.since(self._end):
            id = verdict["id"]
            if verdict["by"] == "filter":
                self._by_filter[id] = verdict
            standing = self.pop(id, verdict)
            if verdict["by"] == "filter" and standing["by"] == "person":
                self[id] = standing
            elif verdict["accepted"] is not None:
                self[id] = verdict
            elif id in self._by_filter:
                self[id] = self._by_filter[id]


class PairStore:
    """Reads and writes a store. Reading needs no lock; writing goes on inside `with store.writing():`.

    only: ids; whoever walks through the store meets these alone, and the filters and exports with it. None: all.
    """

    def __init__(self, folder: str | Path, only: Iterable[str] | None = None):
        self.folder = Path(folder)
        self.only = None if only is None else frozenset(only)
        self.manifest = Ledger(self.folder / MANIFEST)
        self.skipped = Ledger(self.folder / "skipped.jsonl")
        self.spots = Ledger(self.folder / "spots.jsonl")
        self.drawn = Ledger(self.folder / "drawn.jsonl")
        self.seeds = Ledger(self.folder / "seeds.jsonl")
        self.scores = Ledger(self.folder / "scores.jsonl")
        self.verdicts = Ledger(self.folder / "verdicts.jsonl")
        self._ids: set[str] = set()

    @classmethod
    def existing(cls, folder: str | Path) -> PairStore:
        """Raises RethinkError where there is no store to read."""
        store = cls(folder)
        if not store.manifest.path.is_file():
            raise RethinkError(f"pairs: {folder} holds no manifest.jsonl; give the folder of a pair store.")
        return store

    def __iter__(self) -> Iterator[EditPair]:
        pairs = map(EditPair.from_json, self.manifest)
        return pairs if self.only is None else (pair for pair in pairs if pair.id in self.only)

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    @contextmanager
    def writing(self) -> Iterator[PairStore]:
        """The right to write, for one run at a time, on a store mended after a kill.

        Raises RethinkError when another run holds it, the folder cannot be made, or a newer version has written to it.
        """
        with locked(self.folder / LOCK, self.folder):
            for ledger in (self.manifest, self.skipped, self.spots, self.drawn, self.seeds, self.scores, self.verdicts):
                ledger.repair()
            for torn in (self.folder / "images").glob("*/.*.part"):
                with suppress(PermissionError):  # the last picture of a killed run's worker, which is just ending
                    torn.unlink(missing_ok=True)
            self._ids = {EditPair.from_json(record).id for record in self.manifest}
            yield self

    def add(self, pair: EditPair) -> None:
        """Append a pair whose images are written. A pair that is there already stays as it is."""
        if pair.id not in self._ids:
            self.manifest.append(pair.to_json())
            self._ids.add(pair.id)

    def take_over(self, other: PairStore) -> int:
        """Copy the accepted pairs of another store that are not here yet, with their scores, into this one, which is held
        for writing; and its verdicts on all that are here. Returns how many pairs are new.

        Raises RethinkError naming a picture that is missing.
        """
        new = set()
        for pair in other.accepted():
            if pair.id in self:
                continue
            for path in filter(None, (pair.input, pair.target, pair.region)):
                if not (self.folder / path).exists():
                    self._write(path, other._read(path))
            self.add(pair)
            new.add(pair.id)
        if new:
            self.scores.append(*(record for record in other.scores if record["id"] in new))
        here, there = self.last_verdicts(), other.last_verdicts()
        self.verdicts.append(*(verdict for id, verdict in there.items() if id in self and verdict != here.get(id)))
        return len(new)

    def image_path(self, id: str, role: str, ending: str = ".png") -> str:
        """Where an image of a pair lies, relative to the store; shared out over 256 folders."""
        return f"images/{id[:2]}/{id}-{role}{ending}"

    def write_image(self, relative: str, pixels: np.ndarray) -> None:
        """Write uint8 [H, W, 3] or bool [H, W] as a PNG that appears whole. Raises DiskFull."""
        self._write(relative, encode_png(pixels))

    def _write(self, relative: str, data: bytes) -> None:
        with room_in(self.folder):
            write_whole(self.folder / relative, data)

    def file(self, relative: str) -> Path:
        """Where a picture of a pair lies. Raises RethinkError for a link that leads out of the store."""
        path = self.folder / relative
        if not (is_within(path, self.folder / "images") or is_within(path, self.folder)):
            raise RethinkError(f"pairs: {path} is a link that leads out of the store.")
        return path

    def _read(self, relative: str) -> bytes:
        try:
            return self.file(relative).read_bytes()
        except OSError as error:
            raise RethinkError(f"pairs: cannot read {self.folder / relative}: {error.strerror}.") from error

    def read_image(self, relative: str) -> np.ndarray:
        """uint8 [H, W, 3]. Raises RethinkError naming the file."""
        path = self.file(relative)
        try:
            return read_picture(path)
        except RethinkError as error:
            raise RethinkError(f"pairs: {path} {error}") from error

    def accepted(self) -> Iterator[EditPair]:
        """The pairs that no verdict rejects."""
        rejected = {id for id, verdict in self.last_verdicts().items() if not verdict["accepted"]}
        return (pair for pair in self if pair.id not in rejected)

    def judge(self, id: str, accepted: bool | None) -> None:
        """A person's verdict on a pair; None takes it back. One appended line, and so without the right to write: one
        can look through the pairs while they are being made."""
        self.verdicts.append({"id": id, "accepted": accepted, "why": [], "by": "person"})

    def last_verdicts(self) -> Verdicts:
        """The verdict that counts of every pair that has one."""
        return Verdicts(self.verdicts)


def is_store(folder: str | Path) -> bool:
    """Whether somebody writes pairs into a folder, or has."""
    manifest, lock, images = (os.path.exists(os.path.join(folder, name)) for name in (MANIFEST, LOCK, "images"))
    return manifest or (lock and images)


@contextmanager
def locked(path: Path, what: Path) -> Iterator[None]:
    """Hold the lock file `path`, made where it is missing; the system lets go of it when the process dies.

    Raises RethinkError saying that `what` is in use, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b")
    except OSError as error:
        raise RethinkError(f"pairs: cannot write to {what}: {error.strerror}.") from error
    with file:
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RethinkError(f"pairs: another run is writing to {what}; wait for it, or choose another.") from error
        yield
