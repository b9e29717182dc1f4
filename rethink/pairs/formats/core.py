"""A format, a pair to export, and an imported pair."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ...errors import RethinkError
from ...image_files import ENDINGS
from ...text_files import check_text
from ..store import EditPair

MAX_IMAGE_BYTES = 2**29  # of an image file

Reader = Callable[[], bytes]


@dataclass(frozen=True)
class Example:
    """A pair to export: its image files and its number, from 0."""

    pair: EditPair
    number: int
    input: Path
    target: Path
    references: tuple[Path, ...] = ()

    @property
    def stem(self) -> str:
        """The stem of its files. All have the same length: musubi-tuner takes `a_1` for another image of `a`."""
        return f"{self.number:08d}"


@dataclass(frozen=True)
class ImportedPair:
    """A pair of another tool's dataset, read lazily.

    name: where it was found. input, target, references: read the image files. texts: reads the instruction and both
    captions, "" for those that are missing. Each raises RethinkError with the reason for what cannot be read.
    """

    name: str
    input: Reader
    target: Reader
    texts: Callable[[], tuple[str, str, str]]
    references: tuple[Reader, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """An entry that is not a pair, and why."""

    name: str
    why: str


Write = Callable[[Iterable[Example], Path, Path], int]
Read = Callable[[Path], Iterator[ImportedPair | Skipped]]


@dataclass(frozen=True)
class Format:
    """A dataset layout of another tool.

    name: the name that users choose; it never changes. title: whose layout it is. target: which image is the target, in
        plain words. use: how to point the trainer at it.
    write(examples, folder, home): writes a dataset into an empty folder, which is moved to `home` at the end; returns how
        many pairs. Each was checked against the loading code of its trainer.
    read(path): the pairs in a dataset. Nothing outside it is ever opened.
    references: where a pair's references are, in plain words. "": the layout has no place for them, and pairs that have
        some are not written.
    """

    name: str
    title: str
    target: str
    use: str
    write: Write
    read: Read
    references: str = ""


def read_text(value: object, what: str) -> str:
    """The text in a field of a record; "" for None. Raises RethinkError naming the field for anything but text."""
    return check_text("" if value is None else value, f"its {what}")


def raise_missing() -> NoReturn:
    """The Reader of a missing image."""
    raise RethinkError("one of the two images is missing")


def is_image(name: str) -> bool:
    """Whether a file name is that of an image."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def copy_image(file: Path, folder: Path, side: str, stem: str) -> str:
    """Copy an image to SIDE/STEM with its own extension; returns its path within the folder."""
    relative = f"{side}/{stem}{file.suffix}"
    (folder / side).mkdir(exist_ok=True)
    shutil.copyfile(file, folder / relative)
    return relative


def copy_references(item: Example, folder: Path, side: str) -> list[str]:
    """Copy a pair's references to SIDE-2/STEM, SIDE-3/STEM, …; returns their paths within the folder."""
    return [copy_image(file, folder, f"{side}-{number}", item.stem) for number, file in enumerate(item.references, 2)]


def quote_path(path: Path) -> str:
    """A path as a quoted string, valid in YAML and TOML."""
    return json.dumps(str(path), ensure_ascii=False)


def write_json(record: Any, path: Path, indent: int | None = None) -> None:
    """Write a value to a JSON file."""
    path.write_text(json.dumps(record, indent=indent), encoding="utf-8")
