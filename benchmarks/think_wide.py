"""Measure thinking in wide English by the exact oracle: sentences of rules that the thinker never saw, and handwritten sentences.

    python benchmarks/think_wide.py [--tasks N] [--groups NAME …] [--workers N] [--editor FOLDER] [--thinker FOLDER]

N tasks on held-out scenes for each group: new constructions of known words; unseen words; other verbs in polite, wordy,
mistyped requests. Prints for each how often the first edit was right, and the winner of up to five turns; how often thinking
did harm; and how often the polished instruction is a plain one that means what was asked; then one JSON object.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import warnings
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from handwritten import BY_OTHERS, HANDWRITTEN

from rethink.builtin import EDITOR_FOLDER, THINKER_FOLDER
from rethink.editors.loading import load_editor
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import Thinker, polish_instruction
from rethink.tiny import render, sample_task
from rethink.tiny.english import GROUPS
from rethink.tiny.tasks import KINDS, WIDE
from rethink.tiny.teacher import plain_requests, plain_words
from rethink.tiny.think_benchmark import TOKENS, think_about

BY_HAND = {f"{group}, by hand": sentences for group, sentences in HANDWRITTEN.items()}
BY_HAND |= {f"{group}, by others": sentences for group, sentences in BY_OTHERS.items()}
ALL = (*GROUPS, *BY_HAND)
COLUMNS = {"alone": "one edit", "thinking": "thinking", "harmed": "harm", "prompt": "prompts right"}


def measure(arguments):
    """One worker's rows: {"group", "alone", "thinking", "harmed", "prompt", "turns"} of every task."""
    options, part = arguments
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "instruction:", UserWarning)  # many are longer than what the editor reads
    editor, thinker = load_editor(options.editor), Thinker(load_thinker(options.thinker), max_tokens=TOKENS)
    return [
        measure_task(editor, thinker, group, number)
        for number in range(part, options.tasks, options.workers)
        for group in options.groups
    ]


def draw_task(group, number):
    if group not in BY_HAND:
        return sample_task(number, WIDE, wording=group)
    kind = KINDS[number % len(KINDS)]
    task, sentences = sample_task(number, kind=kind), BY_HAND[group][kind]
    old = next((thing for thing in task.source.things if thing not in task.target.things), None)
    words = plain_words(task) | ({"bare": old.name, "oldshape": old.shape} if old else {})
    return replace(task, instruction=sentences[number // len(KINDS) % len(sentences)].format(**words))


def measure_task(editor, thinker, group, number):
    task = draw_task(group, number)
    (outcome,) = think_about(editor, thinker, {number: task})
    prompt = polish_instruction(thinker, render([task.source]), task.instruction, number)
    found = {name: getattr(outcome, name) for name in ("alone", "thinking", "harmed", "turns")}
    return found | {"group": group, "prompt": prompt in plain_requests(task)}


def summarize(rows):
    """By group and overall: shares of tasks, and the mean number of turns."""
    found = dict.fromkeys(row["group"] for row in rows)
    groups = {group: [row for row in rows if group in ("all", row["group"])] for group in ("all", *found)}
    return {
        group: {name: statistics.mean(row[name] for row in members) for name in (*COLUMNS, "turns")}
        for group, members in groups.items()
    }


def report(found):
    print(f"{'':<16}" + "".join(f"{title:>15}" for title in COLUMNS.values()) + f"{'turns':>8}")
    for group, row in found.items():
        print(f"{group:<16}" + "".join(f"{row[name]:>15.1%}" for name in COLUMNS) + f"{row['turns']:>8.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--groups", nargs="+", default=ALL, choices=ALL)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--editor", type=Path, default=EDITOR_FOLDER)
    parser.add_argument("--thinker", type=Path, default=THINKER_FOLDER)
    options = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        parts = pool.map(measure, [(options, part) for part in range(options.workers)])
    found = summarize([row for part in parts for row in part])
    report(found)
    print(json.dumps({"bench": "think_wide", "tasks": options.tasks, "groups": found}))


if __name__ == "__main__":
    main()
