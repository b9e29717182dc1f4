"""Measure think-while-edit by the exact oracle: against one turn, best-of-n by the same critic, and the reference's rule.

    python benchmarks/think.py [--tasks N] [--seeds N] [--workers N] [--editor FOLDER] [--thinker FOLDER]

Uses held-out scenes and phrasings of four levels in turn, the last in wide English. Prints how well the thinker sees, success by
level, an ablation table, success over editor calls, and what the loop and the prefix cache cost and save; then one JSON object.
Every arm sees the same edits and critiques: what one arm made for a task, seed and prompt is reused by the others.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import itertools

import torch

from rethink.builtin import EDITOR_FOLDER, THINKER_FOLDER
from rethink.editors.loading import load_editor
from rethink.editors.settings import DEFAULT_SETTINGS
from rethink.steps import best_of
from rethink.think_loop import (
    Continue,
    LoopConfig,
    RunCallbacks,
    Stop,
    ThinkTask,
    is_accepted,
    quantize_to_8bit,
    think_while_edit,
)
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import Thinker, critique
from rethink.tiny import LEVELS as NARROW
from rethink.tiny import judge, render, sample_task
from rethink.tiny.oracle import verdict
from rethink.tiny.tasks import WIDE
from rethink.tiny.teacher import Teacher, draw_example, plain_requests

TURNS = 5
BUDGET = 8  # editor calls of the curve
LEVELS = (*NARROW, WIDE)
HARD = ("unusual", "reasoning")
WORDINGS = ("known", "held_out")
TOKENS = 200  # maximum of an answer
LESSONS = range(50_000, 50_500)  # drawn edits on which seeing is measured


class Remembering:
    """An editor that makes each edit of an image, prompt and seed only once."""

    def __init__(self, editor):
        self.editor, self.made = editor, {}

    def __getattr__(self, name):
        return getattr(self.editor, name)

    def edit(self, prepared, instructions, seeds, settings=DEFAULT_SETTINGS, **options):
        keys = [(prepared.images.numpy().tobytes(), *row) for row in zip(instructions, seeds)]
        missing = [key for key in dict.fromkeys(keys) if key not in self.made]
        if missing:
            _, prompts, numbers = zip(*missing)
            self.made |= zip(missing, self.editor.edit(prepared, prompts, numbers, settings, **options).split(1))
        return torch.cat([self.made[key] for key in keys])


class RememberingChat:
    """A Chat that answers the same question about the same images only once; valid only at temperature 0."""

    def __init__(self, chat):
        self.chat_within, self.said, self.name = chat, {}, chat.name

    def chat_all(self, requests, **options):
        keys = [
            (json.dumps(r.messages), options["temperature"], *(i.numpy().tobytes() for i in r.images)) for r in requests
        ]
        missing = {key: request for key, request in zip(keys, requests) if key not in self.said}
        if missing:
            self.said |= zip(missing, self.chat_within.chat_all(list(missing.values()), **options))
        return [self.said[key] for key in keys]

    def chat(self, messages, images, *, seed, **options):
        return self.chat_within.chat(messages, images, seed=seed, **options)


class Case:
    """One task with one seed, and the result of every arm as (success, editor calls)."""

    def __init__(self, editor, chat, task, seed):
        self.task, self.seed = task, 1000 * seed
        self.editor, self.thinker = Remembering(editor), Thinker(RememberingChat(chat), max_tokens=TOKENS)
        self.source = quantize_to_8bit(render([task.source]))

    def run(self, thinker=None, steer=None, **rules):
        """[(step, success)] of a run of the loop."""
        config = LoopConfig(seed=self.seed, **rules)
        task = ThinkTask(self.source, self.task.instruction, thinker or self.thinker, config=config)
        run = think_while_edit(self.editor, task, callbacks=RunCallbacks(steer=steer))
        return [(replace(step, image=None), judge(step.image, self.task).success) for step in run]

    @cached_property
    def thinking(self):
        return self.run(turns=BUDGET)

    def one_turn(self):
        return self.thinking[0][1], 1

    def think(self, calls=TURNS):
        return best(self.thinking[:calls])

    def last_wins(self):
        return self.thinking[:TURNS][-1][1], min(TURNS, len(self.thinking))

    def best_of_n(self):
        return best(self.run(turns=1, candidates=TURNS))

    def same_prompt(self):
        """Without refinement: a new seed each time, until the critic says stop."""

        def same(steps, following):
            return following if isinstance(following, Stop) else Continue(self.task.instruction, "user")

        return best(self.run(turns=TURNS, steer=same))

    def two_candidates(self):
        return best(self.run(turns=TURNS, candidates=2))

    def no_preservation(self):
        return best(self.run(turns=TURNS, preserve=0))

    def from_previous(self):
        return best(self.run(turns=TURNS, base="previous"))

    @cached_property
    def polishing(self):
        return self.run(turns=BUDGET, start="polished")

    def polished(self, calls=TURNS):
        return best(self.polishing[:calls])

    def by_teacher(self):
        """With a thinker that knows the answer: the upper bound for this editor."""
        return best(self.run(Teacher(self.task).thinker(), turns=TURNS))

    @cached_property
    def reference(self):
        """[success] of every image under the reference's rule: one seed for all turns, stop at 8 / 8 or when a prompt
        repeats; the last image, which is never judged, is the result."""
        images, prompt, prepared = [], self.task.instruction, self.editor.prepare(self.source)
        while len(images) < BUDGET:
            images.append(quantize_to_8bit(self.editor.edit(prepared, [prompt], [self.seed])))
            found = critique(self.thinker, self.source, images[-1:], self.task.instruction, [prompt], [self.seed])[0]
            good = found.overall is not None and min(found.semantic, found.quality) >= 8
            if good or found.next_prompt in ("", prompt):
                break
            prompt = found.next_prompt
        return [judge(image, self.task).success for image in images]

    def by_reference(self, calls=TURNS):
        made = self.reference[:calls]
        return made[-1], len(made)

    def seen(self):
        """(semantic score, done, kept, whether the next prompt is plain if one was needed) of the raw instruction's edit."""
        step = self.thinking[0][0]
        image = quantize_to_8bit(self.editor.made[next(iter(self.editor.made))])
        truth = judge(image, self.task)
        plain = None if is_accepted(step, LoopConfig()) else step.critique.next_prompt in plain_requests(self.task)
        return step.critique.semantic, truth.done, truth.kept, plain


