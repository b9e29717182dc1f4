"""Every operation on real photographs: what it must not touch it does not touch, and the same seed does the same."""

import numpy as np
import pytest

from rethink.errors import RethinkError
from rethink.pairs.inverse.instructions import templates_of
from rethink.pairs.inverse.operations import OPERATIONS, Place, box_of, damage, operation, sample_region, whole
from rethink.pairs.inverse.operations.fill import fill

from .conftest import drawn, photographs

PHOTOGRAPHS = photographs()


def somewhere(op, picture, rng):
    height, width = picture.shape[:2]
    box = (width // 4, height // 4, width // 2, height // 2)
    if op.where == "subject":
        y, x = np.ogrid[:height, :width]
        mask = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(height, width) / 4) ** 2
        return Place(box_of(mask), mask)
    return {"given": Place(box), "place": sample_region(picture, rng)}.get(op.where, whole(picture))


def apply(id, picture, seed=0, narrower=None, place=None):
    rng = np.random.default_rng(seed)
    op = operation(id)
    values = op.draw(rng, narrower or {})
    return damage(op, picture, place or somewhere(op, picture, rng), values, rng)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("id", OPERATIONS)
def test_pixels_outside_are_bit_identical_and_inside_something_changes(id, name):
    picture = PHOTOGRAPHS[name]
    before = picture.copy()
    for seed in range(3):
        made = apply(id, picture, seed)
        assert made.picture.dtype == np.uint8 and made.picture.shape == picture.shape
        assert made.touched.shape == picture.shape[:2] and made.touched.any()
        assert (made.picture[~made.touched] == picture[~made.touched]).all()
        assert (made.picture != picture).any()
    assert (picture == before).all(), "the original was written to"


@pytest.mark.parametrize("id", OPERATIONS)
def test_a_seed_says_everything(id):
    picture = drawn()
    assert (apply(id, picture, 7).picture == apply(id, picture, 7).picture).all()
    parameters = [operation(id).draw(np.random.default_rng(seed), {}) for seed in range(8)]
    if operation(id).ranges:
        assert any(values != parameters[0] for values in parameters)


@pytest.mark.parametrize("size", [(16, 16), (16, 300), (257, 31), (97, 101)])
@pytest.mark.parametrize("id", OPERATIONS)
def test_odd_sizes(id, size):
    picture = drawn(64, 64)[:16, :16] if size == (16, 16) else np.resize(drawn(), (*size, 3))
    for seed in range(3):
        assert apply(id, np.ascontiguousarray(picture), seed).picture.shape == (*size, 3)


@pytest.mark.parametrize(
    ("id", "choices"),
    [
        (
            "cover",
            [
                {"shape": shape, "fill": fill}
                for shape in ("square", "ellipse", "scribble")
                for fill in ("black", "white", "colour", "noise")
            ],
        ),
        ("weather", [{"kind": kind} for kind in ("rain", "snow", "haze")]),
        ("distort", [{"kind": kind} for kind in ("rotate", "perspective", "shuffle")]),
        ("exposure", [{"kind": kind} for kind in ("dark", "bright", "cast")]),
        ("relight", [{"kind": kind} for kind in ("flat", "dark")]),
        ("line_art", [{"kind": kind} for kind in ("pencil", "ink", "edges")]),
        ("watermark", [{"kind": kind} for kind in ("text", "tiled", "stamp")]),
    ],
)
def test_every_kind_does_something_of_its_own(id, choices):
    results = [apply(id, drawn(), 1, narrower).picture.tobytes() for narrower in choices]
    assert len(set(results)) == len(choices)


def test_a_cover_is_flat_and_named():
    made = apply("cover", drawn(), 3, {"shape": "square", "fill": "black"}, Place((20, 20, 60, 60)))
    assert made.words["thing"] == "black square"
    assert (made.picture[made.touched] == 0).all() and made.touched.sum() == 1600


def test_a_mask_limits_what_is_done_to_the_whole_picture():
    picture = drawn()
    mask = np.zeros(picture.shape[:2], bool)
    mask[10:30, 10:50] = True
    for id in ("greyscale", "weather", "old_photo", "compress", "relight", "exposure", "line_art"):
        made = apply(id, picture, 2, place=Place(box_of(mask), mask))
        assert (made.touched == mask).all() and (made.picture[~mask] == picture[~mask]).all()


