"""What a dataset holds: pairs that are read one by one, and entries that are none, with the reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from ...errors import RethinkError
from ..pixels import ENDINGS
from ..text_files import check_text

MOST_IMAGE = 2**29  # bytes of an image's file

Reader = Callable[[], bytes]


@dataclass(frozen=True)
class ImportedPair:
    """A pair as another tool left it. name: where it was found. input, target: read its files. texts: read the instruction
    and both captions, "" for those it has none of. Each raises RethinkError with the reason for what cannot be read."""

    name: str
    input: Reader
    target: Reader
    texts: Callable[[], tuple[str, str, str]]


@dataclass(frozen=True)
class Skipped:
    """What is no pair, and why."""

    name: str
    why: str


def text_of(value: object, what: str) -> str:
    """What a record says in one of its fields; none is "". Raises RethinkError for what is no text."""
    return check_text("" if value is None else value, f"its {what}")


def missing() -> bytes:
    raise RethinkError("one of the two images is missing")


def several() -> bytes:
    raise RethinkError("it has several inputs, where a pair has one")


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image."""
    return os.path.splitext(name)[1].lower() in ENDINGS
