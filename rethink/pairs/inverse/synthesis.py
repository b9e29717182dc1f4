"""Inverse-edit synthesis: damage a real image, and learn to undo it. The real image is always the target.

A DraftMaker turns one source into drafts (images written, template variables known); an InstructionWriter turns drafts
into pairs; only a finished pair gets its line in the manifest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np

from ...errors import RethinkError
from ...progress import eta, format_count
from ...thinkers.asking import FailureStreak, ThinkerUnavailable
from ..pixels import read_mask
from ..store import EditPair, PairStore
from .drafts import Draft, DraftMaker, pair_id
from .instructions import TEMPLATES_ONLY, Description, InstructionWriter, leaks_filename
from .sources import Source, Sources

PAIRS_PER_JOB = 16  # at most, all of one image


@dataclass(frozen=True)
class SynthesisProgress:
    """The progress of a run.

    seen, total: images finished, and all. done, wanted: pairs finished, and all. idle: those that needed no work.
    made: pairs made by this run. skipped: images or pairs. seconds: since the start.
    newest: the last pair made. ids, reasons: known at the end: all requested pairs, made now or before, and why others
        were skipped, once per skip.
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
            f"{self.seen} of {self.total} images · {format_count(self.made, 'pair')} · {self.skipped} skipped · "
            f"{self.rate:.1f} pairs/s · {self.left} left"
        )

    @property
    def rate(self) -> float:
        """Pairs per second."""
        return self.made / self.seconds if self.seconds else 0.0

    @property
    def left(self) -> str:
        """How long the rest will take, as `eta` writes it."""
        return eta(self.done - self.idle, self.wanted - self.done, self.seconds)


def synthesize(
    store: PairStore,
    sources: Sources,
    maker: DraftMaker,
    pairs: int,
    writer: InstructionWriter = TEMPLATES_ONLY,
    *,
    executor: Callable[[Iterator], Generator[Iterable[Draft], None, None]] | None = None,
    describe: Callable[[Iterator[Iterable[Draft]]], Generator[Iterable[EditPair | Draft], None, None]] | None = None,
    on_progress: Callable[[SynthesisProgress], None] = lambda progress: None,
) -> SynthesisProgress:
    """Make `pairs` pairs of every source that are not yet in the store, which is held for writing.

    sources: images, and (name, reason) for what cannot be used. executor: turns jobs (source, numbers) into drafts in other
        processes, in any order; None: the maker does, here. describe: the same from drafts to the results of `finish_pair`;
        None: the writer does, here.
    An exception from `on_progress` ends the run, as does a thinker that stops answering. What was made so far is kept.
    """
    run = _Run(store, sources, maker.key, pairs)
    drafts = executor(run.jobs()) if executor else (maker(*job) for job in run.jobs())
    if describe:
        results = describe(map(list, drafts))
    else:
        finish = partial(finish_pair, store, writer)
        results = ([result] for result in writer.map_fn(finish, chain.from_iterable(drafts)))
    with closing(drafts), closing(results):  # ends the other processes, however this one ends
        for batch in results:
            for result in batch:
                run.take(result)
                on_progress(run.progress())
    return run.result()


class _Run:
    """What is still to be made from the sources, and the results of the rest. Other threads may take jobs while this
    one takes results."""

    def __init__(self, store: PairStore, sources: Sources, key: str, pairs: int):
        self._store, self._sources, self._key, self._pairs = store, sources, key, pairs
        self._total, self._started = len(sources), time.monotonic()
        self._failures = FailureStreak()
        self._reported = {(record["source"], record["number"], record["why"]) for record in store.skipped}
        self._lock = threading.Lock()  # of all that follows
        self._skipped: set[tuple[str, int, str]] = set()  # in this run
        self._left: dict[str, int] = {}  # name of a source in progress → number of its pairs to come
        self._ids: set[str] = set()  # of the pairs asked for, made now or before
        self._newest: EditPair | None = None
        self._seen = self._done = self._idle = self._made = 0

    def jobs(self) -> Iterator[tuple[Source, list[int]]]:
        """(source, numbers of its pairs to make), at most PAIRS_PER_JOB each."""
        for source in self._sources:
            if isinstance(source, Source):
                numbers = self._begin(source)
                for start in range(0, len(numbers), PAIRS_PER_JOB):
                    yield source, numbers[start : start + PAIRS_PER_JOB]
                continue
            with self._lock:
                self._count_idle(self._pairs, seen=True)
                self._skip(source[0], 0, source[1])

    def _begin(self, source: Source) -> list[int]:
        """The numbers of a source's pairs that are not in the store."""
        ids = [pair_id(self._key, source, n) for n in range(self._pairs)]
        numbers = [n for n, id in enumerate(ids) if id not in self._store]
        with self._lock:
            self._ids.update(id for id in ids if id in self._store)
            self._count_idle(self._pairs - len(numbers), seen=not numbers)
            if numbers:
                self._left[source.name] = len(numbers)
        return numbers

    def _count_idle(self, pairs: int, seen: bool) -> None:
        """Count pairs that need no work. seen: whether their source is finished with that."""
        self._done, self._idle, self._seen = self._done + pairs, self._idle + pairs, self._seen + seen

    def take(self, result: EditPair | Draft) -> None:
        """Record a pair, or why there is none. Raises RethinkError when the thinker or an editor's server fails too
        often in a row."""
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
            self._failures.record(result.failed, result.skipped)
        else:
            self._failures.record(False, "")

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
        """Count a skip, and add it to the store's report unless it is already there."""
        skipped = source, number, why
        self._skipped.add(skipped)
        if skipped not in self._reported:
            self._reported.add(skipped)
            self._store.skipped.append({"source": source, "number": number, "why": why})


def finish_pair(store: PairStore, writer: InstructionWriter, draft: Draft) -> EditPair | Draft:
    """The pair of a draft; or the draft with the reason why there is none, and its images removed."""
    if draft.skipped:
        return draft

    def load_images():
        damaged, original = store.read_image(draft.input), store.read_image(draft.target)
        region = store.folder / draft.region
        changed = read_mask(region, original.shape[:2]) if draft.region else np.ones(original.shape[:2], bool)
        return damaged, original, changed

    try:
        known = Description(draft.place, draft.hidden)
        instruction, description = writer.write(
            draft.operation, draft.hidden_what, draft.template_vars, load_images, known, draft.seed
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
        description.hidden,
    )
