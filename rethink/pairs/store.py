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
      README.md          what it is, with contact-sheet.jpg; both are in the list of own_files.py

Kill it anywhere: the next run cuts off a torn line, sees which pairs are there, and makes the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RethinkError
from ..names import is_within
from ..text_files import show_name
from .jsonl_log import JsonlLog, NewerVersion, disk_full_as_error, fields_are, locked
from .pixels import encode_png, read_pixels, write_atomically

SCHEMA = 1
MANIFEST, LOCK = "manifest.jsonl", ".lock"
ID = re.compile("[0-9A-Za-z_-]{1,64}")
TORN_IMAGE = re.compile(r"\.[0-9a-zA-Z_-]+-\w+\.\w+\.\d+\.part")  # an image of ours that was being written
PLAIN_PATH = re.compile(r"(?!.*\.\.(/|$))[\w.,()+@~-][\w .,()+@~-]*(/[\w .,()+@~-]+)*")  # of images: within the store
DAMAGE = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")  # of a text: control characters, halves of others


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
        check_pair(record)
        return cls.from_line(record)

    @classmethod
    def from_line(cls, record: dict) -> EditPair:
        """The pair of a record that was checked."""
        return cls(**{name: value for name, value in record.items() if name in FIELDS})


FIELDS = frozenset(field.name for field in fields(EditPair))
NEEDED = {"id": str, "input": str, "target": str, "instruction": str}
TEXTS = ("instruction", "operation", "description", "input_caption", "target_caption")
SIMILARITIES = {f"clip_sim_{name}" for name in ("0", "1", "dir", "image")}
NUMBERS = SIMILARITIES | {"changed", "outside", "shift", "region", "height", "width", "critic"}  # among the scores
KINDS = {**NEEDED, **dict.fromkeys(("region", "source", *TEXTS), str), "parameters": dict, "seed": int, "number": int}


def check_pair(record: dict) -> None:
    """Raises RethinkError with the reason for a line of a manifest that is no pair, or leads out of the store."""
    version = record.get("schema", SCHEMA)
    if isinstance(version, int) and version > SCHEMA:
        raise NewerVersion("pairs: a newer version of Rethink has written this store; update Rethink to read it.")
    for name, kind in KINDS.items():
        if not isinstance(record[name], kind) if name in record else name in NEEDED:
            raise RethinkError(f"it is no pair: its “{name}” is missing or of another kind")
    if version != SCHEMA or not ID.fullmatch(record["id"]):
        raise RethinkError("it is no pair: its “id” or “schema” is none of ours")
    text = "".join([record.get(name, "") for name in TEXTS])
    if not text.isprintable() and DAMAGE.search(text):
        raise RethinkError("it holds control characters, or half of one")
    for path in (record["input"], record["target"], record.get("region", "")):
        if path and not PLAIN_PATH.fullmatch(path):
            raise RethinkError(f"the path “{show_name(path)}” leads out of the store, or is not of its form")


def check_scores(record: dict) -> None:
    """Raises RethinkError with the reason for a line of scores that are none."""
    if not isinstance(record.get("id"), str):
        raise RethinkError("its “id” is missing or of another kind")
    for name in NUMBERS & record.keys():
        if not isinstance(record[name], (int, float)):
            raise RethinkError(f"its “{name}” is no number")


def is_safe_relative_path(path: str) -> bool:
    """Whether a relative path, in the notation of any system, stays in its folder."""
    path = path.replace("\\", "/")
    return not (path.startswith("/") or path[1:2] == ":" or ".." in path.split("/"))


