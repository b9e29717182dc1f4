"""The store of edit pairs: a folder with images and an append-only manifest, one JSON line per pair.

    my-pairs/
      manifest.jsonl     one EditPair per line; a pair exists once its line does
      images/ab/…        complete before their line is written
      skipped.jsonl      what was skipped, and why
      spots.jsonl        the boxes that a thinker found in a source
      drawn.jsonl        captions whose candidates were drawn, with statistics
      seeds.jsonl        the seeds that runs were started with
      scores.jsonl       what the filters measured
      verdicts.jsonl     accepted or rejected, and why; the last line for a pair counts
      runs.jsonl         what was read from the runs that became pairs; see collect/run_log.py
      README.md          a summary, with contact-sheet.jpg; own_files.py keeps track of both

A run may be killed at any point: the next one cuts off a torn line and makes only the missing pairs.
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
from .own_files import SYSTEM_FILES
from .pixels import encode_png, read_pixels, write_atomically

SCHEMA = 1
MANIFEST, LOCK = "manifest.jsonl", ".lock"
RUN_LOG = "runs.jsonl"  # of collect/run_log.py
BESIDE = ("images", "README.md", "contact-sheet.jpg")  # besides the logs; what others put there stays
ID = re.compile("[0-9A-Za-z_-]{1,64}")
TORN_IMAGE = re.compile(r"\.[0-9a-zA-Z_-]+-\w+\.\w+\.\d+\.part")  # of an image that was being written
PLAIN_PATH = re.compile(r"(?!.*\.\.(/|$))[\w.,()+@~-][\w .,()+@~-]*(/[\w .,()+@~-]+)*")  # of an image, within the store
# In a text: control characters, lone surrogates. Not compiled here, as ComfyUI's start would pay for it.
DAMAGE = "[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]"


@dataclass(frozen=True)
class EditPair:
    """One example of an edit: `input` + `instruction` → `target`.

    id: 16 hexadecimal digits, the same for the same source, number and config.
    input, target: image files relative to the store. The target of an inverse edit is the real image.
    region: a mask file, white where the two may differ; "": they may differ everywhere.
    operation, parameters, seed: how it was made. source, number: the image it came from, and its index among that
        image's pairs, from 0.
    description: what the operation hid, as worded in the instruction.
    input_caption, target_caption: of pairs from captions; otherwise "".
    references: further images that the instruction mentions, in order, as files like `input`. The instruction calls the
        first of them image 2.
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
    references: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """All its files, relative to the store."""
        return tuple(filter(None, (self.input, *self.references, self.target, self.region)))

    def to_json(self) -> dict:
        """The pair as its line in the manifest, with the layout version. Without references the field is left out, as
        it was before there were any."""
        record = {"schema": SCHEMA, **asdict(self)}
        return record if self.references else {name: value for name, value in record.items() if name != "references"}

    @classmethod
    def from_json(cls, record: dict) -> EditPair:
        """Raises RethinkError for a record that is not a pair, is from a newer version, or points outside the store."""
        check_pair(record)
        return cls.from_line(record)

    @classmethod
    def from_line(cls, record: dict) -> EditPair:
        """The pair of a record that passed `check_pair`."""
        known = {name: value for name, value in record.items() if name in FIELDS}
        if "references" in known:  # few pairs have any
            known["references"] = tuple(known["references"])
        return cls(**known)


FIELDS = frozenset(field.name for field in fields(EditPair))
NEEDED = {"id": str, "input": str, "target": str, "instruction": str}
TEXTS = ("instruction", "operation", "description", "input_caption", "target_caption")
SIMILARITIES = {f"clip_sim_{name}" for name in ("0", "1", "dir", "image")}
NUMBERS = SIMILARITIES | {"changed", "outside", "shift", "region", "height", "width", "critic"}  # among the scores
KINDS = {**NEEDED, **dict.fromkeys(("region", "source", *TEXTS), str), "parameters": dict, "seed": int, "number": int}
KINDS |= {"references": list}


