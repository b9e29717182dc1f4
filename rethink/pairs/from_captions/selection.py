"""From pairs of captions to the pairs worth keeping: draw many candidates for each, drop hopeless ones after a quick
preview, and keep the best by CLIP (InstructPix2Pix, section 3.1.2)."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Container, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import OutOfMemoryError, RethinkError, describe_error, is_out_of_memory
from ...images import to_pixels
from ...options import check_limits, option, option_of
from ..review.filters import Thresholds
from ..store import EditPair, PairStore
from .caption_edits import CaptionEdit
from .prompt_to_prompt import Candidates, P2PConfig, generate, preview_sample

if TYPE_CHECKING:
    from ...evaluation.clip_similarity import Clip

STORED_NAMES = {"false_rejects": "erred"}  # fields of SelectionStats that have another name in stores
SCORES = ("clip_sim_image", "clip_sim_0", "clip_sim_1", "clip_sim_dir")


@dataclass(frozen=True)
class EarlyStop:
    """Preview candidates in `steps` steps, and drop those whose preview misses a threshold by more than that score's
    slack. With fewer than about ten steps, a preview says little."""

    steps: int
    image: float
    caption: float
    direction: float

    def __post_init__(self):
        if self.steps < 1:
            raise RethinkError(f"looks: a preview needs at least 1 step, not {self.steps}.")


def _threshold(name: str) -> float:
    """An option with the default, help and limits of the filter's threshold of the same name."""
    known = option_of(Thresholds, name)
    return option(known.default, known.help, low=known.low, high=known.high, step=known.step, advanced=True)


@dataclass(frozen=True)
class Selection:
    """Which candidates are kept.

    candidates: per pair of captions. batch: how many are drawn at once. image, caption, direction: the minimum CLIP
        cosines of a kept pair. best: how many are kept, by direction (all as in the released InstructPix2Pix).
    looks: successive previews, each of the remaining candidates. Previews with more than half of the config's steps are
        skipped; without any, no candidate is dropped early.
    audited: the fraction of dropped candidates that are drawn in full anyway, to measure how often dropping is wrong.
    """

    candidates: int = option(
        100, "Candidates per pair of captions; the best are kept. The paper draws 100.", low=1, high=10000
    )
    batch: int = option(8, "Candidates drawn at once. Lower it if you run out of memory.", low=1, high=64)
    image: float = _threshold("image")
    caption: float = _threshold("caption")
    direction: float = _threshold("direction")
    best: int = option(
        4,
        "Keep this many per pair of captions, those with the best direction. The paper keeps 4.",
        low=1,
        high=1000,
    )
    looks: tuple[EarlyStop, ...] = (EarlyStop(10, 0.15, 0.04, 0.15),)
    audited: float = option(
        0.05,
        "Fraction of the candidates dropped early to draw anyway, to measure how often dropping is wrong.",
        low=0,
        high=1,
        step=0.01,
        advanced=True,
    )

    def __post_init__(self):
        check_limits(self)

    def misses(self, scores: dict[str, float], slack: EarlyStop = EarlyStop(1, 0, 0, 0)) -> bool:
        """Whether a score misses its threshold by more than the slack."""
        least = (self.image - slack.image, *[self.caption - slack.caption] * 2, self.direction - slack.direction)
        return any(scores[name] < bound for name, bound in zip(SCORES, least))


