"""Thinking is compared with its own first edit, by the oracle alone."""

import json

import torch

from rethink.images import from_pil, to_pil
from rethink.thinkers.critique import Thinker
from rethink.tiny import render, sample_task, think_benchmark
from rethink.tiny.think_benchmark import Outcome, _groups, summarize, think_about
from tests.support.benchmark_runs import Painter


class Late(Painter):
    """An editor that gets an edit right as soon as it is asked for another way."""

    def __init__(self, task):
        super().__init__()
        self.task = task

    def edit(self, prepared, instructions, seeds, settings=None, *, mask=None, on_step=None):
        first = instructions[0] == self.task.instruction
        image = prepared.images if first else render([self.task.target])
        return torch.cat([from_pil(to_pil(image))] * len(seeds))


class Critic:
    """Whoever sees a change is content."""

    name, placement = "critic", "elsewhere"

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None):
        score = 2 if torch.equal(*images) else 9
        return f'{{"semantic": {score}, "quality": {score}, "reasoning": "x", "prompt": "do it another way"}}'


def test_the_best_turn_counts_and_not_what_the_thinker_says():
    task = sample_task(3)
    (outcome,) = think_about(Late(task), Thinker(Critic()), {0: task})
    assert (outcome.alone, outcome.thinking, outcome.turns) == (False, True, 2)
    other = sample_task(4)
    (wrong,) = think_about(Late(task), Thinker(Critic()), {1: other})  # edits as of another task
    assert not wrong.alone and not wrong.thinking


def test_the_table_is_of_all_tasks(monkeypatch):
    asked, lines = [], []

    def measure(numbers):
        asked.extend(numbers)
        return [Outcome(sample_task(number), True, True, 1) for number in numbers]

    monkeypatch.setattr(think_benchmark, "measure", measure)
    assert think_benchmark.run(12, lines.append) == 0
    record = json.loads(lines[-1])
    assert asked == list(range(12)) and record["rows"]["all"]["tasks"] == 12 and record["thinking"] is True


def test_every_course_has_its_tasks_and_its_row():
    tasks = [think_benchmark.held_out_task(number) for number in range(12)]
    groups = _groups([Outcome(task, True, True, 1) for task in tasks])
    courses = ("plain", "unusual", "reasoning", "wide, forms", "wide, words", "wide, mixed")
    assert {name: len(groups[name]) for name in courses} == dict.fromkeys(courses, 2) and len(groups["wide"]) == 6


def test_a_row_for_all_every_level_and_every_kind():
    tasks = [sample_task(seed, level=level) for seed in range(9) for level in ("plain", "reasoning")]
    outcomes = [Outcome(task, False, task.level == "reasoning", 2) for task in tasks]
    groups = _groups(outcomes)
    assert list(groups)[:3] == ["all", "plain", "reasoning"] and sum(map(len, groups.values())) == 3 * len(tasks)
    found = {name: summarize(members) for name, members in groups.items()}
    assert found["all"]["thinking"] == 0.5 and found["all"]["one_edit"] == 0 and found["all"]["turns"] == 2
    assert found["all"]["harm"] == 0
    assert (found["plain"]["verdict"], found["reasoning"]["verdict"]) == ("cannot tell", "better")


def test_harm_is_a_right_first_edit_that_did_not_win():
    task = sample_task(0)
    outcomes = [Outcome(task, alone, thinking, 2) for alone in (False, True) for thinking in (False, True)]
    assert [outcome.harmed for outcome in outcomes] == [False, False, True, False]
    assert summarize(outcomes)["harm"] == 0.25
