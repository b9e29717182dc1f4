"""Compares thinking with a single edit, using the exact oracle: `python -m rethink bench tiny --think`."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING

import torch

from ..builtin import EDITOR_FOLDER
from ..editors.loading import load_editor
from ..evaluation.statistics import paired_difference
from ..steps import best_of
from ..think_loop import LoopConfig, ThinkTask, think_while_edit
from ..thinkers.critique import Thinker
from ..thinkers.loading import ThinkerConfig, open_thinker
from .english import GROUPS
from .oracle import judge
from .scene import render
from .tasks import LEVELS, WIDE, Task, sample_task

if TYPE_CHECKING:
    from ..editors.protocol import Editor

# The tasks' (level, wording), in turn.
COURSES = (*((level, "held_out") for level in LEVELS), *((WIDE, group) for group in GROUPS))
TURNS = 5
TOKENS = 200  # of an answer of the built-in thinker
MOST_PROCESSES, FEWEST_EACH = 4, 20  # that share the tasks, and the tasks that make starting one worthwhile


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task: of its first edit, and of the best of all turns in the thinker's judgment."""

    task: Task
    alone: bool
    thinking: bool
    turns: int

    @property
    def harmed(self) -> bool:
        """Whether the first edit was right, but the winner is not."""
        return self.alone and not self.thinking


def run(cases: int, report: Callable[[str], None] = print) -> int:
    """Print success by level and kind of edit, and its figures as JSON on the last line; return the exit status."""
    shares = min(os.cpu_count() or 1, MOST_PROCESSES, -(-cases // FEWEST_EACH))
    parts = [range(number, cases, shares) for number in range(shares)]
    if shares > 1:
        with ProcessPoolExecutor(shares, get_context("spawn"), torch.set_num_threads, (1,)) as processes:
            found = list(processes.map(measure, parts))
    else:
        found = [measure(part) for part in parts]
    outcomes = [outcome for part in found for outcome in part]
    figures = {}
    report(f"{'':<14}{'tasks':>6}{'one edit':>10}{'thinking':>10}{'harm':>7}{'turns':>7}  difference")
    for name, members in _groups(outcomes).items():
        figures[name] = summarize(members)
        row = figures[name]
        report(
            f"{name:<14}{row['tasks']:>6}{row['one_edit']:>10.1%}{row['thinking']:>10.1%}{row['harm']:>7.1%}{row['turns']:>7.1f}"
            f"  {row['words']}"
        )
    report(json.dumps({"bench": "tiny", "thinking": True, "cases": cases, "rows": figures}))
    return 0


def measure(numbers: Sequence[int]) -> list[Outcome]:
    """The outcomes of the built-in models on the tasks with these numbers."""
    warnings.filterwarnings("ignore", "instruction:", UserWarning)  # unusual ones are longer than the editor reads
    editor, thinker = load_editor(EDITOR_FOLDER), open_thinker(ThinkerConfig(max_tokens=TOKENS))
    return list(think_about(editor, thinker, {number: held_out_task(number) for number in numbers}))


def held_out_task(number: int) -> Task:
    """The task with this number, from every course in turn."""
    level, wording = COURSES[number % len(COURSES)]
    return sample_task(number, level, wording=wording)


def think_about(editor: Editor, thinker: Thinker, tasks: Mapping[int, Task]) -> Iterator[Outcome]:
    """The outcome of every task. tasks: by number, which determines the seeds of its edits."""
    for number, task in tasks.items():
        config = LoopConfig(turns=TURNS, seed=1000 * number)
        loop = think_while_edit(editor, ThinkTask(render([task.source]), task.instruction, thinker, config=config))
        steps, successes = [], []
        for step in loop:
            successes.append(step.image is not None and judge(step.image, task).success)
            steps.append(replace(step, image=None))
        yield Outcome(task, successes[0], successes[best_of(steps)], len(steps))


def _groups(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    kinds = sorted({outcome.task.kind for outcome in outcomes})
    groups = {"all": list(outcomes)}
    groups |= {level: [outcome for outcome in outcomes if outcome.task.level == level] for level in (*LEVELS, WIDE)}
    groups |= {f"wide, {group}": [outcome for outcome in outcomes if outcome.task.wording == group] for group in GROUPS}
    groups |= {kind: [outcome for outcome in outcomes if outcome.task.kind == kind] for kind in kinds}
    return {name: members for name, members in groups.items() if members}


def summarize(outcomes: Sequence[Outcome]) -> dict[str, float | int | str]:
    """Success of both, whether they differ, and the share of tasks that thinking harmed. Needs at least one outcome."""
    alone, thinking = (
        {str(n): float(getattr(o, name)) for n, o in enumerate(outcomes)} for name in ("alone", "thinking")
    )
    difference = paired_difference(thinking, alone)
    assert difference is not None
    return {
        "tasks": len(outcomes),
        "one_edit": sum(alone.values()) / len(alone),
        "thinking": sum(thinking.values()) / len(thinking),
        "harm": sum(outcome.harmed for outcome in outcomes) / len(outcomes),
        "turns": sum(outcome.turns for outcome in outcomes) / len(outcomes),
        "verdict": difference.verdict,
        "words": f"{difference.verdict}: {difference.words}",
    }
