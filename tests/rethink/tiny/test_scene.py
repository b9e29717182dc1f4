"""Scenes of the built-in world, as numbers and as images."""

from random import Random

import numpy as np
import torch

from rethink.tiny.scene import (
    CELL,
    Scene,
    SceneObject,
    encode,
    is_test_scene,
    join_cells,
    render,
    render_arrays,
    sample_scene,
    split_cells,
)


def test_the_scenes_that_the_shipped_models_never_saw_are_still_held_out():
    """What is held out goes by the words that a scene is hashed in: other words are another split."""
    rng = Random(7)
    held_out = [number for number in range(60) if is_test_scene(sample_scene(rng))]
    assert held_out == [7, 10, 12, 16, 23, 24, 38, 39, 40, 43]


def test_one_renderer_draws_scenes_and_their_arrays():
    scenes = [sample_scene(Random(seed)) for seed in range(5)]
    images = render(scenes)
    assert images.shape == (5, 128, 128, 3) and images.min() >= 0 and images.max() <= 1
    arrays = torch.from_numpy(np.stack([encode(scene) for scene in scenes])).long()
    assert torch.equal(render_arrays(arrays), images)
    assert torch.equal(join_cells(split_cells(images)), images)


def test_an_object_is_drawn_in_its_own_cell_alone():
    empty = Scene("mint", False, ())
    full = empty.with_thing(2, SceneObject(0, "star", "red", 1))
    assert [thing.cell for thing in full.things] == [2] and full.empty_cells == (0, 1, 3)
    differs = (render([empty]) != render([full]))[0].any(-1)
    assert differs[CELL:, :CELL].any() and not differs[:CELL].any() and not differs[:, CELL:].any()


def test_a_caption_says_everything():
    scene = Scene("navy", True, (SceneObject(0, "star", "red", 2), SceneObject(3, "heart", "pink", 0, covered=True)))
    words = "a large red star at the top left and a small black square at the bottom right on a navy background"
    assert scene.caption == words


def test_an_object_that_lies_further_is_the_same_drawing_further_on():
    empty = Scene("mint", False, ())
    middle, moved = render(
        [empty.with_thing(0, SceneObject(0, "heart", "red", 1, dx, dy)) for dx, dy in ((0, 0), (4, -2))]
    )
    assert torch.equal(moved, middle.roll((4, -2), (1, 0)))
