"""Recorded runs to train on: those that are complete, have ended, and have an instruction."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import RethinkError
from ..progress import format_count
from ..text_encodings import CONTROL
from ..text_files import MOST_CHARACTERS, one_line
from ..trajectory import SOURCE_FILE, MissingImageError, NewerRunError, Trajectory, load_trajectory

PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def read_runs(folders: Iterable[Path]) -> Iterator[Trajectory | None]:
    """The runs in these folders, one by one; None for each run that cannot be trained on."""
    for folder in folders:
        trajectory, why = read_run(folder)
        yield None if why else trajectory


def describe_left_out(count: int) -> str:
    """A sentence about the runs that `read_runs` left out; "" for none."""
    runs = format_count(count, "run")
    return f"{runs} left out: damaged, unfinished, or without a readable instruction." if count else ""


def read_run(folder: Path) -> tuple[Trajectory | None, str]:
    """(the run, "") if it can be trained on, else (None or the run, why not: a key of `collect.runs.REASONS`)."""
    try:
        trajectory = load_trajectory(folder)
    except NewerRunError:
        return None, "newer"
    except MissingImageError:
        return None, "image"
    except RethinkError:
        return None, "unreadable"
    if not all(is_whole_png(folder / name) for name in (SOURCE_FILE, *(step.file for step in trajectory.steps))):
        return None, "image"
    if not trajectory.stopped:
        return trajectory, "unfinished"
    return trajectory, "" if _has_words(trajectory.instruction) else "wordless"


def _has_words(instruction: str) -> bool:
    """Whether an editor can follow the instruction. Half a character, as left by browsers that cut text, does not count against
    it."""
    text = one_line(instruction)
    return 0 < len(text) <= MOST_CHARACTERS and not CONTROL.search(text)


def is_whole_png(path: Path) -> bool:
    """Whether a PNG file is complete: one that was cut off while being copied would stop a trainer after hours."""
    try:
        with open(path, "rb") as file:
            file.seek(-len(PNG_END), os.SEEK_END)
            return file.read() == PNG_END
    except OSError:
        return False
