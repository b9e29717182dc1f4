"""What a layout of a data set for thinkers is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...atomic import atomic_write
from ...records import json_text
from ..rows import Row
from ..rules import Part

# (part, its rows, folder of the data set) → the file's name. Rows come one by one: there may be any number.
Write = Callable[[Part, Iterable[Row], Path], str]


@dataclass(frozen=True)
class DatasetFormat:
    """A layout. name: stands in workflows. parts: what its trainer learns from, of which files are written. use: how to
    train with it, for the README, in Markdown, with {folder} for where the data set lies."""

    name: str
    title: str
    parts: tuple[Part, ...]
    use: str
    write: Write


def write_jsonl(file: Path, records: Iterable[dict]) -> None:
    """Write records, one a line; the file appears whole."""
    with atomic_write(file) as part, open(part, "w", encoding="utf-8", newline="\n") as lines:
        for record in records:
            lines.write(json_text(record) + "\n")