def test_a_hole_in_a_pattern_is_filled_with_the_pattern():
    y, x = np.mgrid[:128, :128]
    picture = np.repeat((((x // 8 + y // 8) % 2) * 200 + 20).astype(np.uint8)[..., None], 3, 2)
    hole = np.zeros((128, 128), bool)
    hole[48:72, 48:72] = True
    damaged = picture.copy()
    damaged[hole] = 0
    mended = fill(damaged, hole)
    assert np.abs(mended[hole].astype(int) - picture[hole]).mean() < 40  # a flat fill is off by 100
    assert (mended[~hole] == picture[~hole]).all()


def test_a_hole_that_nothing_fits_is_not_filled_with_another_thing():
    """Between dark and light; the only place that is somewhat like that holds a yellow thing."""
    picture = np.full((140, 200, 3), 128, np.uint8)
    picture[49:91, 29:50], picture[49:91, 50:71] = 20, 220
    picture[43:103, 112:142], picture[43:103, 142:172] = 108, 148
    hole = np.zeros((140, 200), bool)
    hole[50:90, 30:70] = True
    picture[np.roll(hole, (3, 92), (0, 1))] = (240, 220, 30)
    filled = fill(picture, hole)[hole].astype(int)
    assert np.abs(filled[:, 0] - filled[:, 2]).max() < 10, "it has turned yellow"


def test_more_than_the_object_is_taken_away():
    hole = np.zeros((120, 160), bool)
    hole[50:100, 40:75] = True
    made = operation("remove_object").apply(drawn(), Place(box_of(hole), hole), {"margin": 0.1}, None)
    assert box_of(made.touched) == (36, 46, 79, 104)


def test_a_mark_can_be_read_on_black_and_on_white():
    for level, kind in ((0, 1), (255, -1)):
        picture = np.full((100, 160, 3), level, np.uint8)
        for name in ("text", "tiled", "stamp"):
            made = apply("watermark", picture, 1, {"kind": name})
            assert (kind * (made.picture.astype(int) - picture)).max() > 60


def test_ranges_can_be_narrowed_and_nothing_else():
    op = operation("blur")
    values = [op.draw(np.random.default_rng(seed), {"strength": [0.05, 0.06]})["strength"] for seed in range(20)]
    assert all(0.05 <= value <= 0.06 for value in values)
    assert operation("cover").draw(np.random.default_rng(0), {"fill": "white"})["fill"] == "white"
    for id, wrong in (
        ("blur", {"radius": 3}),
        ("blur", {"strength": [3, 1]}),
        ("cover", {"fill": ["plaid"]}),
        ("blur", {"strength": "much"}),
    ):
        with pytest.raises(RethinkError, match=id):
            operation(id).draw(np.random.default_rng(0), wrong)
    with pytest.raises(RethinkError, match="cover"):
        operation("explode")


@pytest.mark.parametrize(
    ("id", "narrower"), [("compress", {"quality": 500}), ("compress", {"factor": [0, 2]}), ("distort", {"tiles": 1})]
)
def test_what_makes_no_sense_is_refused(id, narrower):
    with pytest.raises(RethinkError, match="expected a number"):
        operation(id).narrowed(narrower)


def test_places_by_rule_keep_their_share_and_stay_inside():
    picture = drawn(90, 240)
    for seed in range(50):
        left, top, right, bottom = sample_region(picture, np.random.default_rng(seed), (0.05, 0.1)).box
        assert 0 <= left < right <= 240 and 0 <= top < bottom <= 90
        assert 0.03 < (right - left) * (bottom - top) / (90 * 240) < 0.11


@pytest.mark.parametrize("sides", ["left and right", "top and bottom", "all"])
def test_however_much_is_cut_something_is_left(sides):
    made = apply("crop_pad", drawn(), 3, {"sides": sides, "cut": 0.8})
    assert 0.03 < (~made.touched).mean() < 0.25


def test_nobody_is_asked_to_colour_what_never_had_colours():
    picture = drawn()
    grey = np.repeat(picture[..., 1:2], 3, 2)
    assert apply("old_photo", picture).words == {} and apply("old_photo", grey).words == {"variant": "grey"}
    assert not any("colour" in template for template in templates_of("old_photo", {"variant": "grey"}))
