"""What the commands of the pairs tell: how far a run is, and what is in a store."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice

from ..errors import RethinkError

TTY_INTERVAL, LOG_INTERVAL = 0.2, 30  # seconds between lines of progress: on a terminal, and where nobody watches
TO_THE_END = "\x1b[K"  # clears the rest of a terminal's line


def run_inspect(options) -> int:
    from ..pairs.review.filters import count_reasons
    from ..pairs.store import PairStore

    store = PairStore.existing(options.store)
    verdicts, count = store.current_verdicts(), sum(1 for _ in store)
    rejected = sum(not verdict["accepted"] for verdict in verdicts.values())
    print(f"{count} pairs in {options.store}: {rejected} rejected, {count - len(verdicts)} not judged yet")
    print_counts("operation", count_reasons(pair.operation or "other" for pair in store))
    print_counts("rejected because", count_reasons(why for verdict in verdicts.values() for why in verdict["why"]))
    print_counts("skipped because", count_reasons(record["why"] for record in store.skipped))
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


def print_counts(title: str, counts: Sequence[tuple[str, int]]) -> None:
    """The twelve commonest of some texts, with how often each comes: (text, count), the commonest first."""
    if counts:
        print(f"{title}:")
    for value, count in counts[:12]:
        print(f"  {count:7d}  {value}")


class ProgressLine:
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


def print_result(*lines: str) -> None:
    """What came of a run, in place of its line of progress."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{TO_THE_END}")
        sys.stderr.flush()
    print("\n".join(lines))