def check_pair(record: dict) -> None:
    """Raise RethinkError with the reason for a record that is not a pair, or points outside the store."""
    version = record.get("schema", SCHEMA)
    if isinstance(version, int) and version > SCHEMA:
        raise NewerVersion("pairs: this store was written by a newer version of Rethink; update Rethink to read it.")
    for name, kind in KINDS.items():
        if not isinstance(record[name], kind) if name in record else name in NEEDED:
            raise RethinkError(f"it is not a pair: its “{name}” is missing or has the wrong type")
    if version != SCHEMA or not ID.fullmatch(record["id"]):
        raise RethinkError("it is not a pair: its “id” or “schema” was not written by Rethink")
    text = "".join([record.get(name, "") for name in TEXTS])
    if not text.isprintable() and re.search(DAMAGE, text):
        raise RethinkError("it holds control characters or lone surrogates")
    references = record.get("references", ())
    if not all(isinstance(path, str) and path for path in references):
        raise RethinkError("it is not a pair: one of its “references” is not a path")
    for path in (record["input"], record["target"], record.get("region", ""), *references):
        if path and not PLAIN_PATH.fullmatch(path):
            raise RethinkError(f"the path “{show_name(path)}” leads out of the store, or is malformed")


def check_scores(record: dict) -> None:
    """Raise RethinkError with the reason for a record that holds no scores."""
    if not isinstance(record.get("id"), str):
        raise RethinkError("its “id” is missing or has the wrong type")
    for name in NUMBERS & record.keys():
        if not isinstance(record[name], (int, float)):
            raise RethinkError(f"its “{name}” is not a number")


def is_safe_relative_path(path: str) -> bool:
    """Whether a relative path, in the notation of any system, stays within its folder."""
    path = path.replace("\\", "/")
    return not (path.startswith("/") or path[1:2] == ":" or ".." in path.split("/"))


class Verdicts(dict[str, dict]):
    """id → {"id", "accepted", "why": [reasons], "by"}: the current verdict on every pair that has one. A person's verdict
    takes precedence over a filter's until it is withdrawn."""

    def __init__(self, log: JsonlLog):
        super().__init__()
        self.log, self._by_filter, self._end = log, {}, 0
        self.refresh()

    def refresh(self) -> None:
        """Read what was appended since the last call."""
        for _, end, verdict in self.log.read_from(self._end):
            self._end = end
            id = verdict["id"]
            if verdict["by"] == "filter":
                self._by_filter[id] = verdict
            current = self.pop(id, verdict)
            if verdict["by"] == "filter" and current["by"] == "person":
                self[id] = current
            elif verdict["accepted"] is not None:
                self[id] = verdict
            elif id in self._by_filter:
                self[id] = self._by_filter[id]


