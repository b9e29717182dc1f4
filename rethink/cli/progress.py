"""What the commands of the pairs tell: how far a run is, and what is in a store."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import islice

from ..errors import RethinkError

TTY_INTERVAL, LOG_INTERVAL = 0.2, 30  # seconds between lines of progress: on a terminal, and where nobody watches
TO_THE_END = "\x1b[K"  # clears the rest of a terminal's line


def run_inspect(options) -> int:
    from ..pairs.store import PairStore

    store = PairStore.existing(options.store)
    verdicts, count = store.current_verdicts(), sum(1 for _ in store)
    rejected = sum(not verdict["accepted"] for verdict in verdicts.values())
    print(f"{count} pairs in {options.store}: {rejected} rejected, {count - len(verdicts)} not judged yet")
    print_counts("operation", (pair.operation or "other" for pair in store))
    print_counts("rejected because", (why for verdict in verdicts.values() for why in verdict["why"]))
    print_counts("skipped because", (record["why"] for record in store.skipped))
    for line in store.manifest.damage():
        print(line, file=sys.stderr)
    for pair in islice(store, 0, None, max(1, -(-count // 5))):
        print(f"  {pair.operation or 'other'}: {pair.instruction}")
    if options.histogram:
        _print_histogram(store, options.histogram)
    broken = list(_unreadable(store)) if options.check else []
    for path in broken:
        print(f"broken: {path}", file=sys.stderr)
    return 1 if broken else 0


def _print_histogram(store, name: str) -> None:
    from ..pairs.jsonl_log import Last
    from ..pairs.review.filters import histogram

    scores = Last(store.scores)
    values = [record[name] for record in scores.of(scores) if isinstance(record.get(name), (int, float))]
    if not values:
        raise RethinkError(f"--histogram: no pair has a score {name!r}; run `filter` first.")
    bars = histogram(values)
    for edge, count in bars:
        print(f"{edge:9.3f} {'█' * round(50 * count / max(c for _, c in bars))} {count}")


def _unreadable(store):
    for path in {path for pair in store for path in (pair.input, pair.target, pair.region) if path}:
        try:
            store.read_image(path)
        except RethinkError:
            yield path


def print_counts(title: str, values) -> None:
    """The twelve commonest of some texts, with how often each comes."""
    from ..pairs.review.filters import count_reasons

    if counts := count_reasons(values)[:12]:
        print(f"{title}:")
    for value, count in counts:
        print(f"  {count:7d}  {value}")


def progress_with_eta(what: str) -> Line:
    """Progress (done, total) from now on, with its rate and how long it will take."""
    started = time.monotonic()

    def line(done: int, total: int) -> str:
        seconds = max(time.monotonic() - started, 1e-3)
        return f"{done}/{total} {what} · {done / seconds:.1f}/s · {eta(done, total - done, seconds)} left"

    return Line(line)


class Line:
    """Progress on the error stream: one line that is rewritten on a terminal, else a line now and then."""

    def __init__(self, text: Callable[..., str]):
        self.text, self.last, self.terminal = text, 0.0, sys.stderr.isatty()

    def __call__(self, *progress) -> None:
        now = time.monotonic()
        if now - self.last < (TTY_INTERVAL if self.terminal else LOG_INTERVAL):
            return
        self.last, text = now, self.text(*progress)
        sys.stderr.write(f"\r{text}{TO_THE_END}" if self.terminal else f"{text}\n")
        sys.stderr.flush()


def say(text: str) -> None:
    """What came of a run, in place of its line of progress."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{TO_THE_END}")
        sys.stderr.flush()
    print(text)


def eta(done: int, rest: int, seconds: float) -> str:
    """How long the rest will take at the pace so far, as `clock` says it."""
    return clock(seconds / done * max(0, rest)) if done else "?"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def pairs_line(progress) -> str:
    """A synthesis's Progress as a line."""
    return (
        f"{progress.seen}/{progress.total} pictures · {progress.made} pairs · {progress.skipped} skipped · "
        f"{progress.rate:.1f} pairs/s · {progress.left} left"
    )
