"""From pairs of captions to the pairs worth keeping: many candidates each, hopeless ones dropped for what a sketch of
them shows, the best kept by CLIP (InstructPix2Pix, section 3.1.2)."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Container, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...editors.pipeline_folder import open_pipeline, read_index
from ...errors import OutOfMemoryError, RethinkError, describe_error, lazy_import
from ...images import to_pixels
from ...model_files import model_name, snapshot_of
from ...options import check_limits, option, option_of
from ..review.filters import Thresholds
from ..store import EditPair, PairStore
from .caption_edits import CaptionEdit
from .prompt_to_prompt import Candidates, P2PConfig, generate, preview_sample

if TYPE_CHECKING:
    from ...evaluation.clip_similarity import Clip

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
STORED_NAMES = {"false_rejects": "erred"}  # fields of SelectionStats that stores know by another name
SCORES = ("clip_sim_image", "clip_sim_0", "clip_sim_1", "clip_sim_dir")


@dataclass(frozen=True)
class EarlyStop:
    """Candidates are first sketched in so many steps; those whose sketch misses a threshold by more than the slack of
    that score are dropped. With fewer than about ten steps a sketch tells little."""

    steps: int
    image: float
    caption: float
    direction: float

    def __post_init__(self):
        if self.steps < 1:
            raise RethinkError(f"looks: a sketch needs at least 1 step, not {self.steps}.")


def _threshold(name: str) -> float:
    """A threshold of `Thresholds`, here for what is kept of the candidates."""
    known = option_of(Thresholds, name)
    return option(known.default, known.help, low=known.low, high=known.high, step=known.step, advanced=True)


@dataclass(frozen=True)
class Selection:
    """Which candidates are kept.

    candidates: of every pair of captions. batch: so many are drawn at once. image, caption, direction: CLIP cosines that
    a kept pair has at least; best: so many are kept by direction (all as in the released InstructPix2Pix).
    looks: one after another, at those that are left; without any that has at most half of the config's steps, none is
        dropped early.
    audited: the share of those that is drawn to the end all the same, to measure how often dropping errs.
    """

    candidates: int = option(
        100, "Drawn for every pair of captions, to choose the best from. The paper: 100.", low=1, high=10000
    )
    batch: int = option(8, "Candidates drawn at once. Lower it if memory runs out.", low=1, high=64)
    image: float = _threshold("image")
    caption: float = _threshold("caption")
    direction: float = _threshold("direction")
    best: int = option(
        4,
        "This many are kept of every pair of captions, those of the best direction. The paper: 4.",
        low=1,
        high=1000,
    )
    looks: tuple[EarlyStop, ...] = (EarlyStop(10, 0.15, 0.04, 0.15),)
    audited: float = option(
        0.05,
        "Share of the candidates given up early that is drawn all the same, to see how often that errs.",
        low=0,
        high=1,
        step=0.01,
        advanced=True,
    )

    def __post_init__(self):
        check_limits(self)

    def misses(self, scores: dict[str, float], slack: EarlyStop = EarlyStop(1, 0, 0, 0)) -> bool:
        """Whether a threshold is missed by more than its slack."""
        least = (self.image - slack.image, *[self.caption - slack.caption] * 2, self.direction - slack.direction)
        return any(scores[name] < bound for name, bound in zip(SCORES, least))


@dataclass(frozen=True)
class SelectionStats:
    """What became of candidates: drawn in all; given up early; given up, but drawn to the end to see (audited), and of
    those reaching every threshold after all (false_rejects); reaching every threshold (passed); kept. seconds: since the start.
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
        """The numbers under the names that they have in a store."""
        return {STORED_NAMES.get(name, name): number for name, number in asdict(self).items()}

    @property
    def estimated_loss(self) -> float:
        """The share of the good candidates that dropping early has cost, as the audited ones tell."""
        missed = self.false_rejects / self.audited * self.dropped if self.audited else 0.0
        return missed / (missed + self.passed) if missed else 0.0


@dataclass(frozen=True)
class SampledPairs:
    """The kept pairs of one pair of captions, best first, their pictures written; or why there are none."""

    id: str
    pairs: tuple[EditPair, ...] = ()
    stats: SelectionStats = SelectionStats()
    skipped: str = ""


