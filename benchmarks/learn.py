"""Teach the editor what thinking found out, and measure how much of it one turn can do afterward, by the exact oracle.

    python benchmarks/learn.py --work FOLDER [--runs N] [--more-reasoning N] [--steps N] [--cases N] [--turn-tasks N] [--workers N] …

The built-in editor and thinker run on instructions in unusual words and on instructions that need reasoning. Trajectories To Pairs
makes pairs from the runs, with and without its filters; Train Edit LoRA teaches them to the editor while keeping its plain edits of the
same scenes: first to the text encoder, which learns to read the user's words like the thinker's prompts, then to the denoiser, with
additional reasoning runs. Then the editor edits held-out scenes in one turn and thinks about others again. With the same --work folder,
every stage resumes where it was interrupted.

Prints a table, then one JSON object; shares are 0…1. distilled_*: success of one turn afterward; before_*: of the original editor;
words_*: of the text encoder's LoRA alone; *_plain_lost: what plain edits lose; new_words_*: phrasings that no pair had. unfiltered_*:
of the LoRAs trained on unfiltered pairs; filter_gain: what the filter gains on unusual phrasings. turns_*, thinking_*: of runs of up to
five turns. cut_off: instructions that are longer than what the editor reads. readable_*: how often a linear readout of the text
encoder's output for an instruction, before training, tells the new color of a thing.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from train import other_instruction

from rethink.atomic import atomic_write
from rethink.builtin import EDITOR_FOLDER
from rethink.collect.pairs_job import RunPairRules, RunPairsJob
from rethink.editors.loading import load_editor
from rethink.loop_config import LoopConfig
from rethink.pairs.store import PairStore
from rethink.think_job import ThinkJob, resume_interrupted, start_run
from rethink.think_loop import ThinkTask
from rethink.thinkers.loading import ThinkerConfig, open_thinker
from rethink.tiny import judge, render, sample_task
from rethink.tiny.benchmark import evaluate
from rethink.tiny.tasks import Task
from rethink.tiny.think_benchmark import TOKENS, think_about
from rethink.training.edit_lora_job import TrainEditLoraJob
from rethink.training.lora_settings import LoraSettings
from rethink.training.recorded_runs import read_run

HARD = ("unusual", "reasoning")
LEVELS = ("unusual", "unusual", "reasoning")  # of the runs, in turn: there are many unusual words but few rules
MORE = 10**5  # the number of the first additional reasoning run, from which the denoiser learns too
LATER = 10**6  # the number of the first task run with thinking before and after
# The options on which the figures of a stage depend.
RUNNING = ("runs", "turns", "start")
WORDS = ("steps", "batch", "rank", "rate", "keep", "replay", "strength", "seed")
TRAINING = (*WORDS, "more_reasoning", "denoiser_steps", "denoiser_rate", "denoiser_strength")
MEASURING = ("cases", "turn_tasks")
UNFILTERED = RunPairRules(score=0.1, preservation=0, duplicates=-1)  # everything to which the thinker gave any points
RULES = {"filtered": RunPairRules(), "unfiltered": UNFILTERED}


def main() -> None:
    options = read_options()
    torch.manual_seed(0)
    warnings.filterwarnings(
        "ignore", "instruction:", UserWarning
    )  # some unusual ones are longer than what the editor reads
    with tempfile.TemporaryDirectory() as temporary:
        figures = measure(Distillation(options.work or Path(temporary), options))
    for name, value in figures.items():
        print(f"{name:<32}{value:.3f}" if isinstance(value, float) else f"{name:<32}{value}")
    print(json.dumps(figures))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder of all stages; default: a temporary one")
    parser.add_argument("--runs", type=int, default=1200, help="runs to learn from")
    parser.add_argument("--more-reasoning", type=int, default=1200, help="additional reasoning runs for the denoiser")
    parser.add_argument("--turns", type=int, default=3, help="maximum turns of these runs")
    parser.add_argument(
        "--start",
        default="polished",
        choices=("instruction", "polished"),
        help="their first prompt; polished is faster",
    )
    parser.add_argument("--steps", type=int, default=2500, help="steps of the text encoder's training")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--keep", default="high", choices=("off", "low", "default", "high"))
    parser.add_argument("--replay", type=int, default=1000, help="plain edits to keep")
    parser.add_argument("--strength", type=float, default=1.0, help="strength of its LoRA whenever it is measured")
    parser.add_argument("--denoiser-steps", type=int, default=2500, help="steps of the denoiser's training; 0: none")
    parser.add_argument("--denoiser-rate", type=float, default=1e-3)
    parser.add_argument("--denoiser-strength", type=float, default=0.75)
    parser.add_argument("--cases", type=int, default=400, help="edits judged per level")
    parser.add_argument("--turn-tasks", type=int, default=100, help="tasks run with thinking before and after")
    parser.add_argument("--seed", type=int, default=0, help="seed of the trainings")
    parser.add_argument(
        "--unfiltered",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also train on the unfiltered pairs; otherwise they are only counted and judged",
    )
    parser.add_argument("--workers", type=int, default=1, help="thinking processes")
    return parser.parse_args()


class Distillation:
    """All stages, each run once in the work folder."""

    def __init__(self, work: Path, options: argparse.Namespace):
        self.work, self.options = work, options

    @cached_property
    def editor(self):
        return load_editor(EDITOR_FOLDER)

    @cached_property
    def folders(self) -> list[Path]:
        """The finished runs, named by the numbers they were made from."""
        return self._think(range(self.options.runs))

    @cached_property
    def more_folders(self) -> list[Path]:
        """Additional runs, only of reasoning."""
        return self._think(range(MORE, MORE + self.options.more_reasoning))

    def _think(self, numbers: Iterable[int]) -> list[Path]:
        options, runs = self.options, self.work / f"runs-{self.options.start}-{self.options.turns}"
        folders = [runs / f"{number:06d}" for number in numbers]
        waiting = [folder for folder in folders if not has_ended(folder)]
        think = partial(think_over, turns=options.turns, start=options.start)
        parts = [waiting[part :: options.workers] for part in range(options.workers)]
        if waiting and options.workers > 1:
            with ProcessPoolExecutor(options.workers, get_context("spawn"), torch.set_num_threads, (1,)) as processes:
                list(processes.map(think, parts))
        elif waiting:
            think(waiting)
        return folders

    def pairs(self, name: str, more: bool = False) -> PairStore:
        """The pairs of the runs by one of RULES. more: also of the additional reasoning runs."""
        options = self.options
        folders = [*self.folders, *self.more_folders] if more else self.folders
        count = f"{options.runs}-{options.more_reasoning}" if more else options.runs
        return RunPairsJob(tuple(folders), self.work / f"pairs-{name}-{count}", RULES[name]).run().pairs

    def taught(self, name: str) -> Any:
        """The editor trained on such pairs: the LoRA of the text encoder, then one of the denoiser."""
        options, editor = self.options, self.taught_words(name)
        if not options.denoiser_steps:
            return editor
        settings = {"layers": "all", "steps": options.denoiser_steps, "learning_rate": options.denoiser_rate}
        pairs = self.pairs(name, more=True)
        return self.learned(f"{name}-denoiser", pairs, editor, options.denoiser_strength, rank=16, batch=16, **settings)

    def taught_words(self, name: str) -> Any:
        """The editor with a LoRA on its text encoder."""
        options = self.options
        settings = {"layers": "none", "text_encoder": True, "steps": options.steps, "learning_rate": options.rate}
        sizes = {"rank": options.rank, "batch": options.batch}
        return self.learned(name, self.pairs(name), self.editor, options.strength, **sizes, **settings)

    def learned(self, name: str, pairs: PairStore, editor: Any, strength: float, **settings: Any) -> Any:
        """The editor with a LoRA of this name, trained on these pairs."""
        options = self.options
        chosen = LoraSettings(
            **settings,
            accumulate=1,
            keep=options.keep,
            keep_instructions=plain_edits(pairs),
            replay=options.replay,
            save_every=max(1, settings["steps"] // 5),
            seed=options.seed,
        )
        job = TrainEditLoraJob(pairs, self.work / f"{name}.safetensors", self.work / "training", chosen)
        started = time.monotonic()
        report = job.run(editor, lambda progress: print(f"\r{progress.line:<110}", end="", flush=True))
        print(f"\n{name}: {time.monotonic() - started:.0f} s; {report}", flush=True)
        return editor.with_lora(report.output, strength)[0]

    def once(self, name: str, find: Callable[[], dict[str, float]], names: Sequence[str]) -> dict[str, float]:
        """The figures of a stage, measured once for the same values of these options."""
        key = {each: getattr(self.options, each) for each in names}
        file = self.work / "figures" / f"{name}.json"
        if file.is_file() and (known := json.loads(file.read_text(encoding="utf-8")))["options"] == key:
            return known["figures"]
        figures = find()
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as part:
            part.write_text(json.dumps({"options": key, "figures": figures}), encoding="utf-8")
        print(name, figures, flush=True)
        return figures


def measure(stages: Distillation) -> dict[str, Any]:
    """All figures of the JSON object."""
    options = stages.options
    figures: dict[str, Any] = {"bench": "learn", "runs": options.runs, "steps": options.steps, "seed": options.seed}
    before = stages.once("before", lambda: measure_editor(stages.editor, options), MEASURING)
    pairs = stages.once("pairs", lambda: measure_pairs(stages), RUNNING)
    words = stages.once(
        "words", lambda: measure_turn(stages.taught_words("filtered"), options.cases), (*RUNNING, *WORDS, *MEASURING)
    )
    everything = (*RUNNING, *TRAINING, *MEASURING)
    after = stages.once("filtered", lambda: measure_editor(stages.taught("filtered"), options), everything)
    figures |= {f"distilled_{level}": after[level] for level in HARD}
    figures["distilled_plain_lost"] = before["plain"] - after["plain"]
    figures |= {f"words_{level}": words[level] for level in HARD}
    figures["words_plain_lost"] = before["plain"] - words["plain"]
    for side, found in (("before", before), ("after", after)):
        figures |= {f"turns_{side}": found["turns"], f"thinking_{side}": found["thinking"]}
    figures |= {f"before_{name}": before[name] for name in (*HARD, "plain")}
    for level in HARD:
        figures[f"new_words_{level}"] = after[f"new {level}"]
        figures[f"before_new_words_{level}"] = before[f"new {level}"]
    if options.unfiltered:
        loose = stages.once("unfiltered", lambda: measure_turn(stages.taught("unfiltered"), options.cases), everything)
        figures |= {f"unfiltered_{level}": loose[level] for level in HARD}
        figures["unfiltered_plain_lost"] = before["plain"] - loose["plain"]
        figures["filter_gain"] = after["unusual"] - loose["unusual"]
    figures |= {f"readable_{level}": share_readable(level) for level in ("plain", "unusual")}
    return figures | pairs | {"cut_off": share_cut_off(options.cases)}


def has_ended(folder: Path) -> bool:
    return read_run(folder)[1] == ""


def task_of(folder: Path) -> Task:
    """The task of a run, on a scene that no test has."""
    number = int(folder.name)
    level = "reasoning" if number >= MORE else LEVELS[number % len(LEVELS)]
    return sample_task(number, level, split="train")


def think_over(folders: Sequence[Path], turns: int, start: Any) -> None:
    """Run the tasks of some runs."""
    editor, thinker = load_editor(EDITOR_FOLDER), open_thinker(ThinkerConfig(max_tokens=TOKENS))
    for done, folder in enumerate(folders):
        task, number = task_of(folder), int(folder.name)
        config = LoopConfig(turns=turns, start=start, seed=1000 * number)
        job = ThinkJob(ThinkTask(render([task.source]), task.instruction, thinker, config=config), editor)
        run = resume_interrupted([folder], job.task, job.options)
        if run is None:
            shutil.rmtree(folder, ignore_errors=True)  # left by an interrupted start
            run = start_run(folder, job.task, job.options)
        with run:
            job.run(run, lambda trajectory: None)
        print(f"\r{done + 1} of {len(folders)} runs", end="", flush=True)
    print()


def plain_edits(pairs: PairStore) -> tuple[tuple[str, str], ...]:
    """(source, instruction): another edit of what each pair shows, in plain words."""
    found = []
    for pair in pairs:
        scene = task_of(Path(pair.parameters["run"])).target
        if scene.things:  # otherwise there is little to ask for
            found.append((pair.source, other_instruction(Random(pair.id), scene)))
    return tuple(found)


def measure_pairs(stages: Distillation) -> dict[str, float]:
    """The number of pairs, and the share that the oracle calls right."""
    right: dict[str, bool] = {}
    for folder in stages.folders:
        run, _ = read_run(folder)
        if run is not None and run.best is not None:
            right[folder.name] = judge(run.image(run.steps[run.best]), task_of(folder)).success
    found: dict[str, float] = {}
    for name in RULES:
        pairs = [right[pair.parameters["run"]] for pair in stages.pairs(name)]
        found |= {f"pairs_{name}": len(pairs), f"pairs_right_{name}": statistics.fmean(pairs)}
    return found


def measure_editor(editor: Any, options: argparse.Namespace) -> dict[str, float]:
    """Everything measured about an editor."""
    tasks = {LATER + number: sample_task(LATER + number, HARD[number % 2]) for number in range(options.turn_tasks)}
    outcomes = list(think_about(editor, open_thinker(ThinkerConfig(max_tokens=TOKENS)), tasks))
    return {
        **measure_turn(editor, options.cases),
        **{f"new {level}": success(editor, sample(level, options.cases, "held_out")) for level in HARD},
        "turns": statistics.fmean(outcome.turns for outcome in outcomes),
        "thinking": statistics.fmean(outcome.thinking for outcome in outcomes),
    }


def measure_turn(editor: Any, cases: int) -> dict[str, float]:
    """The success of one turn by level."""
    return {level: success(editor, sample(level, cases)) for level in ("plain", *HARD)}


def sample(level: str, cases: int, wording: str = "known") -> list[Task]:
    return [sample_task(number, level, wording=wording) for number in range(cases)]


def success(editor: Any, tasks: Iterable[Task]) -> float:
    verdicts = evaluate(editor, list(tasks))
    return sum(verdict.success for verdict in verdicts) / len(verdicts)


def share_readable(level: str, tasks: int = 900) -> float:
    """The share of the last third of this many instructions that ask for another color whose color a ridge regression on the mean of
    the text encoder's states tells, fitted to the other instructions."""
    from transformers import CLIPTextModel

    tokenizer, encoder = open_tokenizer(), CLIPTextModel.from_pretrained(EDITOR_FOLDER / "text_encoder").float()
    found = [sample_task(number, level, kind="recolor") for number in range(tasks)]
    colors = [next(iter(set(task.target.things) - set(task.source.things))).color for task in found]
    classes = torch.eye(len(set(colors)))[[sorted(set(colors)).index(color) for color in colors]]
    longest = {"padding": "max_length", "max_length": tokenizer.model_max_length, "truncation": True}
    tokens = tokenizer([task.instruction for task in found], return_tensors="pt", **longest)
    with torch.no_grad():
        states, seen = encoder(tokens.input_ids).last_hidden_state, tokens.attention_mask[..., None]
    means = (states * seen).sum(1) / seen.sum(1)
    inputs = torch.cat([(means - means.mean(0)) / means.std(0), torch.ones(tasks, 1)], 1)
    known = slice(tasks * 2 // 3)
    penalty = 3 * torch.eye(inputs.shape[1])
    weights = torch.linalg.solve(inputs[known].T @ inputs[known] + penalty, inputs[known].T @ classes[known])
    right = (inputs @ weights).argmax(1) == classes.argmax(1)
    return right[known.stop :].float().mean().item()


def open_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(EDITOR_FOLDER / "tokenizer")


def share_cut_off(cases: int) -> float:
    """The share of unusual instructions that are cut off."""
    tokenizer = open_tokenizer()
    lengths = [len(tokenizer(task.instruction, verbose=False).input_ids) for task in sample("unusual", cases)]
    return statistics.fmean(length > tokenizer.model_max_length for length in lengths)


if __name__ == "__main__":
    main()
