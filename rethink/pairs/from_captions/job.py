"""The job of drawing pairs from pairs of captions, which the node and the command share."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...options import MAX_SEED, check_limits, option
from ...progress import JobProgress, OnProgress, eta, format_count, ignore_progress
from ..engine import LOCAL, Engine
from ..exporting import describe_store
from ..models import ModelSource
from ..review.filters import count_reasons
from ..seeds import describe_stray_seeds, record_seed
from ..store import PairStore
from .caption_edits import CaptionEdit
from .prompt_to_prompt import P2PConfig
from .selection import CandidateSampler, Selection, SelectionStats, draw_pairs, failed_sample
from .text_to_image import text_to_image

if TYPE_CHECKING:
    from ...evaluation.clip_similarity import Clip


@dataclass(frozen=True)
class PromptToPromptJob:
    """Draw pairs of images for pairs of captions, identical except for the edit, and keep the best.

    editor: a text-to-image model; `with editor.pipeline() as pipeline` gives its Stable Diffusion pipeline. clip: selects
    candidates. store: the folder of the pairs, new or existing; captions that are finished there are not drawn again.
    """

    captions: tuple[CaptionEdit, ...]
    store: Path
    editor: ModelSource[Any]
    clip: ModelSource[Clip]
    config: P2PConfig = field(default_factory=P2PConfig)
    selection: Selection = field(default_factory=Selection)
    seed: int = option(
        0,
        "Every candidate gets its own 32-bit seed, drawn from this one. The same seed resumes a run that was stopped; "
        "another seed adds other pairs.",
        low=0,
        high=MAX_SEED,
    )

    def __post_init__(self):
        check_limits(self)

    def run(self, on_progress: OnProgress = ignore_progress, engine: Engine = LOCAL) -> PromptToPromptReport:
        """Draw the captions that have not been drawn yet. A run that was stopped resumes."""
        with engine.started() as executor_for, PairStore(self.store).writing() as store:
            sampler = self._sampler(store)
            known = {record["id"] for record in store.drawn}
            drawn = sum(sampler.is_drawn(each, known) for each in self.captions)
            watch = _Watch(on_progress, len(self.captions), drawn)
            earlier = record_seed(store, self._recipes, self.seed)
            executor = executor_for("draw", partial(_open_sampler, self, store.folder), partial(failed_sample, sampler))
            with ExitStack() as models:
                if not executor and drawn < len(self.captions):
                    sampler = self._open_sampler(store, models)
                stats = draw_pairs(
                    store,
                    self.captions,
                    sampler,
                    executor=executor,
                    on_step=watch.on_step,
                    on_progress=watch.on_caption,
                )
            groups, groups_of = self._groups(store), {seed: self._groups(store, seed) for seed in earlier}
            others = describe_stray_seeds(store, earlier, lambda pair, seed: pair.source in groups_of[seed])
            describe_store(store)
        pairs = PairStore(self.store, (pair.id for pair in store if pair.source in groups))
        skipped = tuple(record["why"] for record in store.skipped if record["source"] in groups)
        return PromptToPromptReport(pairs, stats, skipped, tuple(others))

    @property
    def _recipes(self) -> str:
        """Everything the pairs depend on except the captions and the seed."""
        return json.dumps([self.editor.name, asdict(self.config), asdict(self.selection)])

    def _sampler(self, store: PairStore) -> CandidateSampler:
        """A sampler without models, which can tell the ids."""
        return CandidateSampler(store, None, None, self.config, self.selection, self.seed, self.editor.name)

    def _open_sampler(self, store: PairStore, models: ExitStack) -> CandidateSampler:
        """The sampler with its models, which stay open until `models` is closed."""
        pipeline = models.enter_context(text_to_image(self.editor.load()))
        return replace(self._sampler(store), pipeline=pipeline, clip=self.clip.load())

    def _groups(self, store: PairStore, seed: int | None = None) -> set[str]:
        """The ids of all pairs of captions, for this seed or another."""
        sampler = self._sampler(store)
        if seed is not None:
            sampler = replace(sampler, seed=seed)
        return {id for each in self.captions for id in sampler.ids(each)}


@dataclass(frozen=True)
class PromptToPromptReport:
    """The result of a job. pairs: the store, limited to the pairs of the job's captions, drawn now or before. skipped: why
    captions were skipped. stray_seeds: a line for every other seed that left pairs of the same kind."""

    pairs: PairStore
    stats: SelectionStats
    skipped: tuple[str, ...]
    stray_seeds: tuple[str, ...]

    def __str__(self) -> str:
        stats = self.stats
        lines = [
            f"{format_count(stats.kept, 'pair')} kept now, of {format_count(stats.drawn, 'candidate')}; {format_count(stats.dropped, 'was', 'were')} dropped early."
        ]
        if stats.audited:
            lines.append(f"That lost about {stats.estimated_loss:.0%} of the good candidates.")
        return "\n".join(
            [*lines, *(f"{count} × {why}" for why, count in count_reasons(self.skipped)), *self.stray_seeds]
        )


class _Watch:
    """Turn the steps and captions of a run into its progress. drawn: how many of the captions need no work."""

    def __init__(self, on_progress: OnProgress, total: int, drawn: int):
        self._on_progress, self._total, self._drawn = on_progress, total, drawn
        self._stats = SelectionStats()

    def on_step(self, step: int, steps: int) -> None:
        """Report step 1…steps of the current pair of captions."""
        self._report(self._seen * steps + step, self._total * steps)

    def on_caption(self, stats: SelectionStats) -> None:
        """Report that a pair of captions is done. stats: of all so far."""
        self._stats = stats
        self._report(self._seen, self._total)

    @property
    def _seen(self) -> int:
        return self._drawn + self._stats.captions

    def _report(self, done: int, total: int) -> None:
        stats = self._stats
        rate = stats.kept / stats.seconds if stats.seconds else 0
        left = eta(stats.captions, self._total - self._seen, stats.seconds)
        line = f"{self._seen} of {self._total} captions · {format_count(stats.kept, 'pair')} · {rate:.2f} pairs/s · {left} left"
        self._on_progress(JobProgress(done, total, line))


def _open_sampler(job: PromptToPromptJob, folder: Path) -> CandidateSampler:
    return job._open_sampler(PairStore(folder), _WORKER_MODELS)


_WORKER_MODELS = ExitStack()  # they stay open as long as the worker lives