ARMS = {
    "one turn": Case.one_turn,
    f"best of {TURNS}": Case.best_of_n,
    f"think, {TURNS} turns": Case.think,
    "without refinement": Case.same_prompt,
    "without best-of: last wins": Case.last_wins,
    "without preservation": Case.no_preservation,
    "two candidates a turn": Case.two_candidates,
    "from the previous image": Case.from_previous,
    "polished first": Case.polished,
    "reference's rule": Case.by_reference,
    "by the teacher": Case.by_teacher,
}

CURVES = {"think": Case.think, "polished first": Case.polished, "reference": Case.by_reference}


def best(steps):
    """(success of the best-scored step, editor calls)."""
    return steps[best_of([step for step, _ in steps])][1], len(steps)


def measure(arguments):
    """One worker's cases: {"level", arm: (success, calls), …} each."""
    options, part = arguments
    torch.set_num_threads(1)
    editor, chat = load(options)
    rows = []
    for number in range(part, options.tasks, options.workers):
        level = LEVELS[number % len(LEVELS)]
        task = sample_task(number, level, wording=WORDINGS[number // len(LEVELS) % 2])
        for seed in range(options.seeds):
            case = Case(editor, chat, task, seed)
            row = {"level": level, "seen": case.seen()} | {name: arm(case) for name, arm in ARMS.items()}
            row |= {(rule, n): after(case, n) for rule, after in CURVES.items() for n in range(1, BUDGET + 1)}
            rows.append(row)
    return rows


def load(options):
    return load_editor(options.editor), load_thinker(options.thinker, dtype="fp32")


def success(rows, arm, levels=LEVELS):
    return statistics.mean(row[arm][0] for row in rows if row["level"] in levels)


def harm(rows, arm, levels=LEVELS):
    """How often the first edit was right but the winner was not."""
    return statistics.mean(row["one turn"][0] and not row[arm][0] for row in rows if row["level"] in levels)


def auc(scores, labels):
    """The probability that a true one scores higher than a false one, ties counting half; None if either is missing."""
    true, false = ([s for s, label in zip(scores, labels) if label is wanted] for wanted in (True, False))
    if not true or not false:
        return None
    return statistics.mean((t > f) + 0.5 * (t == f) for t in true for f in false)


def seeing(found):
    """(AUC of done, AUC of kept among the done) of rows (semantic, done, kept, …); no score counts as 0."""
    done = auc([row[0] or 0 for row in found], [row[1] for row in found])
    finished = [row for row in found if row[1]]
    return done, auc([row[0] or 0 for row in finished], [row[2] for row in finished])


def drawn(thinker):
    """Rows as from `Case.seen`, for held-out edits that were drawn by code, not made by the editor."""
    found = []
    for seed in LESSONS:
        example = draw_example(seed, split="test")
        said = critique(thinker, example.source, [example.edited], example.task.instruction, [example.prompt], [0])[0]
        truth = verdict(example.observation, example.task)
        plain = None if truth.success else said.next_prompt in plain_requests(example.task)
        found.append((said.semantic, truth.done, truth.kept, plain))
    return found


class Stopwatch:
    """Adds up the seconds of a function."""

    def __init__(self, function):
        self.function, self.seconds = function, 0.0

    def __call__(self, *args, **kwargs):
        start = time.perf_counter()
        try:
            return self.function(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - start


def loop_overhead(editor, chat, runs=20):
    """The share of a run's seconds that neither the editor nor the thinker takes."""
    watches = [Stopwatch(editor.prepare), Stopwatch(editor.edit), Stopwatch(chat.chat_all)]
    editor.prepare, editor.edit, chat.chat_all = watches
    total = Stopwatch(lambda run: [None for _ in run])
    for seed in range(runs):
        task = sample_task(seed, LEVELS[seed % len(LEVELS)])
        thinker, config = Thinker(chat, max_tokens=TOKENS), LoopConfig(turns=3)
        total(think_while_edit(editor, ThinkTask(render([task.source]), task.instruction, thinker, config=config)))
    del editor.prepare, editor.edit, chat.chat_all
    return 1 - sum(watch.seconds for watch in watches) / total.seconds


def prefill_ratio(chat, images=20):
    """Seconds to read a critique's question from turn 2 on, with the cached prefix over without it. Answers must agree."""
    thinker, seconds = Thinker(chat, max_tokens=TOKENS), {True: [], False: []}
    for seed in range(images):
        examples = [draw_example(seed, split="test")] * 2
        edited = [examples[0].edited, render([examples[0].task.target])]
        for remember in (True, False):
            chat.clear_cache()
            answers = []
            for example, image in zip(examples, edited):
                if not remember:
                    chat.clear_cache()
                chat._prefill = watch = Stopwatch(type(chat)._prefill.__get__(chat))
                answers += critique(thinker, example.source, [image], example.task.instruction, [example.prompt], [0])
            seconds[remember].append(watch.seconds)  # of the second one
            if remember:
                remembered = answers
        assert answers == remembered, "a cached prefix changed an answer"
    del chat._prefill
    return statistics.median(seconds[True]) / statistics.median(seconds[False])


def report(rows, seen):
    print(f"\n{'seeing, held out':<34}{'done AUC':>10}{'kept AUC':>10}{'plain prompts':>15}")
    for name, found in seen.items():
        plain = statistics.mean(row[3] for row in found if row[3] is not None)
        done, kept = ("-" if share is None else f"{share:.3f}" for share in seeing(found))
        print(f"{name:<34}{done:>10}{kept:>10}{plain:>15.1%}")
    print(f"\n{'success':<34}{'all':>8}" + "".join(f"{level:>11}" for level in LEVELS) + f"{'calls':>8}{'harm':>8}")
    for arm in ARMS:
        by_level = "".join(f"{success(rows, arm, (level,)):>11.1%}" for level in LEVELS)
        calls = statistics.mean(row[arm][1] for row in rows)
        print(f"{arm:<34}{success(rows, arm):>8.1%}{by_level}{calls:>8.2f}{harm(rows, arm):>8.1%}")
    print(f"\n{'success over editor calls':<34}" + "".join(f"{n:>8}" for n in range(1, BUDGET + 1)))
    for rule in CURVES:
        points = curve(rows, rule)
        print(f"{rule + ', by maximum calls':<34}" + "".join(f"{share:>8.1%}" for _, share in points))
        print(f"{'  calls made':<34}" + "".join(f"{calls:>8.2f}" for calls, _ in points))


def curve(rows, rule):
    """[(editor calls made, success)] where at most 1, 2, … calls are allowed."""
    return [(statistics.mean(row[rule, n][1] for row in rows), success(rows, (rule, n))) for n in range(1, BUDGET + 1)]


def calls_ratio(rows, rule):
    """Editor calls of `rule` over the reference's at the success that the reference ends with. Above 1: not fewer; None:
    never as good."""
    *_, (calls, goal) = curve(rows, "reference")
    points = [(0.0, 0.0), *curve(rows, rule)]
    for (before, less), (after, more) in itertools.pairwise(points):
        if more >= goal:
            return (before + (after - before) * (goal - less) / (more - less)) / calls
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=504)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--editor", type=Path, default=EDITOR_FOLDER)
    parser.add_argument("--thinker", type=Path, default=THINKER_FOLDER)
    options = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        parts = pool.map(measure, [(options, part) for part in range(options.workers)])
    rows = [row for part in parts for row in part]
    editor, chat = load(options)
    seen = {"drawn edits": drawn(Thinker(chat, max_tokens=TOKENS)), "the editor's": [row["seen"] for row in rows]}
    report(rows, seen)
    overhead, ratio = loop_overhead(editor, chat), prefill_ratio(chat)
    print(f"\nThe loop itself takes {overhead:.1%}; a cached prefix leaves {ratio:.0%} of the prefill from turn 2 on.")
    think = f"think, {TURNS} turns"
    print(
        json.dumps(
            {
                "bench": "think",
                "tasks": options.tasks,
                "seeds": options.seeds,
                "points_over_one_turn": 100 * (success(rows, think) - success(rows, "one turn")),
                "points_over_best_of_n_hard": 100
                * (success(rows, think, HARD) - success(rows, f"best of {TURNS}", HARD)),
                "harm": harm(rows, think),
                "harm_by_arm": {arm: harm(rows, arm) for arm in ARMS if arm != "one turn"},
                "calls_at_equal_success": {rule: calls_ratio(rows, rule) for rule in ("think", "polished first")},
                "loop_overhead": overhead,
                "prefill_ratio": ratio,
                "seeing": {name: seeing(found) for name, found in seen.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
