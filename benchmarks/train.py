"""Teach the built-in editor a new edit by a LoRA, from pairs made by the inverse edit, and measure how well it learns and what the
edits it knew lose. Everything is judged by the exact oracle, on scenes and phrasings that training never saw.

    python benchmarks/train.py                     # takes hours; with --work FOLDER, an interrupted run resumes
    python benchmarks/train.py --parts speed       # any of: success, descriptions, curve, selection, speed

The task: a circle of noise completely hides a thing, and the instruction describes it.

success: the new edit before and after, and what the nine old ones lose. descriptions: the gain over the same pairs without
descriptions. curve: with fewer pairs, and without keeping other edits. selection: the chosen checkpoint against the best one by
the oracle, over several seeds. speed: against a loop that encodes images and text at every step, like the example scripts of
diffusers.
"""

import argparse
import hashlib
import json
import re
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from train_speed import compare_speed

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
from rethink.tiny.scene import CELL, RADIUS, SIZE, Scene, render
from rethink.tiny.tasks import KINDS, Task, other_task, sample_task
from rethink.training.edit_lora_job import TrainEditLoraJob
from rethink.training.lora_settings import LoraSettings

PARTS = ("success", "descriptions", "curve", "selection", "speed")
MARGIN = 3  # pixels of the circle around the thing, as for the black square
# Short, because the built-in editor reads 30 tokens, and in words that it knows: it has to learn only what noise is.
TEMPLATES = (
    "Remove the noise.",
    "Take the noise away.",
    "Erase the noise.",
    "Get the noise out.",
    "Take away the noise.",
    "Make the noise disappear.",
)
HELD_OUT_TEMPLATES = ("Get rid of the noise.", "Delete the noise.", "Take the noise out.")
CURVE = (50, 150)  # numbers of pairs, besides all of them
HIDDEN_EVERY = 4  # one scene in this many has a black square, so that removing it is among the edits to keep


@dataclass(frozen=True)
class Exercise:
    """An edit to judge: image, instruction, and the oracle's task."""

    image: torch.Tensor
    task: Task


def main() -> None:
    options = read_options()
    torch.manual_seed(0)
    figures: dict = {"bench": "train", "pairs": options.pairs, "steps": options.steps, "strength": options.strength}
    with tempfile.TemporaryDirectory() as temporary:
        school = School(options.work or Path(temporary), options)
        if "success" in options.parts:
            figures |= measure_success(school)
        if "descriptions" in options.parts:
            with_them, without = (school.lesson(describe=describe).success for describe in (True, False))
            figures["success_without_descriptions"] = without
            figures["description_gain"] = with_them - without
        if "curve" in options.parts:
            figures["curve"] = measure_curve(school)
        if "selection" in options.parts:
            lessons = [school.lesson(seed=seed) for seed in range(options.seeds)]
            figures["checkpoint_regrets"] = [lesson.regret for lesson in lessons]
            figures["checkpoint_regret"] = statistics.fmean(lesson.regret for lesson in lessons)
        if "speed" in options.parts:
            pairs = make_pairs(
                school.folder / "train" / str(options.pairs), "train", options.pairs, TEMPLATES, describe=True
            )
            figures |= compare_speed(pairs, school.settings(keep="off"), school.folder / "speed", options.speed_steps)
    print_table(figures)
    print(json.dumps(figures))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for pairs and runs; an interrupted run resumes")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--cases", type=int, default=200, help="edits to judge, of the new kind and of every old one")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--layers", default="all", choices=("family", "all"))
    parser.add_argument("--saves", type=int, default=5, help="checkpoints to measure during training")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--keep", default="high", choices=("off", "low", "default", "high"))
    parser.add_argument("--strength", type=float, default=0.9, help="strength of the LoRA whenever it is measured")
    parser.add_argument("--replay", type=int, default=500, help="images on which the old edits are kept")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the part selection")
    parser.add_argument("--speed-steps", type=int, default=20, help="steps of the part speed, for each side")
    return parser.parse_args()


@dataclass(frozen=True)
class Lesson:
    """The result of one training. by_save: the success of every checkpoint. chosen: the LoRA that was chosen."""

    by_save: dict[int, float]
    best: int
    chosen: Path
    seconds: float

    @property
    def success(self) -> float:
        return self.by_save[self.best]

    @property
    def regret(self) -> float:
        """How much better the best checkpoint by the oracle is than the chosen one."""
        return max(self.by_save.values()) - self.success


