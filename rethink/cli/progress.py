"""What the commands print: the progress of a run, its result, errors, and the contents of a store."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from ..progress import JobProgress

TTY_INTERVAL, LOG_INTERVAL = 0.2, 30  # seconds between progress updates on a terminal, and elsewhere


def print_counts(title: str, counts: Sequence[tuple[str, int]]) -> None:
    """Print the twelve most common texts with their counts. counts: (text, count), the most common first."""
    if counts:
        print(f"{title}:")
    for value, count in counts[:12]:
        print(f"  {count:7d}  {value}")


class ProgressLine:
    """Progress on stderr: one line rewritten in place on a terminal, otherwise a new line now and then."""

    def __init__(self):
        self.last, self.terminal = 0.0, sys.stderr.isatty()

    def __call__(self, progress: JobProgress) -> None:
        now = time.monotonic()
        if now - self.last < (TTY_INTERVAL if self.terminal else LOG_INTERVAL):
            return
        self.last, text = now, progress.line
        sys.stderr.write(_over_line(text) if self.terminal else f"{text}\n")
        sys.stderr.flush()


def _over_line(text: str = "") -> str:
    """The text written over a terminal's line and padded with spaces, because not every Windows console can clear a line."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):  # stderr has no file, as in an IDE's console
        columns = 0
    width = (columns or 80) - 1  # some terminals report none
    return f"\r{text[:width]:<{width}}"


def print_result(*lines: str) -> None:
    """Print the result of a run in place of its progress line."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{_over_line()}\r")
        sys.stderr.flush()
    print("\n".join(lines))


def complain(why: object) -> None:
    """Print an error in place of the progress line."""
    over = f"{_over_line()}\r" if sys.stderr.isatty() else ""
    print(f"{over}rethink: {why}", file=sys.stderr)
