"""Reproduce InstructPix2Pix in miniature (arXiv 2211.09800, sections 3 and 4.2): a text-to-image model generates pairs by
Prompt-to-Prompt, CLIP filters them, and the same model, widened, learns to follow instructions from them.

    python benchmarks/instruct_pix2pix.py                     # with --work FOLDER, an interrupted run resumes

The text-to-image model is the built-in editor without its image, which was often dropped in training: asked to add a red star, it
makes up the scene around it. It cannot use source images at all, because their channels are removed.

ip2p_over_sdedit: how much better the edits follow the direction of the captions than SDEdit's on the same model, at equal similarity to
the source, averaged over the similarities that both reach. filtered_over_unfiltered: the same for pairs chosen by CLIP against the same
number of unfiltered pairs. success: on held-out edits, by the exact oracle, at the best point of each curve.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import count, islice
from pathlib import Path
from random import Random
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from rethink.benchmarking.trade_off import Curve, CurveItem, TradeOffJob
from rethink.builtin import CLIP_FOLDER, EDITOR_FOLDER
from rethink.editors.loading import load_editor
from rethink.editors.pipeline_folder import open_pipeline, read_index
from rethink.editors.settings import DEFAULT_SETTINGS, Settings
from rethink.errors import lazy_import
from rethink.evaluation.clip_similarity import Clip
from rethink.pairs.from_captions.caption_edits import CaptionEdit
from rethink.pairs.from_captions.job import PromptToPromptJob
from rethink.pairs.from_captions.prompt_to_prompt import P2PConfig
from rethink.pairs.from_captions.selection import SCORES, Selection
from rethink.pairs.from_captions.text_to_image import TextToImageModel, optimize_pipeline
from rethink.pairs.models import ModelSource
from rethink.pairs.store import EditPair, PairStore
from rethink.tiny.benchmark import evaluate
from rethink.tiny.phrasings import HELD_OUT_WORDINGS, WORDINGS
from rethink.tiny.scene import COLORS, PLACES, SHAPES, SIZE, SceneObject, render
from rethink.tiny.tasks import TRAIN_LOOKS, Task, sample_task
from rethink.training.instruct_pix2pix import LossConfig
from rethink.training.train_editor_job import TrainEditorJob
from rethink.training.train_loop import TrainConfig

STEPS, TEXT_GUIDANCE = 20, 2.0  # of edits
DRAWING = P2PConfig(steps=20, guidance=(1.0, 4.0))
KEPT = {
    "clip_sim_image": 0.2,
    "clip_sim_0": 0.3,
    "clip_sim_1": 0.3,
    "clip_sim_dir": 0.6,
}  # the quantile that each must reach
IMAGE_GUIDANCE = "1, 1.25, 1.5, 2, 3"
STRENGTH = "0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9"
POINTS = 50  # similarities at which two curves are compared


def main() -> None:
    options = read_options()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        model = write_text_to_image(work / "text-to-image")
        pairs = draw_pairs(work / "pairs", model, options.captions, options.candidates)
        kept = choose(pairs)
        print(f"{len(pairs)} pairs, {len(kept)} of them kept by CLIP", flush=True)
        chosen = {"filtered": kept, "unfiltered": Random(0).sample(pairs, len(kept))}
        editors = [sdedit_of(model)]
        for name, part in chosen.items():
            folder = train_editor(model, work, name, part, pairs, options.steps)
            editors.append(ModelSource(name, lambda folder=folder: load_editor(folder)))
        curves = measure_curves(work / "curves", editors, options.cases)
        success = {source.name: best_success(source, options.cases) for source in editors}
    figures = {
        "ip2p_over_sdedit": mean_gap(curves["filtered"], curves["SDEdit"]),
        "filtered_over_unfiltered": mean_gap(curves["filtered"], curves["unfiltered"]),
        "success": success,
        "pairs": len(kept),
        "steps": options.steps,
        "curves": {name: [asdict(point) for point in curve.points] for name, curve in curves.items()},
    }
    print(json.dumps({"bench": "instruct_pix2pix", **figures}))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for pairs and editors; an interrupted run resumes")
    parser.add_argument("--captions", type=int, default=80, help="pairs of captions")
    parser.add_argument("--candidates", type=int, default=12, help="candidates per pair of captions")
    parser.add_argument("--steps", type=int, default=1500, help="optimizer steps of both trainings")
    parser.add_argument("--cases", type=int, default=60, help="held-out edits to measure")
    return parser.parse_args()


# ── the text-to-image model ──────────────────────────────────────────────────────────────────────────────────────────


def write_text_to_image(folder: Path) -> Path:
    """The built-in editor as a StableDiffusionPipeline: its U-Net without the channels of the source."""
    if (folder / "model_index.json").exists():
        return folder
    diffusers = lazy_import("diffusers")
    editor = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(str(EDITOR_FOLDER), safety_checker=None)
    editor.to(torch.float32)
    channels = editor.vae.config.latent_channels
    wide = editor.unet
    unet = diffusers.UNet2DConditionModel.from_config({**wide.config, "in_channels": channels})
    weights = wide.state_dict()
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :channels].clone()
    unet.load_state_dict(weights)
    parts = {name: getattr(editor, name) for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
    whole = diffusers.StableDiffusionPipeline(
        **parts, unet=unet, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    whole.save_pretrained(folder, safe_serialization=True)
    return folder


def asked_for(caption: str) -> str:
    """A caption, phrased so that the model draws it."""
    return f"add {caption}"


class Painter(TextToImageModel):
    """The text-to-image model, prompted with captions."""

    @contextmanager
    def pipeline(self) -> Iterator:
        with super().pipeline() as pipeline:
            encode = pipeline.encode_prompt
            pipeline.encode_prompt = lambda captions, **options: encode([asked_for(c) for c in captions], **options)
            try:
                yield pipeline
            finally:
                pipeline.encode_prompt = encode


class Redrawing:
    """SDEdit, prompted with captions."""

    def __init__(self, editor):
        self._editor = editor

    def __getattr__(self, name):
        return getattr(self._editor, name)

    def edit(self, prepared, captions, seeds, settings=DEFAULT_SETTINGS, **options):
        return self._editor.edit(prepared, [asked_for(caption) for caption in captions], seeds, settings, **options)


def open_painter(folder: Path) -> Painter:
    pipeline = open_pipeline(
        "model", folder, read_index("model", folder), lazy_import("diffusers").StableDiffusionPipeline, torch.float32
    )
    return Painter("painter", optimize_pipeline(pipeline))


def sdedit_of(folder: Path) -> ModelSource:
    return ModelSource("SDEdit", lambda: Redrawing(load_editor(folder)))


# ── pairs, and editors that learn from them ──────────────────────────────────────────────────────────────────────────


def draw_pairs(folder: Path, model: Path, captions: int, candidates: int) -> list[EditPair]:
    """All candidates of this many pairs of captions."""
    job = PromptToPromptJob(
        tuple(sample_captions(captions)),
        folder,
        ModelSource("painter", lambda: open_painter(model)),
        ModelSource("clip", lambda: Clip(CLIP_FOLDER)),
        DRAWING,
        Selection(candidates, batch=16, image=-1.0, caption=-1.0, direction=-1.0, best=candidates, looks=()),
    )
    report = job.run(lambda progress: print(f"\r{progress.line:<110}", end="", flush=True))
    print()
    return list(report.pairs)


def sample_captions(number: int) -> Iterator[CaptionEdit]:
    """A thing and the same in another color or shape; instructions name no place, because training mirrors images."""
    rng = Random(1)
    for _ in range(number):
        place, (color, shape) = rng.choice(PLACES), rng.choice(TRAIN_LOOKS)
        if rng.random() < 0.5:
            kind, after = (
                "recolor",
                (rng.choice([c for c in COLORS if (c, shape) in TRAIN_LOOKS and c != color]), shape),
            )
        else:
            kind, after = (
                "reshape",
                (color, rng.choice([s for s in SHAPES if (color, s) in TRAIN_LOOKS and s != shape])),
            )
        words = {"x": f"the {color} {shape}", "color": after[0], "shape": after[1]}
        instruction = rng.choice(WORDINGS[kind]).format(**words)
        yield CaptionEdit(caption(color, shape, place), instruction, caption(*after, place))


def caption(color: str, shape: str, place: str) -> str:
    return f"a {color} {shape} at the {place}"


def choose(pairs: Sequence[EditPair]) -> list[EditPair]:
    """The pairs that reach a quantile of every CLIP score; the built-in CLIP has a different scale from the paper's."""
    scores = np.array([[pair.parameters[name] for name in SCORES] for pair in pairs])
    least = [np.quantile(scores[:, column], KEPT[name]) for column, name in enumerate(SCORES)]
    return [pair for pair, row in zip(pairs, scores) if (row >= least).all()]


