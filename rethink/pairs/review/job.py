"""The job of filtering pairs, which the node and the command share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...progress import OnProgress, ignore_progress, progress_with_eta
from ...thinkers.asking import ChatFn, thread_map
from ..engine import LOCAL, Engine
from ..models import LazyClip, ModelSource
from ..store import EditPair, PairStore
from .filters import Thresholds, count_reasons, filter_pairs, score, score_batch
from .grading import grade_pairs

if TYPE_CHECKING:
    from ...evaluation.clip_similarity import Clip


@dataclass(frozen=True)
class FilterJob:
    """Measure pairs once, have a critic grade them, and keep those that reach every threshold.

    clip: for the similarities; None: their thresholds do not apply. thinker: a vision-language critic, or None.
    """

    pairs: PairStore
    thresholds: Thresholds = field(default_factory=Thresholds)
    clip: ModelSource[Clip] | None = None
    thinker: ModelSource[ChatFn] | None = None

    def run(self, on_progress: OnProgress = ignore_progress, engine: Engine = LOCAL) -> FilterReport:
        """Measure and grade the pairs that have not been yet, and write the verdicts that changed."""
        chat = self.thinker.load() if self.thinker else None
        with engine.started() as executor_for, self.pairs.writing() as store:
            executor = executor_for("measure", partial(_open_scorer, self, store.folder), _not_scored)
            clip = LazyClip(self.clip) if self.clip else None
            score(store, clip, progress_with_eta("pairs measured", on_progress), executor=executor)
            if self.thinker and chat is not None:
                graded = progress_with_eta("pairs graded", on_progress)
                grade_pairs(store, chat, self.thinker.name, graded, map_fn=thread_map(self.thinker.concurrency))
            filter_pairs(store, self.thresholds)
        return _report(self.pairs)


@dataclass(frozen=True)
class FilterReport:
    """accepted, rejected: the store, limited to either. A person's verdict takes precedence over every threshold.
    reasons: (why, how often), the most common first."""

    accepted: PairStore
    rejected: PairStore
    reasons: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        kept, others = len(self.accepted.subset_ids), len(self.rejected.subset_ids)
        lines = [f"{count} × {why}" for why, count in self.reasons]
        return "\n".join([f"{kept} of {kept + others} pairs kept.", *lines])


def _report(pairs: PairStore) -> FilterReport:
    kept = {pair.id for pair in pairs.accepted()}
    others = {pair.id for pair in pairs} - kept
    verdicts = pairs.current_verdicts()
    reasons = count_reasons(why for id in others for why in (verdicts[id]["why"] or ["rejected manually"]))
    return FilterReport(PairStore(pairs.folder, kept), PairStore(pairs.folder, others), tuple(reasons))


def _open_scorer(job: FilterJob, folder: Path) -> Callable[[list[EditPair]], list[dict[str, Any]]]:
    store, clip = PairStore(folder), LazyClip(job.clip) if job.clip else None
    return lambda pairs: score_batch(store, pairs, clip)


def _not_scored(pairs: list[EditPair], why: str) -> list[dict[str, Any]]:
    return [{"id": pair.id, "broken": why} for pair in pairs]
