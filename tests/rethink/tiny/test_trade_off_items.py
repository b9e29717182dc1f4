"""Edits of the built-in world with captions."""

from rethink.tiny import sample_task
from rethink.tiny.trade_off_items import sample_items


def test_items_are_the_scenes_with_both_captions():
    first, second = sample_items(2, seed=3)
    task = sample_task(4)
    assert (second.instruction, second.source_caption) == (task.instruction, task.source.caption)
    assert second.edited_caption == task.target.caption != second.source_caption
    assert first.load().shape == (1, 128, 128, 3)
