"""An edit laid back on its source: what was moved is found, what was changed is kept, all else is the source's."""

import math

import pytest
import torch

from rethink.alignment.compositing import EVERYTHING_CHANGED, NOTHING_IN_COMMON, RESTORED, keep_unchanged, soften_mask
from rethink.errors import RethinkError
from tests.support.photographs import degrade, disc, displace, make_photograph


@pytest.fixture(scope="module")
def source():
    return make_photograph()


@pytest.fixture(scope="module")
def area():
    return disc((240, 320), 200, 100, 40)


@pytest.fixture(scope="module")
def edit(source, area):
    """The source with something else within `area`."""
    return torch.where(area[..., None], make_photograph(1), source)


def far_from(area, pixels):
    grown = torch.nn.functional.max_pool2d(area[None].float(), 2 * pixels + 1, 1, pixels)[0] > 0
    return ~grown


def only(kept):
    (one,) = kept
    return one


@pytest.mark.parametrize(
    ("right", "down", "zoom"),
    [(0, 0, 1), (0.4, -0.3, 1), (-12, 12, 1), (5.3, 7.7, 1.03), (-8.6, 3.1, 0.97), (12, -12, 0.985), (0, 0, 1.004)],
)
def test_the_displacement_is_found_and_undone(source, edit, area, right, down, zoom):
    kept = only(keep_unchanged(source, degrade(displace(edit, right, down, zoom))))
    assert kept.verdict == RESTORED
    assert math.dist(kept.shift, (right, down)) < 0.25
    assert abs(kept.zoom / zoom - 1) < 0.0005
    untouched = far_from(area, 12)
    assert torch.equal(kept.image[untouched], source[0][untouched])
    assert (kept.mask[area] > 0.99).float().mean() > 0.98
    assert area.float().mean() < kept.changed < 2.5 * area.float().mean()


def test_what_is_kept_of_the_edit_lies_in_place_and_has_the_sources_colors(source, edit, area):
    kept = only(keep_unchanged(source, degrade(displace(edit, 6.4, -4.2, 1.02))))
    inner = disc((240, 320), 200, 100, 36)
    error = (kept.image - edit[0])[inner]
    assert error.abs().mean() < 0.02  # the drift alone is 0.03
    assert error.mean(0).abs().max() < 0.01
    assert 0.015 < kept.drift < 0.06


def test_the_seam_is_soft_and_lies_between_the_two(source, edit):
    kept = only(keep_unchanged(source, edit))
    steps = [kept.mask.diff(dim=dim).abs().max() for dim in (0, 1)]
    assert max(steps) <= 0.5 and ((kept.mask > 0) & (kept.mask < 1)).any()
    low, high = torch.minimum(source, edit)[0], torch.maximum(source, edit)[0]
    assert ((kept.image >= low - 0.01) & (kept.image <= high + 0.01)).all()


def test_an_edit_that_changed_nothing_gives_the_source(source):
    kept = only(keep_unchanged(source, source.clone()))
    assert torch.equal(kept.image, source[0]) and kept.changed == 0 and not kept.mask.any()
    assert (kept.shift, kept.zoom, kept.verdict) == ((0.0, 0.0), 1.0, RESTORED)
    spoiled = only(keep_unchanged(source, degrade(displace(source, 3.3, 1.2, 1.01))))
    assert spoiled.changed < 0.002


def test_an_edit_that_was_not_moved_is_not_resampled(source, edit, area):
    kept = only(keep_unchanged(source, edit))
    assert torch.equal(kept.image[kept.mask == 1], edit[0][kept.mask == 1])


@pytest.mark.parametrize("size", [(240, 320), (360, 480), (176, 232), (512, 512), (300, 320)])
def test_an_edit_of_any_size_comes_back_at_the_sources(source, edit, area, size):
    resized = torch.nn.functional.interpolate(edit.movedim(-1, 1), size, mode="bicubic", antialias=True)
    kept = only(keep_unchanged(source, resized.movedim(1, -1).clamp(0, 1)))
    assert kept.image.shape == source.shape[1:] and kept.mask.shape == source.shape[1:3]
    assert kept.verdict == RESTORED
    assert math.hypot(*kept.shift) < 0.25 and abs(kept.zoom - 1) < 0.0005
    untouched = far_from(area, 12)
    assert torch.equal(kept.image[untouched], source[0][untouched])
    assert (kept.mask[area] > 0.99).float().mean() > 0.98