@dataclass(frozen=True)
class SelectionStats:
    """Counts of the candidates by outcome.

    drawn: in total. dropped: early. audited: dropped, but drawn in full. false_rejects: audited ones that reach every
    threshold. passed: all that reach every threshold. kept: the best of those. captions, skipped: pairs of captions in
    total, and without candidates. seconds: since the start.
    """

    captions: int = 0
    drawn: int = 0
    dropped: int = 0
    audited: int = 0
    false_rejects: int = 0
    passed: int = 0
    kept: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def __add__(self, other: SelectionStats) -> SelectionStats:
        return SelectionStats(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def to_json(self) -> dict[str, Any]:
        """The numbers, under their names in a store."""
        return {STORED_NAMES.get(name, name): number for name, number in asdict(self).items()}

    @property
    def estimated_loss(self) -> float:
        """The fraction of good candidates lost by dropping early, estimated from the audited ones."""
        missed = self.false_rejects / self.audited * self.dropped if self.audited else 0.0
        return missed / (missed + self.passed) if missed else 0.0


@dataclass(frozen=True)
class SampledPairs:
    """The kept pairs of one pair of captions, best first, with their images on disk; or why there are none."""

    id: str
    pairs: tuple[EditPair, ...] = ()
    stats: SelectionStats = SelectionStats()
    skipped: str = ""


@dataclass(frozen=True)
class CandidateSampler:
    """Draw the candidates of a pair of captions and write the images of those that are kept. It is stateless:
    everything follows from the captions, the seed, the configs and the model. With another model or LoRA, the same
    captions are drawn again."""

    store: PairStore
    pipeline: Any
    clip: Clip | None
    config: P2PConfig = field(default_factory=P2PConfig)
    selection: Selection = field(default_factory=Selection)
    seed: int = 0
    model: str = ""

    def __call__(
        self, caption_edit: CaptionEdit, on_step: Callable[[int, int], None] = lambda step, total: None
    ) -> SampledPairs:
        """Raises what `on_step` raises, and OutOfMemoryError. Any other error is the reason to skip these captions."""
        id, started, interrupts = self.id(caption_edit), time.monotonic(), []

        def step(done: int, total: int) -> None:
            try:
                on_step(done, total)
            except BaseException as error:
                interrupts.append(error)
                raise

        try:
            chosen, stats = self._choose(caption_edit, step)
        except Exception as error:  # one caption must not end a run of days
            if interrupts:
                raise
            if is_out_of_memory(error):
                raise OutOfMemoryError(
                    f"p2p: out of memory with {self.selection.batch} candidates at once; lower batch."
                ) from error
            return SampledPairs(id, stats=SelectionStats(captions=1, skipped=1), skipped=describe_error(error))
        pairs = tuple(self._write_pair(id, caption_edit, number, *choice) for number, choice in enumerate(chosen))
        return SampledPairs(
            id, pairs, stats + SelectionStats(captions=1, kept=len(pairs), seconds=time.monotonic() - started)
        )

    def id(self, caption_edit: CaptionEdit) -> str:
        """16 hexadecimal digits, a digest of everything the pairs of a caption edit depend on."""
        return self.ids(caption_edit)[0]

    def ids(self, caption_edit: CaptionEdit) -> tuple[str, str]:
        """The id, and its older form without the model, which older stores of the command line contain."""
        settings = json.dumps([asdict(self.config), asdict(self.selection), self.seed, asdict(caption_edit)])
        older = hashlib.sha256(settings.encode()).hexdigest()[:16]
        return hashlib.sha256(f"{self.model} {older}".encode()).hexdigest()[:16], older

    def is_drawn(self, caption_edit: CaptionEdit, known: Container[str]) -> bool:
        """Whether the id of a caption edit is among the known ones."""
        return any(id in known for id in self.ids(caption_edit))

    def seeds(self, caption_edit: CaptionEdit) -> list[int]:
        """The 32-bit seeds of the candidates, all different. More candidates begin with the same ones."""
        text = json.dumps([self.seed, caption_edit.input, caption_edit.output])
        rng = np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest()[:16], 16))
        seeds: dict[int, None] = {}
        while len(seeds) < self.selection.candidates:
            seeds[int(rng.integers(2**32))] = None
        return list(seeds)

    def _choose(
        self, caption_edit: CaptionEdit, on_step
    ) -> tuple[list[tuple[dict, np.ndarray, np.ndarray]], SelectionStats]:
        """(the best [(parameters, before, after), …], stats). Works by batches and holds only the best in memory."""
        clip = self.clip
        assert clip is not None, "a sampler without models is for ids only"
        texts = clip.texts([caption_edit.input, caption_edit.output])
        seeds = self.seeds(caption_edit)
        best, stats, remaining, dropped = [], SelectionStats(drawn=len(seeds)), seeds, set()
        stops = [stop for stop in self.selection.looks if 2 * stop.steps <= self.config.steps]
        passes = [*(stop.steps for stop in stops), self.config.steps]

        def draw(number: int, make: Callable) -> Iterator[tuple[Candidates, list[dict[str, float]]]]:
            batches = _batches(remaining, self.selection.batch)
            for count, batch in enumerate(batches):

                def step(done: int, total: int, count: int = count) -> None:
                    current = passes[number] * (count + done / total) / len(batches)
                    on_step(round(sum(passes[:number]) + current), sum(passes))

                made = make(
                    self.pipeline, caption_edit.input, caption_edit.output, batch, config=self.config, on_step=step
                )
                yield made, _scores(clip, texts, made)

        for number, stop in enumerate(stops):
            for made, scores in draw(number, partial(preview_sample, steps=stop.steps)):
                dropped.update(seed for seed, scored in zip(made.seeds, scores) if self.selection.misses(scored, stop))
            remaining = [seed for seed in remaining if seed not in dropped or _is_audited(seed, self.selection.audited)]
        for made, scores in draw(len(stops), generate):
            passed = [i for i in range(len(scores)) if not self.selection.misses(scores[i])]
            stats += SelectionStats(false_rejects=sum(made.seeds[i] in dropped for i in passed), passed=len(passed))
            best += [_candidate(made, i, scores[i]) for i in passed]
            best = sorted(best, key=lambda choice: -choice[0]["clip_sim_dir"])[: self.selection.best]
        return best, stats + SelectionStats(dropped=len(dropped), audited=len(dropped.intersection(remaining)))

    def _write_pair(self, group: str, caption_edit: CaptionEdit, number: int, found: dict, before, after) -> EditPair:
        seed = found.pop("seed")
        id = hashlib.sha256(f"{group} {seed}".encode()).hexdigest()[:16]
        paths = self.store.image_path(id, "input"), self.store.image_path(id, "target")
        for path, pixels in zip(paths, (before, after)):
            self.store.write_image(path, pixels)
        parameters = {"method": self.config.method, **found}
        return EditPair(
            id,
            *paths,
            caption_edit.edit,
            operation="prompt_to_prompt",
            parameters=parameters,
            seed=seed,
            number=number,
            source=group,
            input_caption=caption_edit.input,
            target_caption=caption_edit.output,
        )


