"""Where things go is said so that one place alone is meant."""

from random import Random

import pytest

from rethink.tiny.english.grammar import Edit, UnfitError
from rethink.tiny.english.places import RELATIONS, find_added
from rethink.tiny.english.writer import Writer
from rethink.tiny.scene import Scene, SceneObject
from rethink.tiny.tasks import sample_task

HEART, STAR = SceneObject(0, "heart", "red", 1), SceneObject(3, "star", "blue", 1)


def places(cell, slot, seeds=60):
    scene = Scene("mint", False, (HEART, STAR))
    moved = scene.with_thing(0, None).with_thing(cell, HEART)
    return {Writer(Random(seed), Edit("move", scene, (moved,)), frozenset()).grow(slot) for seed in range(seeds)}


def test_a_direction_leads_to_the_free_place():
    assert places(1, "{direction}") == {"to the right", "to the right side", "right", "rightward"}
    assert places(2, "{direction}") == {"down", "downward", "to the bottom", "lower"}


def test_a_neighbor_says_where():
    assert {"above the blue star", "over the blue star"} <= places(1, "{in}", 300)
    assert not any("right of the blue star" in text for text in places(1, "{in}", 300))
    assert set(RELATIONS) == {1, 2, 3}


def test_no_place_is_said_where_any_will_do():
    task = next(t for t in (sample_task(seed, kind="add") for seed in range(60)) if _anywhere(t))
    writer = Writer(Random(0), Edit("add", task.source, task.accepted), frozenset())
    assert writer.grow("{new}{at}").endswith(writer.edit.new.shape) or writer.grow("{at}") == ""
    with pytest.raises(UnfitError):
        writer.grow("{where}")


def _anywhere(task):
    edit = Edit("add", task.source, task.accepted)
    return len({find_added(edit, scene).cell for scene in task.accepted}) > 1
