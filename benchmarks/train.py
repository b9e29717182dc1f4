"""A LoRA teaches the built-in editor an edit it was never taught, from pairs made by the inverse edit: how well, and at what
cost for the edits it knew. Everything is judged by the exact oracle, on scenes and wordings that training never saw.

    python benchmarks/train.py            # --work FOLDER goes on where it was cut off

The task: a mosaic over a thing, and the description of what is beneath it.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rethink.builtin import EDITOR_FOLDER
from rethink.editors.loading import load_editor
from rethink.images import load_image, save_image
from rethink.pairs.inverse.drafts import SynthesisConfig
from rethink.pairs.inverse.job import SynthesisJob
from rethink.pairs.inverse.sources import ImageFolder, NamedBox
from rethink.pairs.store import PairStore
from rethink.tiny.benchmark import BATCH, evaluate
from rethink.tiny.oracle import judge
from rethink.tiny.phrasings import WORDINGS
from rethink.tiny.scene import BACKGROUNDS, CELL, COLORS, PLACES, RADIUS, SHAPES, SIZE, SIZES, Scene, render
from rethink.tiny.tasks import KINDS, Task, sample_task
from rethink.training.edit_lora_job import TrainEditLoraJob
from rethink.training.lora_settings import LoraSettings

MARGIN = 3  # pixels of the mosaic around the thing, as the black square has them
BLOCKS = (2, 4)  # of the mosaic along its side: few enough that it must be told what is beneath
# Short: the built-in editor reads 30 tokens, of which the description takes eight.
TEMPLATES = (
    "Remove the mosaic.",
    "Remove the pixels.",
    "Take the mosaic away.",
    "Make the mosaic clear.",
    "Undo the mosaic.",
    "Uncover what is there.",
)
HELD_OUT_TEMPLATES = ("Get rid of the mosaic.", "Take the pixels away.", "Clear the mosaic.")


@dataclass(frozen=True)
class Exercise:
    """An edit to be judged: image, instruction, and the oracle's task."""

    image: torch.Tensor
    task: Task


def main() -> None:
    options = read_options()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        editor = load_editor(EDITOR_FOLDER)
        exercises = make_exercises(work / "test", options.cases, describe=not options.plain)
        figures = {"pairs": options.pairs, "success_before": success(editor, exercises)}
        old = old_edits(editor, options.cases)
        started = time.monotonic()
        pairs = make_pairs(work / "train", "train", options.pairs, TEMPLATES, describe=not options.plain)
        figures["seconds_of_synthesis"] = round(time.monotonic() - started, 1)
        settings = LoraSettings(
            steps=options.steps,
            rank=options.rank,
            layers=options.layers,
            learning_rate=options.rate,
            batch=options.batch,
            accumulate=1,
            keep=options.keep,
            keep_instructions=other_instructions(options.replay),
            replay=options.replay,
            seed=options.seed,
            save_every=options.steps // options.saves,
        )
        job = TrainEditLoraJob(pairs, work / f"mosaic-{options.pairs}.safetensors", work / "runs", settings)
        started = time.monotonic()
        report = job.run(editor, lambda progress: print(f"\r{progress.line:<110}", end="", flush=True))
        print()
        figures["seconds_of_training"] = round(time.monotonic() - started, 1)
        after = {save.step: success(load(editor, report.folder / save.file), exercises) for save in report.record.saves}
        figures["success_by_save"] = after
        chosen = load(editor, report.output)
        figures["success_after"] = after[report.record.best]
        figures["checkpoint_regret"] = max(after.values()) - after[report.record.best]
        now = old_edits(chosen, options.cases)
        figures["old_edits_lost"] = sum(old.values()) / len(old) - sum(now.values()) / len(now)
    print_table(figures, old, now)
    print(json.dumps({"bench": "train", **figures, "old_before": old, "old_after": now}))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder to keep pairs and runs in; a run that was cut off goes on")
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--cases", type=int, default=200, help="edits judged, of the new kind and of every old one")
    parser.add_argument("--plain", action="store_true", help="instructions without the description of what is beneath")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--layers", default="all", choices=("family", "all"))
    parser.add_argument("--saves", type=int, default=5, help="LoRAs that are measured on the way")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--keep", default="default", choices=("off", "low", "default", "high"))
    parser.add_argument("--replay", type=int, default=500, help="images on which the old edits are kept")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def load(editor, lora: Path):
    return editor.with_lora(lora, 1.0)[0]