class School:
    """The editor, its exercises, and the lessons it has had."""

    def __init__(self, folder: Path, options: argparse.Namespace):
        self.folder, self.options = folder, options
        self.editor = load_editor(EDITOR_FOLDER)
        self._exercises: dict[bool, list[Exercise]] = {}
        self._lessons: dict[tuple, Lesson] = {}

    def exercises(self, describe: bool) -> list[Exercise]:
        """The pairs, with or without descriptions in their instructions; made once."""
        if describe not in self._exercises:
            folder = self.folder / ("test" if describe else "test-plain")
            self._exercises[describe] = make_exercises(folder, self.options.cases, describe)
        return self._exercises[describe]

    def load(self, lora: Path):
        """The editor with a LoRA."""
        return self.editor.with_lora(lora, self.options.strength)[0]

    def settings(self, **changes) -> LoraSettings:
        options = self.options
        chosen = LoraSettings(
            steps=options.steps,
            rank=options.rank,
            layers=options.layers,
            learning_rate=options.rate,
            batch=options.batch,
            accumulate=1,
            keep=options.keep,
            keep_instructions=other_instructions(options.pairs, options.replay),
            replay=options.replay,
            save_every=max(1, options.steps // options.saves),
        )
        return replace(chosen, **changes)

    def lesson(self, pairs: int = 0, describe: bool = True, **changes) -> Lesson:
        """Train on this many pairs (0: all) with these changes to the settings, and judge every checkpoint; once each."""
        key = (pairs or self.options.pairs, describe, self.settings(**changes))
        if key not in self._lessons:
            told = repr((key, self.options.cases, self.options.strength))
            record = self.folder / "lessons" / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.json"
            if not record.exists():
                write_lesson(record, self._train(*key))
            self._lessons[key] = read_lesson(record)
        return self._lessons[key]

    def _train(self, count: int, describe: bool, settings: LoraSettings) -> Lesson:
        folder = self.folder / ("train" if describe else "train-plain")
        pairs = make_pairs(folder / str(count), "train", count, TEMPLATES, describe)
        job = TrainEditLoraJob(
            pairs, self.folder / f"noise-{count}-{settings.seed}.safetensors", self.folder / "runs", settings
        )
        started = time.monotonic()
        report = job.run(self.editor, lambda progress: print(f"\r{progress.line:<110}", end="", flush=True))
        seconds = time.monotonic() - started
        print()
        exercises = self.exercises(describe)
        saves = {save.step: report.folder / save.file for save in report.record.saves}
        by_save = {step: success(self.load(file), exercises) for step, file in saves.items()}
        told = f"{count} pairs, described: {describe}, keep {settings.keep}, seed {settings.seed}"
        print(told, {step: f"{rate:.1%}" for step, rate in by_save.items()}, f"{seconds:.0f} s", flush=True)
        return Lesson(by_save, report.record.best, saves[report.record.best], seconds)


def write_lesson(record: Path, lesson: Lesson) -> None:
    """Store a lesson, so that an interrupted run judges nothing twice and knows how long the training took."""
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps({**asdict(lesson), "chosen": str(lesson.chosen)}), encoding="utf-8")


def read_lesson(record: Path) -> Lesson:
    values = json.loads(record.read_text(encoding="utf-8"))
    by_save = {int(step): rate for step, rate in values["by_save"].items()}
    return Lesson(by_save, values["best"], Path(values["chosen"]), values["seconds"])


def measure_success(school: School) -> dict:
    """The new edit and the nine old ones, before and after."""
    cases = school.options.cases
    before, old = success(school.editor, school.exercises(True)), old_edits(school.editor, cases)
    lesson = school.lesson()
    now = old_edits(school.load(lesson.chosen), cases)
    return {
        "lora_success_before": before,
        "lora_success_after": lesson.success,
        "old_edits_lost": statistics.fmean(old[kind] - now[kind] for kind in KINDS),
        "seconds_of_training": round(lesson.seconds, 1),
        "success_by_save": lesson.by_save,
        "old_before": old,
        "old_after": now,
    }


def measure_curve(school: School) -> dict:
    """{pairs, keep: success of the new edit and loss of the old ones}."""
    old = old_edits(school.editor, school.options.cases)
    curve = {}
    for pairs in (*CURVE, school.options.pairs):
        for keep in ("off", school.options.keep):
            lesson = school.lesson(pairs, keep=keep)
            now = old_edits(school.load(lesson.chosen), school.options.cases)
            lost = statistics.fmean(old[kind] - now[kind] for kind in KINDS)
            curve[f"{pairs}, keep {keep}"] = {"success": lesson.success, "old_edits_lost": lost}
    return curve