def load_text_to_image(folder: str | Path, device: str = "cpu") -> Any:
    """A StableDiffusionPipeline or StableDiffusionXLPipeline from a diffusers folder of safetensors.

    Raises RethinkError naming the folder for anything else. Nothing is downloaded.
    """
    import torch

    folder = snapshot_of(Path(folder))
    index = read_index("model", folder)
    name = index.get("_class_name")
    if name not in PIPELINES:
        raise RethinkError(f"model: {folder} is a {name}; Prompt-to-Prompt works with {' and '.join(PIPELINES)}.")
    pipeline = open_pipeline("model", folder, index, getattr(lazy_import("diffusers"), name), torch.float32)
    return optimize_pipeline(pipeline, device)


@dataclass(frozen=True)
class TextToImageModel:
    """A text-to-image pipeline, as an editor of its kind gives it: within `pipeline()`."""

    name: str
    opened: Any

    @contextmanager
    def pipeline(self) -> Iterator[Any]:
        """Within it: the pipeline."""
        yield self.opened


def open_text_to_image(folder: str | Path, device: str = "cpu") -> TextToImageModel:
    """What `load_text_to_image` opens, with its name."""
    return TextToImageModel(model_name(snapshot_of(Path(folder))), load_text_to_image(folder, device))


def optimize_pipeline(pipeline: Any, device: str = "cpu") -> Any:
    """The pipeline on its device in the precision that is quick there: fp16 off the CPU; on it fp32, with the U-Net in
    bf16 where the processor multiplies that. Its convolutions are in their own order of memory, as in `load_editor`."""
    import torch

    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.vae):
        part.to(memory_format=torch.channels_last)
    pipeline.to(device, torch.float32 if device == "cpu" else torch.float16)
    able = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.11
    if device == "cpu" and (able.get("avx512_bf16") or able.get("amx_bf16")):
        pipeline.unet.to(torch.bfloat16)
    return pipeline


@dataclass(frozen=True)
class CandidateSampler:
    """Draws the candidates of a pair of captions and writes the pictures of those that are kept. It holds no state: all
    follows from the captions, the seed, the two recipes, and who draws: with another model, or another LoRA over it, the
    same captions are drawn for anew."""

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
        """Raises what `on_step` raises, and OutOfMemoryError; any other trouble with these captions is the reason to skip."""
        import torch

        id, started, stopped = self.id(caption_edit), time.monotonic(), []

        def step(done: int, total: int) -> None:
            try:
                on_step(done, total)
            except BaseException as error:
                stopped.append(error)
                raise

        try:
            chosen, stats = self._choose(caption_edit, step)
        except (torch.cuda.OutOfMemoryError, MemoryError) as error:
            raise OutOfMemoryError(
                f"p2p: out of memory with {self.selection.batch} candidates at once; lower batch."
            ) from error
        except Exception as error:  # a run of days must not end by one caption
            if stopped:
                raise
            return SampledPairs(id, stats=SelectionStats(captions=1, skipped=1), skipped=describe_error(error))
        pairs = tuple(self._written(id, caption_edit, number, *choice) for number, choice in enumerate(chosen))
        return SampledPairs(
            id, pairs, stats + SelectionStats(captions=1, kept=len(pairs), seconds=time.monotonic() - started)
        )

    def id(self, caption_edit: CaptionEdit) -> str:
        """16 hexadecimal digits for all that the pairs of a caption_edit follow from."""
        return self.ids(caption_edit)[0]

    def ids(self, caption_edit: CaptionEdit) -> tuple[str, str]:
        """The id, and the one that stores have in which the command line wrote before it said which model drew."""
        recipes = json.dumps([asdict(self.config), asdict(self.selection), self.seed, asdict(caption_edit)])
        former = hashlib.sha256(recipes.encode()).hexdigest()[:16]
        return hashlib.sha256(f"{self.model} {former}".encode()).hexdigest()[:16], former

    def is_drawn(self, caption_edit: CaptionEdit, known: Container[str]) -> bool:
        """Whether a caption_edit is among those of these ids."""
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
        """(the best [(parameters, before, after), …], stats), a batch at a time; only the best are held."""
        clip = self.clip
        assert clip is not None, "a sampler that samples has its models"
        texts = clip.texts([caption_edit.input, caption_edit.output])
        seeds = self.seeds(caption_edit)
        best, stats, going, given_up = [], SelectionStats(drawn=len(seeds)), seeds, set()
        looks = [look for look in self.selection.looks if 2 * look.steps <= self.config.steps]
        passes = [*(look.steps for look in looks), self.config.steps]

        def draw(number: int, make: Callable) -> Iterator[tuple[Candidates, list[dict[str, float]]]]:
            batches = _batches(going, self.selection.batch)
            for count, batch in enumerate(batches):

                def step(done: int, total: int, count: int = count) -> None:
                    here = passes[number] * (count + done / total) / len(batches)
                    on_step(round(sum(passes[:number]) + here), sum(passes))

                made = make(
                    self.pipeline, caption_edit.input, caption_edit.output, batch, config=self.config, on_step=step
                )
                yield made, _scores(clip, texts, made)

        for number, look in enumerate(looks):
            for made, scores in draw(number, partial(preview_sample, steps=look.steps)):
                given_up.update(seed for seed, scored in zip(made.seeds, scores) if self.selection.misses(scored, look))
            going = [seed for seed in going if seed not in given_up or _is_audited(seed, self.selection.audited)]
        for made, scores in draw(len(looks), generate):
            passed = [i for i in range(len(scores)) if not self.selection.misses(scores[i])]
            stats += SelectionStats(false_rejects=sum(made.seeds[i] in given_up for i in passed), passed=len(passed))
            best += [_candidate(made, i, scores[i]) for i in passed]
            best = sorted(best, key=lambda choice: -choice[0]["clip_sim_dir"])[: self.selection.best]
        return best, stats + SelectionStats(dropped=len(given_up), audited=len(given_up.intersection(going)))

    def _written(self, group: str, caption_edit: CaptionEdit, number: int, found: dict, before, after) -> EditPair:
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


