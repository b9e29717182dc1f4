"""Where a source lies in an edit of it: shift, zoom and color drift."""

import math

import pytest
import torch

from rethink.alignment.registration import ColorTransform, Placement, place, register
from tests.support.photographs import disc, displace, make_photograph


def channels_first(image: torch.Tensor) -> torch.Tensor:
    return image[0].movedim(-1, 0)


def found(source, edit):
    return register(channels_first(source), channels_first(edit), torch.ones(1, *source.shape[1:3]))


@pytest.mark.parametrize(("right", "down", "zoom"), [(0, 0, 1), (7.3, -2.6, 1.02), (-5, 9, 0.98)])
def test_shift_and_zoom_are_found_under_a_local_edit(right, down, zoom):
    source = make_photograph()
    edit = torch.where(disc((240, 320), 200, 100, 40)[..., None], make_photograph(1), source)
    registration = found(source, displace(edit, right, down, zoom))
    assert math.dist(registration.placement.shift((240, 320)), (right, down)) < 0.25
    assert abs(registration.placement.zoom / zoom - 1) < 0.0005 and registration.agreement > 0.5


def test_a_tint_is_found_and_undone():
    source = make_photograph()
    edit = (source * torch.tensor([0.95, 1.0, 0.9]) + 0.02).clamp(0, 1)
    colors = found(source, edit).colors
    assert (colors.undo(channels_first(edit)) - channels_first(source)).abs().mean() < 0.005
    assert colors.drift(channels_first(edit)) > 0.015


def test_images_with_nothing_in_common_do_not_agree():
    assert found(make_photograph(0), make_photograph(7)).agreement < 0.22


def test_what_a_placement_shows_of_the_source():
    assert Placement((1, 1), (1, 1)).visible((10, 20)) == (slice(0, 10), slice(0, 20))
    half_down = Placement((1, 1), (1, 1), offset=(0.5, 0.0))
    assert half_down.visible((10, 20)) == (slice(0, 5), slice(0, 20)) and half_down.shift((10, 20)) == (0, 5)


def test_placing_an_edit_that_was_not_moved_resamples_nothing():
    edit = channels_first(make_photograph(0, 30, 40))
    assert torch.equal(place(edit, Placement((1, 1), (1, 1)), (30, 40)), edit)


def test_the_identity_changes_no_color():
    image = torch.rand(3, 4, 5)
    same = ColorTransform.identity(image)
    assert torch.equal(same.undo(image), image) and torch.equal(same.clip(image), image) and same.drift(image) == 0
