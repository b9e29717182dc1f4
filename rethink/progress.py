"""The progress of a job, as its front ends show it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def _no_preview() -> Tensor | None:
    return None


@dataclass(frozen=True)
class JobProgress:
    """done, total: in the unit that the job counts. line: the same as text. preview: makes the latest result's IMAGE
    [1, H, W, 3], or None; called only if it is shown."""

    done: int
    total: int
    line: str
    preview: Callable[[], Tensor | None] = _no_preview


# Anything it raises ends the job; everything made so far is kept.
OnProgress = Callable[[JobProgress], None]


def ignore_progress(progress: JobProgress) -> None:
    """For jobs without progress."""


def progress_with_eta(what: str, on_progress: OnProgress) -> Callable[[int, int], None]:
    """A callback (done, total) that reports the progress from now on, with its rate and the time left."""
    started = time.monotonic()

    def report(done: int, total: int) -> None:
        seconds = max(time.monotonic() - started, 1e-3)
        line = f"{done} of {total} {what} · {done / seconds:.1f}/s · {eta(done, total - done, seconds)} left"
        on_progress(JobProgress(done, total, line))

    return report


def eta(done: int, rest: int, seconds: float) -> str:
    """How long the rest will take at the pace so far, as by `format_duration`; "?" before anything is done."""
    return format_duration(seconds / done * max(0, rest)) if done else "?"


def format_duration(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def format_count(count: int, noun: str, several: str = "") -> str:
    """ "1 vote", "1,000 votes". several: the plural, if it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else several or f'{noun}s'}"


def format_bytes(count: int) -> str:
    """ "1.4 GiB", "23 MiB"."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(1, round(count / 2**20))} MiB"
