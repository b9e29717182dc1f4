"""The built-in world and its oracle: what is true is judged true, and every kind of damage is noticed."""

import re

import pytest
import torch

from rethink.tiny import KINDS, LEVELS, judge, render, sample_task
from rethink.tiny.scene import HELD_OUT_LOOKS, Scene, SceneObject, has_held_out_look, is_test_scene
from rethink.tiny.tasks import TABLES, Task


@pytest.mark.parametrize("level", LEVELS)
def test_the_right_picture_succeeds_and_the_source_does_not(level):
    for seed in range(40):
        task = sample_task(seed, level)
        for scene in task.accepted:
            verdict = judge(render([scene]), task)
            assert verdict.success and verdict.psnr_outside > 60, task
        assert not judge(render([task.source]), task).done, task


@pytest.mark.parametrize("kind", KINDS)
def test_another_change_besides_is_not_kept(kind):
    """The oracle is exact: one more thing changed anywhere turns a success into over-editing."""
    checked = 0
    for seed in range(40):
        task = sample_task(seed, kind=kind)
        untouched = [t for t in task.target.things if t in task.source.things]
        if not untouched or len(task.accepted) > 1:
            continue
        verdict = judge(render([task.target.with_thing(untouched[0].cell, None)]), task)
        assert verdict.done and not verdict.kept, task
        checked += 1
    assert checked > 5


def test_smear_and_noise_are_no_success():
    task = sample_task(3, kind="recolor")
    right = render([task.target])
    smeared = torch.nn.functional.avg_pool2d(right.permute(0, 3, 1, 2), 9, 1, 4).permute(0, 2, 3, 1)
    assert not judge(smeared, task).success
    assert not judge((right + 0.15 * torch.randn(right.shape)).clamp(0, 1), task).success
    assert judge((right + 0.01 * torch.randn(right.shape)).clamp(0, 1), task).success


def test_training_never_sees_what_is_held_out():
    for seed in range(300):
        task = sample_task(seed, split="train")
        assert not is_test_scene(task.source)
        assert not has_held_out_look(task.source) and not has_held_out_look(task.target)
        assert is_test_scene(sample_task(seed).source)
        held_out = sample_task(seed, looks="held_out")
        assert {t.look for t in {*held_out.source.things} ^ {*held_out.target.things}} & HELD_OUT_LOOKS
    for tables in TABLES.values():
        known, held_out = (
            {line for lines in tables[name].values() for line in lines} for name in ("known", "held_out")
        )
        assert tables["known"].keys() == tables["held_out"].keys() and not known & held_out


def test_held_out_wordings_use_known_words_only():
    for tables in TABLES.values():
        known, held_out = (
            {word for lines in tables[name].values() for line in lines for word in re.findall(r"[\w'-]+", line)}
            for name in ("known", "held_out")
        )
        assert held_out <= known, held_out - known


def test_an_unusual_word_stands_for_a_whole_word():
    text = " ".join(sample_task(seed, "unusual").instruction for seed in range(400))
    assert not set(re.findall(r"[\w-]+", text)) & {"tinyer", "littleer"}


def test_tasks_repeat_from_their_seed():
    assert sample_task(5, "reasoning") == sample_task(5, "reasoning") != sample_task(6, "reasoning")


def test_an_open_instruction_accepts_every_answer():
    tasks = [sample_task(seed, kind="add") for seed in range(60)]
    assert any(len(task.accepted) >= 3 for task in tasks)
    assert all(len(set(task.accepted)) == len(task.accepted) for task in tasks)


def test_a_small_pale_thing_that_was_not_removed_is_seen():
    """White on mint differs so little from an empty cell that a thing looked for in its middle would be missed."""
    thing = SceneObject(1, "square", "white", 0, dx=4, dy=2)
    source = Scene("mint", True, (thing,))
    task = Task(source, "remove the white square", (source.with_thing(1, None),), "remove", "plain")
    assert not judge(render([source]), task).done
    assert judge(render([task.target]), task).success
