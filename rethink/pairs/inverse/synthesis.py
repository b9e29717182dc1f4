"""Inverse-edit synthesis: damage a real picture, and learn to undo it. The real picture is always the target.

A maker turns one source into drafts (images written, words known); the writer turns drafts into pairs; only a finished
pair gets its line in the manifest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from ...errors import RethinkError
from ...progress import eta
from ..pixels import read_mask
from ..store import EditPair, PairStore
from .drafts import Draft, DraftMaker, pair_id
from .instructions import (
    TEMPLATES_ONLY,
    Description,
    FailureStreak,
    InstructionWriter,
    MapFn,
    ThinkerUnavailable,
    leaks_filename,
)
from .sources import Source, Sources

PAIRS_PER_JOB = 16  # pairs of one picture that one job is to make, at most


@dataclass(frozen=True)
class SynthesisProgress:
    """Where a run stands: pictures seen of all; pairs decided on of all that are wanted, of which so many (`idle`) needed
    no work; pairs made in this run; pictures or pairs skipped; seconds since start.

    newest: the pair that was made last. When the run is over, ids are those of all pairs that it was to make, made now or
    there from before, and reasons are why others were skipped, each as often as it came.
    """

    seen: int
    total: int
    done: int
    wanted: int
    idle: int
    made: int
    skipped: int
    seconds: float
    newest: EditPair | None = None
    ids: frozenset[str] = frozenset()
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"{self.seen} of {self.total} images · {self.made} pairs · {self.skipped} skipped · "
            f"{self.rate:.1f} pairs/s · {self.left} left"
        )

    @property
    def rate(self) -> float:
        """Pairs a second."""
        return self.made / self.seconds if self.seconds else 0.0

    @property
    def left(self) -> str:
        """How long the rest will take, as `eta` says it."""
        return eta(self.done - self.idle, self.wanted - self.done, self.seconds)


def synthesize(
    store: PairStore,
    sources: Sources,
    make: DraftMaker,
    pairs: int,
    writer: InstructionWriter = TEMPLATES_ONLY,
    *,
    executor: Callable[[Iterator], Generator[Iterable[Draft], None, None]] | None = None,
    describe: Callable[[Iterator[Iterable[Draft]]], Generator[Iterable[EditPair | Draft], None, None]] | None = None,
    map_fn: MapFn = map,
    on_progress: Callable[[SynthesisProgress], None] = lambda progress: None,
) -> SynthesisProgress:
    """Make `pairs` pairs of every source that are not yet in the store, which is held for writing.

    sources: pictures, and (name, reason) for what cannot be one. `executor` takes jobs (source, numbers) to other processes
    and gives their drafts, in any order; None: all here. `describe` does the same from drafts to what `finish_pair` makes of
    each; None: the writer, here, by `each`: `map`, or what asks several times at once.
    What `on_progress` raises ends the run, as does a thinker that is away; everything made so far is kept.
    """
    run = _Run(store, sources, make.key, pairs)
    drafts = executor(run.jobs()) if executor else (make(*job) for job in run.jobs())
    if describe:
        results = describe(map(list, drafts))
    else:
        results = ([result] for result in map_fn(lambda d: finish_pair(store, d, writer), chain.from_iterable(drafts)))
    with closing(drafts), closing(results):  # ends the other processes however this one ends
        for batch in results:
            for result in batch:
                run.take(result)
                on_progress(run.progress())
    return run.result()


class _Run:
    """What is still to be made of the sources, and what became of the rest. Jobs may be taken on other threads than the
    one that brings results."""

    def __init__(self, store: PairStore, sources: Sources, key: str, pairs: int):
        self._store, self._sources, self._key, self._pairs = store, sources, key, pairs
        self._total, self._started = len(sources), time.monotonic()
        self._patience = FailureStreak()
        self._told = {(record["source"], record["number"], record["why"]) for record in store.skipped}
        self._lock = threading.Lock()  # of all that follows
        self._skipped: set[tuple[str, int, str]] = set()  # in this run
        self._left: dict[str, int] = {}  # name of a source that is worked on → pairs of it that are still to come
        self._ids: set[str] = set()  # of this run's pairs, made now or before
        self._newest: EditPair | None = None
        self._seen = self._done = self._idle = self._made = 0

    def jobs(self) -> Iterator[tuple[Source, list[int]]]:
        """(source, numbers of its pairs that are to be made), at most PAIRS_PER_JOB of them each."""
        for source in self._sources:
            if isinstance(source, Source):
                numbers = self._begin(source)
                for at in range(0, len(numbers), PAIRS_PER_JOB):
                    yield source, numbers[at : at + PAIRS_PER_JOB]
                continue
            with self._lock:
                self._pass_over(self._pairs, seen=True)
                self._skip(source[0], 0, source[1])

    def _begin(self, source: Source) -> list[int]:
        """The numbers of the pairs of a source that are to be made."""
        ids = [pair_id(self._key, source, n) for n in range(self._pairs)]
        numbers = [n for n, id in enumerate(ids) if id not in self._store]
        with self._lock:
            self._ids.update(id for id in ids if id in self._store)
            self._pass_over(self._pairs - len(numbers), seen=not numbers)
            if numbers:
                self._left[source.name] = len(numbers)
        return numbers

    def _pass_over(self, pairs: int, seen: bool) -> None:
        """Count pairs that need no work. seen: their source needs none."""
        self._done, self._idle, self._seen = self._done + pairs, self._idle + pairs, self._seen + seen

    def take(self, result: EditPair | Draft) -> None:
        """Write down a pair, or why there is none. Raises RethinkError when the thinker has failed too often in a row."""
        if isinstance(result, EditPair):
            self._store.add(result)
        with self._lock:
            if isinstance(result, EditPair):
                self._ids.add(result.id)
                self._newest = result
                self._made += 1
            else:
                self._skip(result.source, result.number, result.skipped)
            self._left[result.source] -= 1
            if not self._left[result.source]:
                del self._left[result.source]
                self._seen += 1
            self._done += 1
        if isinstance(result, Draft):
            self._patience.after(result.failed, result.skipped)
        else:
            self._patience.after(False, "")

    def progress(self) -> SynthesisProgress:
        with self._lock:
            return SynthesisProgress(
                self._seen,
                self._total,
                self._done,
                self._total * self._pairs,
                self._idle,
                self._made,
                len(self._skipped),
                time.monotonic() - self._started,
                self._newest,
            )

    def result(self) -> SynthesisProgress:
        """The progress of a run that is over."""
        reasons = tuple(why for _, _, why in sorted(self._skipped))
        return replace(self.progress(), ids=frozenset(self._ids), reasons=reasons)

    def _skip(self, source: str, number: int, why: str) -> None:
        """Count it, and report it unless an earlier run did."""
        skipped = source, number, why
        self._skipped.add(skipped)
        if skipped not in self._told:
            self._told.add(skipped)
            self._store.skipped.append({"source": source, "number": number, "why": why})


def finish_pair(store: PairStore, draft: Draft, writer: InstructionWriter) -> EditPair | Draft:
    """The pair of a draft; or the draft with the reason why there is none, and its images taken away."""
    if draft.skipped:
        return draft

    def look():
        damaged, original = store.read_image(draft.input), store.read_image(draft.target)
        region = store.folder / draft.region
        touched = read_mask(region, original.shape[:2]) if draft.region else np.ones(original.shape[:2], bool)
        return damaged, original, touched

    try:
        given = Description(draft.place, draft.hidden)
        instruction, told = writer.write(
            draft.operation, draft.hidden_what, draft.template_vars, look, given, draft.seed
        )
        if leaks_filename(instruction, draft.source):
            raise RethinkError("the instruction gave away the file's name")
    except RethinkError as error:
        for path in filter(None, (draft.input, draft.region)):
            (store.folder / path).unlink(missing_ok=True)
        return replace(draft, skipped=str(error), failed=isinstance(error, ThinkerUnavailable))
    return EditPair(
        draft.id,
        draft.input,
        draft.target,
        instruction,
        draft.region,
        draft.operation,
        {**draft.parameters, **draft.template_vars},
        draft.seed,
        draft.source,
        draft.number,
        told.hidden,
    )
