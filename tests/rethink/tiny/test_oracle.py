"""The built-in world and its oracle: what is true is judged true, and every kind of damage is noticed."""

import pytest
import torch

from rethink.tiny import KINDS, LEVELS, judge, oracle, render, sample_task
from rethink.tiny.oracle import observe
from rethink.tiny.scene import Scene, SceneObject
from rethink.tiny.tasks import Task


@pytest.mark.parametrize("level", LEVELS)
def test_the_right_picture_succeeds_and_the_source_does_not(level):
    for seed in range(6):
        task = sample_task(seed, level)
        for scene in {task.accepted[0], task.accepted[-1]}:
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
        if untouched and len(task.accepted) == 1 and checked < 3:
            verdict = judge(render([task.target.with_thing(untouched[0].cell, None)]), task)
            assert verdict.done and not verdict.kept, task
            checked += 1
    assert checked == 3


def test_smear_and_noise_are_no_success():
    task = sample_task(3, kind="recolor")
    right = render([task.target])
    smeared = torch.nn.functional.avg_pool2d(right.permute(0, 3, 1, 2), 9, 1, 4).permute(0, 2, 3, 1)
    assert not judge(smeared, task).success
    assert not judge((right + 0.15 * torch.randn(right.shape)).clamp(0, 1), task).success
    assert judge((right + 0.01 * torch.randn(right.shape)).clamp(0, 1), task).success


def test_a_small_pale_thing_that_was_not_removed_is_seen():
    """White on mint differs so little from an empty cell that a thing looked for in its middle would be missed."""
    thing = SceneObject(1, "square", "white", 0, dx=4, dy=2)
    source = Scene("mint", True, (thing,))
    task = Task(source, "remove the white square", (source.with_thing(1, None),), "remove", "plain")
    assert not judge(render([source]), task).done
    assert judge(render([task.target]), task).success


@pytest.mark.parametrize("noise", [0.0, 0.03, 0.2])
def test_the_nearest_thing_is_that_of_a_search_through_all(noise, monkeypatch):
    tasks = [sample_task(seed) for seed in range(2)]
    generator = torch.Generator().manual_seed(0)
    images = [render([task.accepted[0]]) for task in tasks]
    images = [(image + noise * torch.randn(image.shape, generator=generator)).clamp(0, 1) for image in images]
    found = [observe(image, task) for image, task in zip(images, tasks)]
    monkeypatch.setattr(oracle, "_distances_to_nearest", lambda *_: [0.0] * 148)
    searched = [observe(image, task) for image, task in zip(images, tasks)]
    assert [each.things for each in found] == [each.things for each in searched]
    assert [each.errors for each in found] == [pytest.approx(each.errors, abs=1e-6) for each in searched]