def make_pairs(folder: Path, split: str, count: int, templates: tuple[str, ...], describe: bool) -> PairStore:
    """A store of this many pairs, made by the pack's own synthesis from images of scenes with one named box each."""
    images = folder / "scenes"
    images.mkdir(parents=True, exist_ok=True)
    scenes = sample_scenes(split, count)
    boxes = {}
    for number, (scene, cell) in enumerate(scenes):
        save_image(render([scene]), images / f"{number:05d}.png")
        boxes[f"{number:05d}.png"] = (box_of(scene, cell, describe),)
    config = SynthesisConfig(("cover",), {"cover": {"shape": ["ellipse"], "fill": ["noise"]}})
    job = SynthesisJob(ImageFolder(images, boxes=boxes), folder / "pairs", config, templates={"cover": templates})
    job.run()
    return PairStore.open_existing(folder / "pairs")


def sample_scenes(split: str, count: int) -> list[tuple[Scene, int]]:
    """Scenes of a split, and the cell of one thing in each; in some, a black square hides another thing."""
    tasks = (sample_task(seed, split=split, kind="uncover") for seed in range(count))
    scenes = [(task.target, hidden_cell(task)) for task in tasks]
    return [
        (hide_another(scene, cell) if number % HIDDEN_EVERY == 0 else scene, cell)
        for number, (scene, cell) in enumerate(scenes)
    ]


def hide_another(scene: Scene, cell: int) -> Scene:
    other = next((thing for thing in scene.things if thing.cell != cell), None)
    return scene.with_thing(other.cell, replace(other, covered=True)) if other else scene


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
    return NamedBox(box, "", f"Behind it is a {thing.name}." if describe else "")


def make_exercises(folder: Path, count: int, describe: bool) -> list[Exercise]:
    """Held-out scenes under noise, with held-out phrasings."""
    pairs = make_pairs(folder, "test", count, HELD_OUT_TEMPLATES, describe)
    by_source = {pair.source: pair for pair in pairs}
    exercises = []
    for number, (scene, cell) in enumerate(sample_scenes("test", count)):
        pair = by_source[f"{number:05d}.png"]
        covered = scene.with_thing(cell, replace(scene.at(cell), covered=True))  # only that cell may change
        task = Task(covered, pair.instruction, (scene,), "uncover", "plain")
        exercises.append(Exercise(load_image(pairs.file(pair.input)), task))
    return exercises


def success(editor, exercises: list[Exercise]) -> float:
    """The share of the exercises that were done with the rest kept."""
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


def other_instructions(pairs: int, count: int) -> tuple[tuple[str, str], ...]:
    """(source, instruction): other edits of the scenes of the pairs, of all nine old kinds."""
    rng, scenes = Random(0), sample_scenes("train", pairs)
    found = []
    for number in range(count):
        scene = scenes[number % pairs][0]
        found.append((f"{number % pairs:05d}.png", other_instruction(rng, scene)))
    return tuple(found)


def other_instruction(rng: Random, scene: Scene) -> str:
    """An edit of a scene in any of the everyday phrasings; if a black square hides a thing, its removal."""
    hidden = next((thing for thing in scene.things if thing.covered), None)
    if hidden:
        color, shape = hidden.look
        return rng.choice(WORDINGS["uncover"]).format(new=f"a {color} {shape}")
    task = other_task(rng, Task(scene, "", (scene,), "", "plain"))
    assert task is not None, "nothing is hidden"
    return with_other_words(rng, task)


def with_other_words(rng: Random, task: Task) -> str:
    """The instruction of a task in any of the everyday phrasings."""
    patterns = {"x": "(?P<x>.+)", "new": "(?P<new>.+?)", "place": r"(?P<place>\w+ \w+)", "at": "(?P<at> at the .+)?"}
    pattern = re.sub(r"{(\w+)}", lambda name: patterns.get(name[1], rf"(?P<{name[1]}>\w+)"), task.wording)
    match = re.fullmatch(pattern, task.instruction)
    assert match is not None, "the instruction was made of the wording"
    return rng.choice(WORDINGS[task.kind]).format(**match.groupdict(""))


def print_table(figures: dict) -> None:
    """Print the figures, one per line, and the old edits side by side."""
    old, now = figures.get("old_before", {}), figures.get("old_after", {})
    if old:
        print(f"{'':<14}{'before':>9}{'after':>9}")
    for kind, rate in old.items():
        print(f"{kind:<14}{rate:>9.1%}{now[kind]:>9.1%}")
    for name, value in figures.items():
        if isinstance(value, float):
            print(f"{name:<32}{value:.3f}")


if __name__ == "__main__":
    main()