class PairStore:
    """Reads and writes a store. Reading needs no lock; writing happens inside `with store.writing():`.

    subset: the ids that iteration, filters and exports are limited to; None: all.
    """

    def __init__(self, folder: str | Path, subset: Iterable[str] | None = None):
        self.folder = Path(folder)
        self.subset = None if subset is None else frozenset(subset)
        self.manifest = JsonlLog(self.folder / MANIFEST, check_pair)
        self.skipped = JsonlLog(self.folder / "skipped.jsonl", fields_are(source=str, number=int, why=str))
        self.spots = JsonlLog(self.folder / "spots.jsonl", fields_are(source=str, what=str))
        self.drawn = JsonlLog(self.folder / "drawn.jsonl", fields_are(id=str))
        self.seeds = JsonlLog(self.folder / "seeds.jsonl", fields_are(recipe=str, seed=int))
        self.scores = JsonlLog(self.folder / "scores.jsonl", check_scores)
        verdict = fields_are(id=str, accepted=(bool, type(None)), why=list, by=str)
        self.verdicts = JsonlLog(self.folder / "verdicts.jsonl", verdict, required=True)
        self._ids: set[str] = set()

    @property
    def subset_ids(self) -> frozenset[str]:
        """The ids that the store is limited to."""
        assert self.subset is not None, "only a subset has ids of its own"
        return self.subset

    @classmethod
    def open_existing(cls, folder: str | Path) -> PairStore:
        """A store that exists. Raises RethinkError where there is none."""
        store = cls(folder)
        if not store.manifest.path.is_file():
            raise RethinkError(f"pairs: {folder} has no manifest.jsonl; give the folder of a pair store.")
        return store

    def __iter__(self) -> Iterator[EditPair]:
        """The pairs, without damaged lines. Raises RethinkError where all lines are damaged."""
        empty = True
        for record in self.manifest:
            empty = False
            if self.subset is None or record["id"] in self.subset:
                yield EditPair.from_line(record)
        if empty and (damage := self.manifest.damage()):
            raise RethinkError(f"pairs: {self.folder} is not a pair store: {damage[0]}")

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    @contextmanager
    def writing(self) -> Iterator[PairStore]:
        """Hold the write lock, which only one run can at a time, and repair what a killed run left.

        Raises RethinkError where another run holds it, the folder cannot be created, a newer version has written to it,
        or it holds other files instead of a store.
        """
        self._refuse_foreign_files()
        with locked(self.folder / LOCK, self.folder):
            for log in self._logs():
                log.repair()
            for torn in (self.folder / "images").glob("*/.*.part"):
                if TORN_IMAGE.fullmatch(torn.name):
                    with suppress(PermissionError):  # a killed run's worker is still writing it
                        torn.unlink(missing_ok=True)
            self._ids = {record["id"] for record in self.manifest}
            yield self

    def _logs(self) -> tuple[JsonlLog, ...]:
        return self.manifest, self.skipped, self.spots, self.drawn, self.seeds, self.scores, self.verdicts

    def _refuse_foreign_files(self) -> None:
        """Raise RethinkError where the folder holds files of the user or of another tool: nothing is put among them, or
        appended to those with one of our names. A store that was killed before its first pair has only our names, and
        a lock."""
        if next(iter(PairStore(self.folder)), None) or self.manifest.path.exists() or not self.folder.is_dir():
            return
        names = {file.name for file in self.folder.iterdir() if not file.name.startswith(".")} - SYSTEM_FILES
        logs = [*(log.path.name for log in self._logs()), RUN_LOG]
        if other := sorted(names.difference(logs, BESIDE)):
            raise RethinkError(
                f"pairs: {self.folder} has no pairs but holds {show_name(other[0])}; choose a new folder."
            )
        if (foreign := [name for name in logs if name in names]) and not (self.folder / LOCK).exists():
            raise RethinkError(
                f"pairs: {self.folder} holds a {foreign[0]} that does not belong to a store; choose another folder."
            )

    def add(self, pair: EditPair) -> None:
        """Append a pair whose images are written. A pair that is already in the store stays as it is."""
        if pair.id not in self._ids:
            self.manifest.append(pair.to_json())
            self._ids.add(pair.id)

    def merge_from(self, other: PairStore) -> int:
        """Copy another store's accepted pairs, with their scores, and its verdicts into this one, which is held for
        writing. Returns the number of new pairs.

        Raises RethinkError naming an image that is missing.
        """
        new = set()
        for pair in other.accepted():
            if pair.id in self:
                continue
            for path in pair.files:
                if not (self.folder / path).exists():
                    self._write(path, other._read(path))
            self.add(pair)
            new.add(pair.id)
        if new:
            self.scores.append(*(record for record in other.scores if record["id"] in new))
        ours, theirs = self.current_verdicts(), other.current_verdicts()
        self.verdicts.append(*(verdict for id, verdict in theirs.items() if id in self and verdict != ours.get(id)))
        return len(new)

    def image_path(self, id: str, role: str, ending: str = ".png") -> str:
        """The path of a pair's image, relative to the store, in one of 256 folders."""
        return f"images/{id[:2]}/{id}-{role}{ending}"

    def write_image(self, relative: str, pixels: np.ndarray) -> None:
        """Write uint8 [H, W, 3] or bool [H, W] as a PNG, atomically. Raises DiskFull."""
        self._write(relative, encode_png(pixels))

    def _write(self, relative: str, data: bytes) -> None:
        with disk_full_as_error(self.folder):
            write_atomically(self.folder / relative, data)

    def file(self, relative: str) -> Path:
        """The absolute path of an image. Raises RethinkError for a link that leads out of the store, and for anything
        that is not a file."""
        path = self.folder / relative
        if not (is_within(path, self.folder / "images") or is_within(path, self.folder)):
            raise RethinkError(f"pairs: {path} is a link that leads out of the store.")
        if path.exists() and not path.is_file():  # a pipe would block forever
            raise RethinkError(f"pairs: {path} is not a file.")
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
        """Record a person's verdict on a pair; None withdraws it. This appends one line and needs no lock, so pairs can
        be reviewed while they are being made."""
        self.verdicts.append({"id": id, "accepted": accepted, "why": [], "by": "person"})

    def current_verdicts(self) -> Verdicts:
        """The current verdict on every pair that has one."""
        return Verdicts(self.verdicts)


def is_store(folder: str | Path) -> bool:
    """Whether a folder is a pair store, or is becoming one."""
    manifest, lock, images = (os.path.exists(os.path.join(folder, name)) for name in (MANIFEST, LOCK, "images"))
    return manifest or (lock and images)
