"""The benchmarks' own models still go through the code that they measure."""

import argparse
import importlib
import re
import sys
from random import Random
from statistics import fmean

import pytest
import torch

from rethink.thinkers.critique import critique
from rethink.thinkers.critique_format import parse_critique
from rethink.tiny import sample_task
from rethink.tiny.phrasings import WORDINGS
from rethink.tiny.tasks import WIDE, with_articles
from rethink.tiny.teacher import criticize, draw_example, plain_words
from tests.support.hosts import PACK_ROOT

COMPARED_WITH = ("cv2", "skimage", "sklearn")  # a benchmark's alone, and not among what the tests install


@pytest.mark.parametrize("name", sorted(file.stem for file in (PACK_ROOT / "benchmarks").glob("*.py")))
def test_it_finds_all_that_it_measures(name, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(PACK_ROOT / "benchmarks"), *sys.path])
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] not in COMPARED_WITH:
            raise
        pytest.skip(f"{error.name} is not installed")


@pytest.mark.parametrize("file", sorted((PACK_ROOT / "benchmarks").glob("*.py")), ids=lambda file: file.stem)
def test_it_finds_the_library_where_nothing_is_installed(file):
    text = file.read_text(encoding="utf-8")
    if '"__main__"' in text:
        ours = re.search(r"^from (rethink|tests)\b", text, re.MULTILINE)
        assert ours is None or "\nsys.path.insert(0, " in text[: ours.start()]


def test_the_painter_draws_as_a_pipeline_of_diffusers_does(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(PACK_ROOT / "benchmarks"), *sys.path])
    import pairs

    painter = pairs.Painter(pairs.optimize_pipeline(pairs.open_pipeline(pairs.EDITOR_FOLDER)))
    recipe = pairs.P2PConfig(steps=2, guidance=(1.0, 4.0))
    made = pairs.generate(painter, "a red star at the top", "a blue circle at the top", [1, 2], recipe)
    again = pairs.generate(painter, "a red star at the top", "a blue circle at the top", [1, 2], recipe)
    assert made.before.shape == made.after.shape and made.before.shape[0] == 2
    assert torch.equal(made.after, again.after) and not torch.equal(made.before, made.after)


def test_the_oracle_judges_edits_of_the_tasks_that_it_knows(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(PACK_ROOT / "benchmarks"), *sys.path])
    import learn_thinker

    task, other = learn_thinker.sample_training(range(2)).values()
    judge = learn_thinker.Thinker(learn_thinker.OracleJudge([task]), learn_thinker.QUESTION)
    source, right = (learn_thinker.render([scene]) for scene in (task.source, task.accepted[0]))
    good, bad = critique(judge, source, [right, source], task.instruction, ["a", "b"], [0, 0])
    assert good.overall >= 8 > bad.overall
    (unknown,) = critique(judge, learn_thinker.render([other.source]), [right], other.instruction, ["a"], [0])
    assert unknown.status == "failed"


def test_the_teacher_that_does_not_know_the_editor_judges_rightly_and_says_a_third_in_its_words(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(PACK_ROOT / "benchmarks"), *sys.path])
    from unaware_teacher import Lessons, say

    tasks = [sample_task(number, WIDE) for number in range(300)]
    plain = [say(task, Random(number)) in all_plain(task) for number, task in enumerate(tasks)]
    assert 0.25 < fmean(plain) < 0.45
    repeated = []
    for number in range(30):
        lesson, example = Lessons()[number], draw_example(number, level=WIDE)
        answer = parse_critique(lesson.answer)
        right = criticize(example.task, example.observation, example.prompt)
        assert (answer.semantic, answer.quality) == (right.semantic, right.quality)
        repeated.append(answer.next_prompt == example.prompt)
        assert repeated[-1] == (answer.semantic == 10)
    assert 0 < sum(repeated) < 30


def all_plain(task):
    return [with_articles(wording.format(**plain_words(task))) for wording in WORDINGS[task.kind]]


def test_what_was_made_with_other_options_is_not_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(PACK_ROOT / "benchmarks"), *sys.path])
    import learn_thinker

    def options(**others):
        return argparse.Namespace(**{"steps": 40, "seeds": [0], "held_out": 400, "work": tmp_path, **others})

    learn_thinker.check_work(options(), tmp_path)
    learn_thinker.check_work(options(seeds=[0, 1], held_out=20), tmp_path)
    with pytest.raises(SystemExit, match="steps"):
        learn_thinker.check_work(options(steps=20), tmp_path)


def test_every_sentence_by_hand_names_what_its_task_is_about(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(PACK_ROOT / "benchmarks"), *sys.path])
    import think_wide

    for group, sentences in think_wide.BY_HAND.items():
        assert set(sentences) == set(think_wide.KINDS), group
        longest = max(map(len, sentences.values()))
        for number in range(longest * len(think_wide.KINDS)):
            task = think_wide.draw_task(group, number)
            assert not set("{}") & set(task.instruction)
            changed = {thing for thing in {*task.source.things, *task.target.things} if thing.shape in task.instruction}
            assert changed or task.kind == "background", task.instruction