def failed_sample(draw: CandidateSampler, caption_edit: CaptionEdit, why: str) -> SampledPairs:
    """What is said of captions over which the process died."""
    return SampledPairs(draw.id(caption_edit), stats=SelectionStats(captions=1, skipped=1), skipped=why)


def _scores(clip: Clip, texts, made: Candidates) -> list[dict[str, float]]:
    from ...evaluation.clip_similarity import similarities

    count = len(made.seeds)
    images = clip.images([*to_pixels(made.before), *to_pixels(made.after)]).unflatten(0, (2, count))
    return similarities(images, texts[:, None].expand(-1, count, -1))


def _batches(seeds: list[int], size: int) -> list[list[int]]:
    return [seeds[start : start + size] for start in range(0, len(seeds), size)]


def _candidate(made: Candidates, i: int, scores: dict[str, float]) -> tuple[dict, np.ndarray, np.ndarray]:
    """What the released code writes of a candidate, under its names, and its pictures."""
    found = {
        "seed": made.seeds[i],
        "p2p_threshold": round(made.thresholds[i], 5),
        "cfg_scale": round(made.guidances[i], 5),
        **scores,
    }
    return found, to_pixels(made.before[i]), to_pixels(made.after[i])


def _is_audited(seed: int, share: float) -> bool:
    """By lot, but the same lot for the same candidate."""
    return np.random.default_rng([seed, 0xA0]).random() < share


def draw_pairs(
    store: PairStore,
    caption_edits: Iterable[CaptionEdit],
    draw: CandidateSampler,
    *,
    executor: Callable[[Iterator[CaptionEdit]], Generator[SampledPairs, None, None]] | None = None,
    on_step: Callable[[int, int], None] = lambda step, total: None,
    on_progress: Callable[[SelectionStats], None] = lambda stats: None,
) -> SelectionStats:
    """The best candidates of every caption_edit that was not drawn for yet, into the store, which is held for writing.

    `executor` takes the caption_edits to other processes and gives what they drew, in any order; None: all here, with `on_step`
    called after (step 1…total, total) of every caption_edit.
    A run that is killed goes on with the captions that it had not finished, and makes the same pairs.
    """
    total, started = SelectionStats(), time.monotonic()
    todo = _not_drawn(store, caption_edits, draw)
    results = executor(todo) if executor else (draw(caption_edit, on_step) for caption_edit in todo)
    with closing(results):
        for drawn in results:
            for pair in drawn.pairs:
                store.add(pair)
            if drawn.skipped:
                store.skipped.append({"source": drawn.id, "number": 0, "why": drawn.skipped})
            store.drawn.append({"id": drawn.id, **drawn.stats.to_json()})
            total += SelectionStats(**{**asdict(drawn.stats), "seconds": 0.0})
            on_progress(SelectionStats(**{**asdict(total), "seconds": time.monotonic() - started}))
    return SelectionStats(**{**asdict(total), "seconds": time.monotonic() - started})


def _not_drawn(store: PairStore, caption_edits: Iterable[CaptionEdit], draw: CandidateSampler) -> Iterator[CaptionEdit]:
    """The caption_edits that were not drawn for yet, each once however often it comes."""
    known = {record["id"] for record in store.drawn}
    for caption_edit in caption_edits:
        if not draw.is_drawn(caption_edit, known):
            known.add(draw.id(caption_edit))
            yield caption_edit
