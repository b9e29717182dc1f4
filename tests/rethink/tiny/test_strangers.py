"""The built-in models' own images are told from all others."""

from random import Random

import pytest
import torch
import torch.nn.functional as F

from rethink.tiny.scene import render, sample_scene
from rethink.tiny.strangers import are_scenes, warn_of_strangers
from tests.support.photographs import make_photograph


def test_no_scene_is_a_stranger():
    rng = Random(3)
    for _ in range(3):
        assert are_scenes(render([sample_scene(rng) for _ in range(100)])).all()


def test_scaled_or_a_little_blurred_they_are_scenes_still():
    scenes = render([sample_scene(Random(seed)) for seed in range(40)])
    large = F.interpolate(scenes.movedim(-1, 1), scale_factor=4, mode="bicubic").movedim(1, -1).clamp(0, 1)
    noise = 0.02 * torch.randn(scenes.shape, generator=torch.Generator().manual_seed(0))
    assert are_scenes(large).all() and are_scenes((scenes + noise).clamp(0, 1)).all()


@pytest.mark.parametrize("size", [(128, 128), (96, 160), (300, 200)])
def test_photographs_are_strangers(size):
    pictures = torch.cat([make_photograph(seed, *size) for seed in range(10)])
    assert not are_scenes(pictures).any()


def test_plain_black_and_white_are_strangers():
    for level in (0.0, 1.0):
        assert not are_scenes(torch.full((1, 64, 64, 3), level)).any()


def test_the_warning_says_which_model_and_what_to_do():
    scene = render([sample_scene(Random(0))])
    assert warn_of_strangers("editor", scene) == ""
    both = torch.cat([scene, make_photograph(0, 128, 128)])
    assert warn_of_strangers("editor", both).startswith("The built-in editor only works on images of Built-in Scene")
    assert "Load another thinker" in warn_of_strangers("thinker", both)