def train_editor(
    model: Path, work: Path, name: str, chosen: Sequence[EditPair], pairs: Sequence[EditPair], steps: int
) -> Path:
    """The editor trained on the chosen pairs."""
    listing, output, store = work / f"{name}-pairs", work / name, PairStore(work / "pairs")
    listing.mkdir(exist_ok=True)
    rows = [
        {
            "input_image_file_name": str(store.file(pair.input).absolute()),
            "edited_image_file_name": str(store.file(pair.target).absolute()),
            "edit_prompt": pair.instruction,
        }
        for pair in chosen
    ]
    (listing / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    plan = TrainConfig(
        steps, learning_rate=5e-4, warmup=100, decay_from=0.5, ema=0.999, workers=0, save_every=max(1, steps // 4)
    )
    job = TrainEditorJob(model, listing, output, SIZE, LossConfig(), plan)
    if not (output / "model_index.json").exists():
        job.run()
    return output


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def held_out_tasks(number: int) -> list[Task]:
    """Held-out scenes and phrasings in which the thing is named only by color and shape."""
    found = (
        task
        for seed in count()
        for task in [sample_task(seed, kind=("recolor", "reshape")[seed % 2], wording="held_out")]
        if task.instruction in plain_words(task)
    )
    return list(islice(found, number))


def plain_words(task: Task) -> list[str]:
    """The task in all held-out phrasings."""
    before, after = changed_things(task)
    words = {"x": f"the {before.name}", "color": after.color, "shape": after.shape}
    return [wording.format(**words) for wording in HELD_OUT_WORDINGS[task.kind]]


def changed_things(task: Task) -> tuple[SceneObject, SceneObject]:
    """The thing before and after."""
    [(before, after)] = [
        (before, after)
        for before in task.source.things
        for after in task.target.things
        if before.cell == after.cell and before != after
    ]
    return before, after


def curve_item(task: Task) -> CurveItem:
    return CurveItem(lambda: render([task.source]), task.instruction, *captions_of(task))


def captions_of(task: Task) -> list[str]:
    """Captions of the source and the edited image, naming the thing that changes."""
    return [caption(*thing.look, PLACES[thing.cell]) for thing in changed_things(task)]


def measure_curves(folder: Path, editors: Sequence[ModelSource], cases: int) -> dict[str, Curve]:
    job = TradeOffJob(IMAGE_GUIDANCE, STRENGTH, str(TEXT_GUIDANCE), STEPS)
    items = [curve_item(task) for task in held_out_tasks(cases)]
    found = job.run(editors, items, ModelSource("clip", lambda: Clip(CLIP_FOLDER)), folder)
    print(found, flush=True)
    return {curve.editor: curve for curve in found.curves}


def mean_gap(one: Curve, other: Curve) -> float | None:
    """How far one curve is above the other, averaged over the similarities that both reach; None if there are none."""
    ones, others = (
        np.array(sorted((p.similarity.mean, p.direction.mean) for p in curve.points if p.direction)).T
        for curve in (one, other)
    )
    low, high = max(ones[0].min(), others[0].min()), min(ones[0].max(), others[0].max())
    if low >= high:
        return None
    at = np.linspace(low, high, POINTS)
    return float((np.interp(at, *ones) - np.interp(at, *others)).mean())


def best_success(source: ModelSource, cases: int) -> float:
    """The highest share of held-out edits done with the rest kept, over the points of the curve."""
    editor, tasks = source.load(), held_out_tasks(cases)
    scales = IMAGE_GUIDANCE if editor.family.guides_by_image else STRENGTH
    knob = "image_guidance" if editor.family.guides_by_image else "strength"
    rates = []
    for scale in scales.split(", "):
        settings = replace(Settings(steps=STEPS, text_guidance=TEXT_GUIDANCE), **{knob: float(scale)})
        rates.append(success(editor, tasks, settings))
    return max(rates)


def success(editor, tasks: Sequence[Task], settings: Settings) -> float:
    """SDEdit is given the captions of the edited images."""
    if not editor.family.guides_by_image:
        tasks = [replace(task, instruction=captions_of(task)[1]) for task in tasks]
    return fmean(verdict.success for verdict in evaluate(editor, list(tasks), settings))


if __name__ == "__main__":
    main()
