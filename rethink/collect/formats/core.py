"""The definition of a dataset layout for thinkers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...atomic import atomic_write
from ...records import json_text
from ..rows import Row
from ..rules import Part

# (part, its rows, folder of the dataset) → the file's name. Rows come one by one: there may be any number.
Write = Callable[[Part, Iterable[Row], Path], str]


@dataclass(frozen=True)
class DatasetFormat:
    """A layout. name: saved in workflows. parts: what its trainer learns from; a file is written for each. use: how to train
    with it, for the README, in Markdown, with FOLDER for the folder of the dataset."""

    name: str
    title: str
    parts: tuple[Part, ...]
    use: str
    write: Write


def write_jsonl(file: Path, records: Iterable[dict]) -> None:
    """Write records, one per line; the file is written atomically."""
    with atomic_write(file) as part, open(part, "w", encoding="utf-8", newline="\n") as lines:
        for record in records:
            lines.write(json_text(record) + "\n")
