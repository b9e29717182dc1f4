"""What a format is, a pair on its way out, and one on its way in."""

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

MAX_IMAGE_BYTES = 2**29  # of an image's file

Reader = Callable[[], bytes]


@dataclass(frozen=True)
class Example:
    """A pair on its way out: its image files and its number, from 0."""

    pair: EditPair
    number: int
    input: Path
    target: Path

    @property
    def stem(self) -> str:
        """What its files are called. All stems have one length: musubi-tuner takes `a_1` for another image of `a`."""
        return f"{self.number:08d}"


@dataclass(frozen=True)
class ImportedPair:
    """A pair as another tool left it, which is read when its turn comes.

    name: where it was found. input, target: read its files. texts: reads the instruction and both captions, "" for those
    that it has none of. Each raises RethinkError with the reason for what cannot be read.
    """

    name: str
    input: Reader
    target: Reader
    texts: Callable[[], tuple[str, str, str]]


@dataclass(frozen=True)
class Skipped:
    """An entry that is no pair, and why."""

    name: str
    why: str


Write = Callable[[Iterable[Example], Path, Path], int]
Read = Callable[[Path], Iterator[ImportedPair | Skipped]]


@dataclass(frozen=True)
class Format:
    """A layout that another tool reads.

    name: what users choose it by; it never changes. title: whose layout. target: in plain words, which image is the
        target. use: what a user tells its trainer.
    write(examples, folder, home): writes a dataset into an empty folder that lies at `home` in the end; returns how many
        pairs. Each was checked against the loading code of its trainer.
    read(path): the pairs in a dataset. Nothing outside of it is ever opened.
    """

    name: str
    title: str
    target: str
    use: str
    write: Write
    read: Read


def read_text(value: object, what: str) -> str:
    """The text in a field of a record; "" for None. Raises RethinkError, naming the field, for what is no text."""
    return check_text("" if value is None else value, f"its {what}")


def raise_missing() -> NoReturn:
    """The Reader of an image that is not there."""
    raise RethinkError("one of the two images is missing")


def raise_several() -> NoReturn:
    """The Reader of an input that is several images."""
    raise RethinkError("it has several inputs, where a pair has one")


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def copy_image(file: Path, folder: Path, side: str, stem: str) -> str:
    """Copy an image to SIDE/STEM with its own ending; its path within the folder."""
    relative = f"{side}/{stem}{file.suffix}"
    shutil.copyfile(file, folder / relative)
    return relative


def quote_path(path: Path) -> str:
    """A path as a string of YAML and TOML."""
    return json.dumps(str(path), ensure_ascii=False)


def write_json(record: Any, path: Path, indent: int | None = None) -> None:
    """Write what JSON can hold to a file."""
    path.write_text(json.dumps(record, indent=indent), encoding="utf-8")