class Verdicts(dict[str, dict]):
    """id → {"id", "accepted", "why": [reasons], "by"}: the verdict on every pair that has one. A person's stands over a
    filter's, until it is taken back."""

    def __init__(self, log: JsonlLog):
        super().__init__()
        self.log, self._by_filter, self._end = log, {}, 0
        self.refresh()

    def refresh(self) -> None:
        """Take in what was appended since."""
        for _, end, verdict in self.log.read_from(self._end):
            self._end = end
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

    subset: ids; whoever walks through the store meets these alone, and the filters and exports with it. None: all.
    """

    def __init__(self, folder: str | Path, subset: Iterable[str] | None = None):
        self.folder = Path(folder)
        self.subset = None if subset is None else frozenset(subset)
        named = fields_are(id=str)
        self.manifest = JsonlLog(self.folder / MANIFEST, check_pair)
        self.skipped = JsonlLog(self.folder / "skipped.jsonl", fields_are(source=str, number=int, why=str))
        self.spots = JsonlLog(self.folder / "spots.jsonl", fields_are(source=str, what=str))
        self.drawn = JsonlLog(self.folder / "drawn.jsonl", named)
        self.seeds = JsonlLog(self.folder / "seeds.jsonl", fields_are(recipe=str, seed=int))
        self.scores = JsonlLog(self.folder / "scores.jsonl", check_scores)
        verdict = fields_are(id=str, accepted=(bool, type(None)), why=list, by=str)
        self.verdicts = JsonlLog(self.folder / "verdicts.jsonl", verdict, needed=True)
        self._ids: set[str] = set()

    @property
    def subset_ids(self) -> frozenset[str]:
        """The ids of a store that is narrowed to some."""
        assert self.subset is not None, "the store is narrowed"
        return self.subset

    @classmethod
    def open_existing(cls, folder: str | Path) -> PairStore:
        """Raises RethinkError where there is no store to read."""
        store = cls(folder)
        if not store.manifest.path.is_file():
            raise RethinkError(f"pairs: {folder} holds no manifest.jsonl; give the folder of a pair store.")
        return store

    def __iter__(self) -> Iterator[EditPair]:
        """The pairs, without lines that are damaged. Raises RethinkError where all are."""
        empty = True
        for record in self.manifest:
            empty = False
            if self.subset is None or record["id"] in self.subset:
                yield EditPair.from_line(record)
        if empty and (damage := self.manifest.damage()):
            raise RethinkError(f"pairs: {self.folder} is no store of pairs: {damage[0]}")

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    @contextmanager
    def writing(self) -> Iterator[PairStore]:
        """The right to write, for one run at a time, on a store mended after a kill.

        Raises RethinkError when another run holds it, the folder cannot be made, a newer version has written to it, or it
        holds files of these names that are none of ours.
        """
        begun = (self.folder / LOCK).exists()
        with locked(self.folder / LOCK, self.folder):
            self._refuse_strangers(begun)
            for log in self._logs():
                log.repair()
            for torn in (self.folder / "images").glob("*/.*.part"):
                if TORN_IMAGE.fullmatch(torn.name):
                    with suppress(PermissionError):  # the last image of a killed run's worker, which is just ending
                        torn.unlink(missing_ok=True)
            self._ids = {record["id"] for record in self.manifest}
            yield self

    def _logs(self) -> tuple[JsonlLog, ...]:
        return self.manifest, self.skipped, self.spots, self.drawn, self.seeds, self.scores, self.verdicts

    def _refuse_strangers(self, begun: bool) -> None:
        """Nothing is appended to a file that a user, or another tool, has given a name of ours."""
        if next(iter(PairStore(self.folder)), None) or begun or self.manifest.path.exists():
            return
        if there := [log.path.name for log in self._logs() if log.path.exists()]:
            raise RethinkError(f"pairs: {self.folder} holds a {there[0]} of something else; choose another folder.")

    def add(self, pair: EditPair) -> None:
        """Append a pair whose images are written. A pair that is there already stays as it is."""
        if pair.id not in self._ids:
            self.manifest.append(pair.to_json())
            self._ids.add(pair.id)

    def merge_from(self, other: PairStore) -> int:
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
        here, there = self.current_verdicts(), other.current_verdicts()
        self.verdicts.append(*(verdict for id, verdict in there.items() if id in self and verdict != here.get(id)))
        return len(new)

    def image_path(self, id: str, role: str, ending: str = ".png") -> str:
        """Where an image of a pair lies, relative to the store; shared out over 256 folders."""
        return f"images/{id[:2]}/{id}-{role}{ending}"

    def write_image(self, relative: str, pixels: np.ndarray) -> None:
        """Write uint8 [H, W, 3] or bool [H, W] as a PNG that appears whole. Raises DiskFull."""
        self._write(relative, encode_png(pixels))

    def _write(self, relative: str, data: bytes) -> None:
        with disk_full_as_error(self.folder):
            write_atomically(self.folder / relative, data)

    def file(self, relative: str) -> Path:
        """Where a picture of a pair lies. Raises RethinkError for a link that leads out of the store, and for what is no
        file."""
        path = self.folder / relative
        if not (is_within(path, self.folder / "images") or is_within(path, self.folder)):
            raise RethinkError(f"pairs: {path} is a link that leads out of the store.")
        if path.exists() and not path.is_file():  # a pipe would be waited for without end
            raise RethinkError(f"pairs: {path} is no file.")
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
            return read_pixels(path)
        except RethinkError as error:
            raise RethinkError(f"pairs: {path} {error}") from error

    def accepted(self) -> Iterator[EditPair]:
        """The pairs that no verdict rejects."""
        rejected = {id for id, verdict in self.current_verdicts().items() if not verdict["accepted"]}
        return (pair for pair in self if pair.id not in rejected)

    def set_verdict(self, id: str, accepted: bool | None) -> None:
        """A person's verdict on a pair; None takes it back. One appended line, and so without the right to write: one
        can look through the pairs while they are being made."""
        self.verdicts.append({"id": id, "accepted": accepted, "why": [], "by": "person"})

    def current_verdicts(self) -> Verdicts:
        """The verdict that counts of every pair that has one."""
        return Verdicts(self.verdicts)


def is_store(folder: str | Path) -> bool:
    """Whether somebody writes pairs into a folder, or has."""
    manifest, lock, images = (os.path.exists(os.path.join(folder, name)) for name in (MANIFEST, LOCK, "images"))
    return manifest or (lock and images)
