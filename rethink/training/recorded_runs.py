"""Recorded runs that can be learned from: those that are whole, have ended, and are about an instruction."""

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
    """The runs in these folders, one by one; None for each that cannot be learned from, which costs it alone."""
    for folder in folders:
        trajectory, why = read_run(folder)
        yield None if why else trajectory


def describe_left_out(count: int) -> str:
    """What to say of the runs that `read_runs` has left out; "" for none."""
    runs = format_count(count, "run")
    return f"{runs} left out: damaged, not ended, or without an instruction that can be read." if count else ""


def read_run(folder: Path) -> tuple[Trajectory | None, str]:
    """(the run, "") where it can be learned from, else (None or the run, why not: a key of `collect.runs.REASONS`)."""
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
    """Whether it is one by which an editor can be asked. Half of a character, as browsers cut them, spoils none."""
    text = one_line(instruction)
    return 0 < len(text) <= MOST_CHARACTERS and not CONTROL.search(text)


def is_whole_png(path: Path) -> bool:
    """Whether a PNG file goes to its end: one that was cut off while it was copied stops a trainer after hours."""
    try:
        with open(path, "rb") as file:
            file.seek(-len(PNG_END), os.SEEK_END)
            return file.read() == PNG_END
    except OSError:
        return False