def failed_sample(sampler: CandidateSampler, caption_edit: CaptionEdit, why: str) -> SampledPairs:
    """The result for captions over which the process died."""
    return SampledPairs(sampler.id(caption_edit), stats=SelectionStats(captions=1, skipped=1), skipped=why)


def _scores(clip: Clip, texts, made: Candidates) -> list[dict[str, float]]:
    from ...evaluation.clip_similarity import similarities

    count = len(made.seeds)
    images = clip.images([*to_pixels(made.before), *to_pixels(made.after)]).unflatten(0, (2, count))
    return similarities(images, texts[:, None].expand(-1, count, -1))


def _batches(seeds: list[int], size: int) -> list[list[int]]:
    return [seeds[start : start + size] for start in range(0, len(seeds), size)]


def _candidate(made: Candidates, i: int, scores: dict[str, float]) -> tuple[dict, np.ndarray, np.ndarray]:
    """What the released InstructPix2Pix code records about a candidate, under its names, and the images."""
    found = {
        "seed": made.seeds[i],
        "p2p_threshold": round(made.thresholds[i], 5),
        "cfg_scale": round(made.guidances[i], 5),
        **scores,
    }
    return found, to_pixels(made.before[i]), to_pixels(made.after[i])


def _is_audited(seed: int, share: float) -> bool:
    """Random, but always the same for one candidate."""
    return np.random.default_rng([seed, 0xA0]).random() < share


def draw_pairs(
    store: PairStore,
    caption_edits: Iterable[CaptionEdit],
    sampler: CandidateSampler,
    *,
    executor: Callable[[Iterator[CaptionEdit]], Generator[SampledPairs, None, None]] | None = None,
    on_step: Callable[[int, int], None] = lambda step, total: None,
    on_progress: Callable[[SelectionStats], None] = lambda stats: None,
) -> SelectionStats:
    """Draw every caption edit that has not been drawn yet. The best go into the store, which is held for writing.

    executor: turns caption edits into SampledPairs in other processes, in any order; None: all here, with `on_step` called
        after (step 1…total, total) of each.
    A killed run resumes with the captions that it had not finished and makes the same pairs.
    """
    total, started = SelectionStats(), time.monotonic()
    pending = _not_drawn(store, caption_edits, sampler)
    results = executor(pending) if executor else (sampler(caption_edit, on_step) for caption_edit in pending)
    with closing(results):
        for sample in results:
            for pair in sample.pairs:
                store.add(pair)
            if sample.skipped:
                store.skipped.append({"source": sample.id, "number": 0, "why": sample.skipped})
            store.drawn.append({"id": sample.id, **sample.stats.to_json()})
            total += SelectionStats(**{**asdict(sample.stats), "seconds": 0.0})
            on_progress(SelectionStats(**{**asdict(total), "seconds": time.monotonic() - started}))
    return SelectionStats(**{**asdict(total), "seconds": time.monotonic() - started})


def _not_drawn(
    store: PairStore, caption_edits: Iterable[CaptionEdit], sampler: CandidateSampler
) -> Iterator[CaptionEdit]:
    """The caption edits that have not been drawn yet, without duplicates."""
    known = {record["id"] for record in store.drawn}
    for caption_edit in caption_edits:
        if not sampler.is_drawn(caption_edit, known):
            known.add(sampler.id(caption_edit))
            yield caption_edit
