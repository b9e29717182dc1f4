"""Recorded runs that can be learned from: those that are whole, and have ended."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import RethinkError
from ..progress import format_count
from ..trajectory import SOURCE_FILE, MissingImageError, NewerRunError, Trajectory, load_trajectory

PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def read_runs(folders: Iterable[Path]) -> Iterator[Trajectory | None]:
    """The runs in these folders, one by one; None for each that is damaged or has not ended, which costs it alone."""
    for folder in folders:
        trajectory, why = read_run(folder)
        yield None if why else trajectory


def describe_left_out(count: int) -> str:
    """What to say of the runs that `read_runs` has left out; "" for none."""
    return f"{format_count(count, 'run')} left out: damaged, or not ended." if count else ""


def read_run(folder: Path) -> tuple[Trajectory | None, str]:
    """(the run, "") where it is whole and has ended, else (None or the run, why not: a key of `collect.runs.REASONS`)."""
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
    return trajectory, "" if trajectory.stopped else "unfinished"


def is_whole_png(path: Path) -> bool:
    """Whether a PNG file goes to its end: one that was cut off while it was copied stops a trainer after hours."""
    try:
        with open(path, "rb") as file:
            file.seek(-len(PNG_END), os.SEEK_END)
            return file.read() == PNG_END
    except OSError:
        return False
