"""Measure how well the built-in thinker points and what focus gains, by the exact oracle of the built-in world.

    python benchmarks/focus.py [--tasks N] [--lessons N] [--thinker FOLDER]

First, on held-out drawn edits: how many parts (wrong parts, parts changed without being asked, and the place of the edit) have a box
of their kind on them (intersection over union of at least 0.5), and how many boxes are on such a part. Then, later turns of the
built-in editor limited to boxes against free ones, and the results of whole runs, both with a thinker that knows the answer and points
at the true places and with the built-in thinker. The last line is JSON.
"""

import argparse
import json
import statistics
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rethink.builtin import EDITOR_FOLDER, THINKER_FOLDER
from rethink.editors.loading import load_editor
from rethink.loop_config import LoopConfig
from rethink.steps import best_of
from rethink.think_loop import ThinkTask, think_while_edit
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import Thinker, critique
from rethink.thinkers.critique_format import format_critique
from rethink.thinkers.loading import BUILT_IN
from rethink.thinkers.regions import parse_regions, split_boxes
from rethink.tiny import LEVELS, judge, render, sample_task
from rethink.tiny.oracle import observe
from rethink.tiny.scene import SIZE
from rethink.tiny.teacher import changed_parts, criticize, draw_example, write_regions, wrong_parts

TURNS = 3
TOKENS = 260  # maximum of an answer with boxes
LESSONS = 50_000  # the number of the first drawn edit
ENOUGH = 0.5  # intersection over union


class Pointing:
    """A Chat that knows the task, and where everything is."""

    name, placement = "pointing teacher", "elsewhere"

    def __init__(self, task):
        self.task = task

    def chat(self, messages, images, **_):
        prompt = messages[0]["content"][4]["text"].rstrip("\n").rsplit(": ", 1)[-1]
        seen = observe(images[-1], self.task)
        return format_critique(criticize(self.task, seen, prompt)) + write_regions(self.task, seen)


def overlap(one, other):
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (one, other)]
    return shared / (sum(areas) - shared)


def hits(regions, others):
    """How many of the regions are covered by one of the others of the same kind."""
    return sum(
        any(region.kind == other.kind and overlap(region.box, other.box) >= ENOUGH for other in others)
        for region in regions
    )


def measure_aim(thinker, lessons):
    """By kind: {"parts": how many there are, "found": their share with a box, "boxes": how many, "right": their share on one}."""
    counts = Counter()
    for number in range(LESSONS, LESSONS + lessons):
        example = draw_example(number, split="test")
        asked = example.source, [example.edited], example.task.instruction, [example.prompt], [number]
        said = critique(thinker, *asked, regions=True)[0].regions
        _, block = split_boxes(write_regions(example.task, example.observation))
        true = parse_regions(block, (SIZE, SIZE))
        for kind in ("wrong", "changed", "place"):
            ours, truth = ([region for region in regions if region.kind == kind] for regions in (said, true))
            counts += Counter({(kind, "parts"): len(truth), (kind, "found"): hits(truth, ours)})
            counts += Counter({(kind, "boxes"): len(ours), (kind, "right"): hits(ours, truth)})
    return {
        kind: {
            "parts": counts[kind, "parts"],
            "found": counts[kind, "found"] / max(1, counts[kind, "parts"]),
            "boxes": counts[kind, "boxes"],
            "right": counts[kind, "right"] / max(1, counts[kind, "boxes"]),
        }
        for kind in ("wrong", "changed", "place")
    }


@dataclass(frozen=True)
class Turn:
    """A later turn. kept: the rest was kept. disturbed: places changed without being asked. psnr: dB outside the edit. success: of the edit."""

    kept: bool
    disturbed: int
    psnr: float
    success: bool


def run(editor, thinker, task, seed, focus):
    """([Turn] from the second on, success of the result, turns) of a run."""
    config = LoopConfig(turns=TURNS, seed=seed, focus=focus)
    steps, turns = [], []
    for step in think_while_edit(editor, ThinkTask(render([task.source]), task.instruction, thinker, config=config)):
        seen, truth = observe(step.image, task), judge(step.image, task)
        turns.append(Turn(truth.kept, len(wrong_parts(seen, task)[1]), seen.psnr_outside, truth.success))
        steps.append(step)
    return turns[1:], turns[best_of(steps)].success, len(turns)


def compare(editor, tasks, thinker=None):
    """Rows of figures, "focus" and "free". thinker: None for the thinker that knows the answer."""
    figures = {}
    for name in ("free", "focus"):
        rows = [
            run(editor, thinker or Thinker(Pointing(task)), task, 1000 * number, name == "focus")
            for number, task in tasks.items()
        ]
        later = [turn for turns, *_ in rows for turn in turns]
        figures[name] = {
            "later_turns": len(later),
            "not_kept": statistics.mean(not turn.kept for turn in later),
            "disturbed": statistics.mean(turn.disturbed for turn in later),
            "psnr_outside": statistics.mean(turn.psnr for turn in later),
            "success_later": statistics.mean(turn.success for turn in later),
            "success_of_runs": statistics.mean(success for _, success, _ in rows),
            "turns": statistics.mean(turns for *_, turns in rows),
        }
    return figures


def draw_tasks(count):
    """{number: held-out task} whose edit has a place; for a new background, the place would be everything."""
    tasks, number = {}, 0
    while len(tasks) < count:
        task = sample_task(number, LEVELS[number % len(LEVELS)], wording="held_out")
        if "background" not in changed_parts(task):
            tasks[number] = task
        number += 1
    return tasks


def report(aim, compared):
    print(f"{'built-in':<12}{'parts':>8}{'found':>8}{'boxes':>8}{'right':>8}")
    for kind, row in aim.items():
        print(f"{kind:<12}{row['parts']:>8}{row['found']:>8.1%}{row['boxes']:>8}{row['right']:>8.1%}")
    print(
        f"\n{'':<18}{'later turns':>12}{'not kept':>10}{'disturbed':>11}{'dB outside':>12}{'success':>9}{'runs':>7}{'turns':>7}"
    )
    for thinker, figures in compared.items():
        for name, row in figures.items():
            print(
                f"{thinker + ', ' + name:<18}{row['later_turns']:>12}{row['not_kept']:>10.1%}{row['disturbed']:>11.3f}"
                f"{row['psnr_outside']:>12.1f}{row['success_later']:>9.1%}{row['success_of_runs']:>7.1%}{row['turns']:>7.2f}"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=42)
    parser.add_argument("--lessons", type=int, default=200)
    parser.add_argument("--thinker", type=Path, default=THINKER_FOLDER)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "instruction:", UserWarning)  # unusual ones are longer than what the editor reads
    chat = load_thinker(options.thinker)
    chat.name = BUILT_IN  # as in a run: the built-in thinker is asked for boxes
    built_in = Thinker(chat, max_tokens=TOKENS)
    aim = measure_aim(built_in, options.lessons)
    editor, tasks = load_editor(EDITOR_FOLDER), draw_tasks(options.tasks)
    compared = {"truth": compare(editor, tasks), "built-in": compare(editor, tasks, built_in)}
    report(aim, compared)
    print(json.dumps({"bench": "focus", "tasks": options.tasks, "lessons": options.lessons, "aim": aim, **compared}))


if __name__ == "__main__":
    main()
