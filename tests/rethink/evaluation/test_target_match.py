"""An edit beside its target: what is missing of the change, and what else has changed."""

import pytest
import torch

from rethink.evaluation.target_match import match_target


@pytest.fixture
def source():
    return torch.full((1, 64, 64, 3), 0.5)


@pytest.fixture
def target(source):
    image = source.clone()
    image[:, :24, :24] = torch.tensor([0.9, 0.1, 0.1])
    return image


def test_the_target_itself_has_all_of_the_change_and_nothing_else(source, target):
    grain = 0.02 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    match = match_target(source, target, target + grain)
    assert match.changed > 0.95 and match.kept == 1


def test_the_source_has_nothing_of_it(source, target):
    match = match_target(source, target, source)
    assert match.changed == 0 and match.kept == 1


def test_half_the_change_is_half(source, target):
    assert match_target(source, target, (source + target) / 2).changed == pytest.approx(0.5)


def test_what_else_changes_is_not_kept(source, target):
    edited = target.clone()
    edited[:, 32:] = 0.9
    match = match_target(source, target, edited)
    assert match.changed == 1 and 0.3 < match.kept < 0.5


def test_the_opposite_change_is_none(source, target):
    assert match_target(source, target, 2 * source - target).changed == 0


def test_a_target_that_changes_everything_leaves_nothing_to_keep(source):
    match = match_target(source, source + 0.3, source + 0.3)
    assert match.changed == pytest.approx(1) and match.kept is None


def test_a_faint_target_counts_too(source):
    faint = source + 0.01
    assert match_target(source, faint, source).changed == 0 and match_target(source, faint, faint).changed > 0.99


def test_another_size_is_compared_at_the_sources(source, target):
    large = torch.nn.functional.interpolate(target.movedim(-1, 1), (128, 128)).movedim(1, -1)
    assert match_target(source, target, large).changed > 0.9


def test_equal_images_ask_for_nothing(source):
    assert match_target(source, source, source).changed == 1
