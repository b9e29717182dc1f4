"""What focus brings: later turns held to true boxes against free ones, by the exact oracle of the built-in world.

The thinker knows the answer and points at the true places; the editor is the built-in one. Turns from the second on are compared, and
the results of whole runs.

    python benchmarks/focus.py --tasks 42
"""

import argparse
import json
import statistics
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rethink.builtin import EDITOR_FOLDER
from rethink.editors.loading import load_editor
from rethink.loop_config import LoopConfig
from rethink.steps import best_of
from rethink.think_loop import ThinkTask, think_while_edit
from rethink.thinkers.critique import Thinker
from rethink.thinkers.critique_format import format_critique
from rethink.tiny import LEVELS, judge, render, sample_task
from rethink.tiny.oracle import observe
from rethink.tiny.scene import PLACES
from rethink.tiny.teacher import changed_parts, criticize, wrong_parts

TURNS = 3


class Pointing:
    """A Chat that knows the task, and where everything is."""

    name, placement = "pointing teacher", "elsewhere"

    def __init__(self, task):
        self.task = task

    def chat(self, messages, images, **_):
        prompt = messages[0]["content"][4]["text"].rstrip("\n").rsplit(": ", 1)[-1]
        seen = observe(images[-1], self.task)
        wrong, changed = wrong_parts(seen, self.task)
        parts = {"place": changed_parts(self.task, seen.answer), "wrong": wrong, "changed": changed}
        boxes = [{"bbox_2d": box_of(part), "kind": kind} for kind, found in parts.items() for part in found]
        return f"{format_critique(criticize(self.task, seen, prompt))}\n<boxes>{json.dumps(boxes)}</boxes>"


def box_of(part):
    """The box of a place, or of the background, in thousandths."""
    if part == "background":
        return [0, 0, 1000, 1000]
    row, column = divmod(PLACES.index(part), 2)
    return [500 * column, 500 * row, 500 * column + 500, 500 * row + 500]


@dataclass(frozen=True)
class Turn:
    """kept: all else was left alone. disturbed: places that changed unasked. psnr: dB outside the edit. success: of the edit."""

    kept: bool
    disturbed: int
    psnr: float
    success: bool


def run(editor, task, seed, focus):
    """([Turn] from the second on, success of the result, turns) of a run."""
    config = LoopConfig(turns=TURNS, seed=seed, focus=focus)
    steps, turns = [], []
    for step in think_while_edit(
        editor, ThinkTask(render([task.source]), task.instruction, Thinker(Pointing(task)), config=config)
    ):
        seen, truth = observe(step.image, task), judge(step.image, task)
        turns.append(Turn(truth.kept, len(wrong_parts(seen, task)[1]), seen.psnr_outside, truth.success))
        steps.append(step)
    return turns[1:], turns[best_of(steps)].success, len(turns)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=42)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "instruction:", UserWarning)  # unusual ones are longer than the editor reads
    editor = load_editor(EDITOR_FOLDER)
    arms = {True: [], False: []}
    number = done = 0
    while done < options.tasks:  # those whose edit has a place: where the background changes, all is the place
        task = sample_task(number, LEVELS[number % len(LEVELS)], wording="held_out")
        number += 1
        if "background" in changed_parts(task):
            continue
        done += 1
        for focus in arms:
            arms[focus].append(run(editor, task, 1000 * number, focus))
    figures = {}
    print(
        f"{'':<12}{'later turns':>12}{'not kept':>10}{'disturbed':>11}{'dB outside':>12}{'success':>9}{'runs':>7}{'turns':>7}"
    )
    for focus, rows in arms.items():
        later = [turn for turns, *_ in rows for turn in turns]
        name = "focus" if focus else "free"
        figures[name] = row = {
            "later_turns": len(later),
            "not_kept": statistics.mean(not turn.kept for turn in later),
            "disturbed": statistics.mean(turn.disturbed for turn in later),
            "psnr_outside": statistics.mean(turn.psnr for turn in later),
            "success_later": statistics.mean(turn.success for turn in later),
            "success_of_runs": statistics.mean(success for _, success, _ in rows),
            "turns": statistics.mean(turns for *_, turns in rows),
        }
        print(
            f"{name:<12}{row['later_turns']:>12}{row['not_kept']:>10.1%}{row['disturbed']:>11.3f}{row['psnr_outside']:>12.1f}"
            f"{row['success_later']:>9.1%}{row['success_of_runs']:>7.1%}{row['turns']:>7.2f}"
        )
    print(json.dumps({"bench": "focus", "tasks": options.tasks, **figures}))


if __name__ == "__main__":
    main()