def test_an_edit_that_was_cut_off_keeps_the_sources_border(source, edit, area):
    cropped = edit[:, :, 40:280]  # a square that keeps the aspect
    kept = only(keep_unchanged(source, cropped))
    assert kept.verdict == RESTORED and math.hypot(*kept.shift) < 0.25
    assert torch.equal(kept.image[:, :30], source[0, :, :30]) and torch.equal(kept.image[:, -30:], source[0, :, -30:])


def gray(picture):
    return picture.mean(-1, keepdim=True).expand(-1, -1, -1, 3)


GLOBAL = {
    "night": lambda picture: picture**1.3 * torch.tensor([0.25, 0.3, 0.5]),
    "fog": lambda picture: picture * 0.4 + 0.5,
    "negative": lambda picture: 1 - picture,
    "posterized": lambda picture: (picture * 3.999).floor() / 3,
    "sepia": lambda picture: gray(picture) ** 0.8 * torch.tensor([1.0, 0.85, 0.62]),
}


@pytest.mark.parametrize("name", GLOBAL)
def test_an_edit_of_everything_is_recognized_and_left_alone(source, name):
    edit = degrade(displace(GLOBAL[name](source), 4, -3, 1.01))
    kept = only(keep_unchanged(source, edit))
    assert kept.verdict == EVERYTHING_CHANGED
    assert torch.equal(kept.image, edit[0]) and kept.mask.all() and kept.changed == 1
    assert "whole image" in str(kept)


@pytest.mark.parametrize(
    "unlike",
    [
        lambda size: make_photograph(7, *size),
        lambda size: torch.rand(1, *size, 3, generator=torch.Generator().manual_seed(0)),
        lambda size: torch.zeros(1, *size, 3),
        lambda size: torch.full((1, *size, 3), 0.5),
    ],
    ids=["another", "noise", "black", "gray"],
)
@pytest.mark.parametrize("size", [(240, 320), (200, 200)])
def test_pictures_with_nothing_in_common_are_said_to_be_so(source, unlike, size):
    edit = unlike(size)
    kept = only(keep_unchanged(source, edit))
    assert kept.verdict == NOTHING_IN_COMMON and str(kept).startswith("Nothing in common")
    assert torch.equal(kept.image, edit[0]) and kept.mask.shape == size and kept.mask.all()
    assert (kept.shift, kept.zoom) == ((0.0, 0.0), 1.0)


def test_a_mask_says_where_the_picture_may_change(source, edit, area):
    second = disc((240, 320), 80, 180, 30)
    both = torch.where(second[..., None], 1 - edit, edit)
    kept = only(keep_unchanged(source, degrade(displace(both, 5, 2, 1.01)), area.float()))
    outside = ~area
    assert torch.equal(kept.image[outside], source[0][outside]) and not kept.mask[outside].any()
    assert (kept.mask[area] > 0.99).float().mean() > 0.98


def test_with_a_mask_a_large_edit_does_not_hide_the_shift(source):
    mask = torch.zeros(240, 320)
    mask[:, 60:] = 1
    most = torch.where(mask[..., None] > 0, make_photograph(3), source)
    kept = only(keep_unchanged(source, displace(most, 7, -5, 1), mask))
    assert kept.verdict == RESTORED and math.dist(kept.shift, (7, -5)) < 0.25


def test_with_a_mask_an_edit_of_everything_is_taken_within_it_in_its_own_colors(source, area):
    night = GLOBAL["night"](source)
    kept = only(keep_unchanged(source, night, area.float()))
    assert kept.verdict == RESTORED
    assert torch.equal(kept.image[~area], source[0][~area])
    assert (kept.image - night[0])[area].abs().max() < 0.02


def test_with_a_mask_nothing_in_common_is_still_said(source, area):
    assert only(keep_unchanged(source, make_photograph(7), area.float())).verdict == NOTHING_IN_COMMON