def make_pairs(folder: Path, split: str, count: int, templates: tuple[str, ...], describe: bool) -> PairStore:
    """A store of so many pairs, made by the pack's own synthesis from images of scenes with a named box each."""
    images = folder / "scenes"
    images.mkdir(parents=True, exist_ok=True)
    scenes = sample_scenes(split, count)
    boxes = {}
    for number, (scene, cell) in enumerate(scenes):
        save_image(render([scene]), images / f"{number:05d}.png")
        boxes[f"{number:05d}.png"] = (box_of(scene, cell, describe),)
    config = SynthesisConfig(("pixelate",), {"pixelate": {"blocks": list(BLOCKS)}})
    job = SynthesisJob(ImageFolder(images, boxes=boxes), folder / "pairs", config, templates={"pixelate": templates})
    job.run()
    return PairStore.open_existing(folder / "pairs")


def sample_scenes(split: str, count: int) -> list[tuple[Scene, int]]:
    """Scenes of a split, and the cell of one thing in each."""
    tasks = (sample_task(seed, split=split, kind="uncover") for seed in range(count))
    return [(task.target, hidden_cell(task)) for task in tasks]


def hidden_cell(task: Task) -> int:
    return next(thing.cell for thing in task.source.things if thing.covered)


def box_of(scene: Scene, cell: int, describe: bool) -> NamedBox:
    thing = scene.at(cell)
    assert thing is not None, "there is a thing in the cell"
    left, top = (CELL * place + CELL / 2 for place in (cell % 2, cell // 2))
    reach = RADIUS[thing.size] + MARGIN
    x, y = left + thing.dx, top + thing.dy
    edges = (x - reach, y - reach, x + reach, y + reach)
    box = tuple(min(1.0, max(0.0, edge / SIZE)) for edge in edges)
    return NamedBox(box, "", f"There is a {thing.name}." if describe else "")


def make_exercises(folder: Path, count: int, describe: bool) -> list[Exercise]:
    """Held-out scenes under a mosaic, with held-out wordings."""
    pairs = make_pairs(folder, "test", count, HELD_OUT_TEMPLATES, describe)
    by_source = {pair.source: pair for pair in pairs}
    exercises = []
    for number, (scene, cell) in enumerate(sample_scenes("test", count)):
        pair = by_source[f"{number:05d}.png"]
        covered = scene.with_thing(cell, replace(scene.at(cell), covered=True))  # what may change: that cell
        task = Task(covered, pair.instruction, (scene,), "uncover", "plain")
        exercises.append(Exercise(load_image(pairs.file(pair.input)), task))
    return exercises


def success(editor, exercises: list[Exercise]) -> float:
    """The share of the exercises that were done, all else kept."""
    right = 0
    for start in range(0, len(exercises), BATCH):
        part = exercises[start : start + BATCH]
        prepared = editor.prepare(torch.cat([each.image for each in part]))
        seeds = list(range(start, start + len(part)))
        images = editor.edit(prepared, [each.task.instruction for each in part], seeds)
        right += sum(judge(image[None], each.task).success for image, each in zip(images, part))
    return right / len(exercises)


def old_edits(editor, cases: int) -> dict[str, float]:
    """The success of every kind of edit that the built-in editor was taught."""
    rates = {}
    for kind in KINDS:
        verdicts = evaluate(editor, [sample_task(seed, kind=kind) for seed in range(cases)])
        rates[kind] = sum(verdict.success for verdict in verdicts) / cases
    return rates


def other_instructions(count: int) -> tuple[str, ...]:
    """Instructions of the nine old kinds in everyday words, of no particular image."""
    rng = Random(0)
    kinds = [KINDS[number % len(KINDS)] for number in range(count)]
    return tuple(rng.choice(WORDINGS[kind]).format(**random_words(rng)) for kind in kinds)


def random_words(rng: Random) -> dict[str, str]:
    color, shape = rng.choice(tuple(COLORS)), rng.choice(SHAPES)
    return {
        "x": f"the {rng.choice(tuple(COLORS))} {rng.choice(SHAPES)}",
        "color": color,
        "shape": shape,
        "place": rng.choice(PLACES),
        "size": rng.choice(("bigger", "smaller")),
        "new": f"a {rng.choice(SIZES)} {color} {shape}",
        "at": f" at the {rng.choice(PLACES)}",
        "background": rng.choice(tuple(BACKGROUNDS)),
    }


def print_table(figures: dict, old: dict[str, float], now: dict[str, float]) -> None:
    print(f"success of the new edit: {figures['success_before']:.1%} before, {figures['success_after']:.1%} after")
    print(f"{'':<12}{'before':>9}{'after':>9}")
    for kind, rate in old.items():
        print(f"{kind:<12}{rate:>9.1%}{now[kind]:>9.1%}")
    print(f"old edits lost: {figures['old_edits_lost']:.1%}; training took {figures['seconds_of_training']:.0f} s")


if __name__ == "__main__":
    main()
