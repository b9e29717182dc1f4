"""Tasks of the built-in world: the same from the same seed, and training never sees what is held out."""

import re

from rethink.tiny import sample_task
from rethink.tiny.scene import HELD_OUT_LOOKS, has_held_out_look, is_test_scene


def test_training_never_sees_what_is_held_out():
    for seed in range(300):
        task = sample_task(seed, split="train")
        assert not is_test_scene(task.source)
        assert not has_held_out_look(task.source) and not has_held_out_look(task.target)
        assert is_test_scene(sample_task(seed).source)
        held_out = sample_task(seed, looks="held_out")
        assert {t.look for t in {*held_out.source.things} ^ {*held_out.target.things}} & HELD_OUT_LOOKS


def test_an_unusual_word_stands_for_a_whole_word():
    text = " ".join(sample_task(seed, "unusual").instruction for seed in range(400))
    assert not set(re.findall(r"[\w-]+", text)) & {"tinyer", "littleer"}


def test_tasks_repeat_from_their_seed():
    assert sample_task(5, "reasoning") == sample_task(5, "reasoning") != sample_task(6, "reasoning")


def test_an_open_instruction_accepts_every_answer():
    tasks = [sample_task(seed, kind="add") for seed in range(60)]
    assert any(len(task.accepted) >= 3 for task in tasks)
    assert all(len(set(task.accepted)) == len(task.accepted) for task in tasks)