def test_many_edits_go_with_their_sources(source, edit):
    other = make_photograph(5)
    sources, edits = torch.cat([source, other]), torch.cat([edit, source, other, displace(other, 3, 0, 1)])
    kept = keep_unchanged(sources, edits)
    assert [one.verdict for one in kept] == [RESTORED] * 4
    assert kept[0].changed > 0.02 and [one.changed < 0.01 for one in kept[1:]] == [True] * 3
    assert [torch.equal(one.image, sources[i, ..., :]) for one, i in zip(kept[1:3], (0, 1))] == [True, True]
    assert kept[3].shift[0] == pytest.approx(3, abs=0.1)


def test_every_picture_is_reported_and_what_the_report_raises_ends_the_run(source):
    seen = []

    def stop(done, total):
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep_unchanged(source, source.expand(3, -1, -1, -1), on_image=stop)
    assert seen == [(1, 3), (2, 3)]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (40, 1), (2, 3), (7, 8), (33, 17), (16, 640)])
@pytest.mark.parametrize("flat", [False, True])
def test_pictures_of_any_size_and_plainness_are_taken(height, width, flat):
    source = torch.full((1, height, width, 3), 0.3) if flat else make_photograph(2, height, width)
    same = only(keep_unchanged(source, source.clone()))
    assert torch.equal(same.image, source[0]) and same.verdict == RESTORED
    for edit in (1 - source, make_photograph(3, height + 1, width + 2)):
        kept = only(keep_unchanged(source, edit))
        assert kept.image.isfinite().all() and kept.mask.shape == kept.image.shape[:2]
        assert all(map(math.isfinite, (*kept.shift, kept.zoom, kept.changed, kept.drift)))


def test_a_changed_spot_on_a_plain_surface_is_found():
    source = torch.full((1, 128, 128, 3), 0.8)
    spot = disc((128, 128), 64, 50, 15)
    kept = only(keep_unchanged(source, torch.where(spot[..., None], 0.2, source)))
    assert kept.verdict == RESTORED and kept.shift == (0, 0) and kept.mask[spot].all()
    untouched = far_from(spot, 8)
    assert torch.equal(kept.image[untouched], source[0][untouched])


def test_neither_input_is_written_to(source, edit):
    before = source.clone(), edit.clone()
    keep_unchanged(source, edit, torch.ones(240, 320))
    assert torch.equal(source, before[0]) and torch.equal(edit, before[1])


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"source": torch.full((1, 8, 8, 3), float("nan"))}, "source: has NaN"),
        ({"edit": torch.zeros(1, 0, 8, 3)}, "edited: is empty"),
        ({"edit": torch.zeros(8, 8)}, "edited: expected"),
        ({"source": torch.zeros(2, 8, 8, 3), "edit": torch.zeros(3, 8, 8, 3)}, "edited: got 3 edit"),
        ({"source": torch.zeros(2, 8, 8, 3)}, "edited: got 1 edit"),
        ({"mask": torch.zeros(3, 8, 8)}, "mask: 3 masks"),
        ({"mask": torch.full((8, 8), float("nan"))}, "mask: has NaN"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(inputs, sentence):
    with pytest.raises(RethinkError, match=f"^{sentence}[^\n]*$"):
        keep_unchanged(**{"source": torch.zeros(1, 8, 8, 3), "edit": torch.zeros(1, 8, 8, 3), **inputs})


def test_softened_changes_are_whole_and_fade_within_a_hundredth_of_the_side():
    cells = torch.zeros(150, 200, dtype=torch.bool)
    cells[60:80, 90:120] = True
    alpha = soften_mask(cells, (600, 800))
    inside = torch.zeros(600, 800, dtype=torch.bool)
    inside[240:320, 360:480] = True
    assert (alpha[inside] == 1).all() and not alpha[far_from(inside, 9)].any()
    assert (alpha[280, 480:490].diff() <= 0).all()


def test_the_report_is_one_line_of_what_was_measured(source, edit):
    report = str(only(keep_unchanged(source, displace(edit, 6.4, -4.2, 1.02))))
    assert "\n" not in report and "+6.4" in report and "-4.2" in report and "+2.0" in report and "% changed" in report
