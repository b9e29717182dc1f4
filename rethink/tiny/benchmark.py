"""Scores the built-in editor with the exact oracle: `python -m rethink bench tiny`."""

from __future__ import annotations

import json
import warnings

from ..builtin import EDITOR_FOLDER
from ..editors.loading import load_editor
from ..editors.settings import DEFAULT_SETTINGS, Settings
from .oracle import Verdict, judge
from .phrasings import HELD_OUT_WORDINGS
from .scene import render
from .tasks import KINDS, LEVELS, Task, sample_task

BATCH = 25
OPEN_SETTINGS = (DEFAULT_SETTINGS, Settings(steps=16, sampler="euler_ancestral"))


def run(cases: int, report=print) -> int:
    """Print a table of success rates (edit done and all else kept), and its figures as JSON on the last line."""
    warnings.filterwarnings("ignore", "instruction:", UserWarning)  # unusual ones are longer than the editor reads
    editor, figures = load_editor(EDITOR_FOLDER), {}
    report(f"{'':<22}{'success':>9}{'done':>9}{'kept':>9}{'PSNR outside':>14}")
    for name, options in rows():
        tasks = [sample_task(seed, **options) for seed in range(cases)]
        figures[name] = summarize(evaluate(editor, tasks))
        success, done, kept, psnr = figures[name].values()
        report(f"{name:<22}{success:>9.1%}{done:>9.1%}{kept:>9.1%}{psnr:>11.1f} dB")
    figures["wordings"] = success_by_wording(editor, cases // 2, report)
    report("Different correct answers from 8 seeds, if the instruction leaves the place or the color open:")
    figures["seeds_differ"] = {}
    for settings in OPEN_SETTINGS:
        name = f"{settings.sampler}, {settings.steps or editor.defaults.steps} steps"
        figures["seeds_differ"][name] = different_answers(editor, settings, cases // 8)
        report(f"{name:<22}{figures['seeds_differ'][name]:>9.2f}")
    report(json.dumps({"bench": "tiny", "cases": cases, "rows": figures}))
    return 0


def rows() -> list[tuple[str, dict]]:
    levels = [(level, {"level": level}) for level in LEVELS]
    held_out = [("held-out wordings", {"wording": "held_out"}), ("held-out combinations", {"looks": "held_out"})]
    return levels + held_out + [(kind, {"kind": kind}) for kind in KINDS]


def success_by_wording(editor, cases: int, report) -> dict[str, float]:
    """The success rate of every held-out wording, from `cases` tasks for each kind of edit."""
    rates = {}
    for kind in KINDS:
        tasks = [sample_task(seed, kind=kind, wording="held_out") for seed in range(cases)]
        verdicts = evaluate(editor, tasks)
        for wording in HELD_OUT_WORDINGS[kind]:
            successes = [v.success for v, task in zip(verdicts, tasks) if task.wording == wording]
            rates[wording] = sum(successes) / max(1, len(successes))
            report(f"{wording:<50}{rates[wording]:>9.1%} of {len(successes)}")
    return rates


def evaluate(editor, tasks: list[Task], settings: Settings = DEFAULT_SETTINGS) -> list[Verdict]:
    verdicts = []
    for start in range(0, len(tasks), BATCH):
        part = tasks[start : start + BATCH]
        sources = render([task.source for task in part])
        seeds = list(range(start, start + len(part)))
        images = editor.edit(editor.prepare(sources), [task.instruction for task in part], seeds, settings)
        verdicts += [judge(image[None], task) for image, task in zip(images, part)]
    return verdicts


def summarize(verdicts: list[Verdict]) -> dict[str, float]:
    finite = sorted(v.psnr_outside for v in verdicts)
    return {
        "success": sum(v.success for v in verdicts) / len(verdicts),
        "done": sum(v.done for v in verdicts) / len(verdicts),
        "kept": sum(v.kept for v in verdicts) / len(verdicts),
        "psnr_outside": finite[len(finite) // 2],
    }


def different_answers(editor, settings: Settings, cases: int, seeds: int = 8) -> float:
    """How many different correct answers eight seeds give on average, if an instruction allows at least three."""
    counts, seed = [], 0
    while len(counts) < cases:
        task, seed = sample_task(seed, kind="add"), seed + 1
        if len(task.accepted) < 3:
            continue
        prepared = editor.prepare(render([task.source]))
        images = editor.edit(prepared, [task.instruction] * seeds, list(range(seeds)), settings)
        verdicts = [judge(image[None], task) for image in images]
        counts.append(len({v.answer for v in verdicts if v.success}))
    return sum(counts) / max(1, len(counts))
