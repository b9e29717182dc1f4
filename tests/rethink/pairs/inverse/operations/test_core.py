"""Ranges that a user narrows, and places by rule."""

import numpy as np
import pytest

from rethink.errors import RethinkError
from rethink.pairs.inverse.operations import get_operation, sample_region
from tests.support.pairs import draw_image


def test_ranges_can_be_narrowed_and_nothing_else():
    blur = get_operation("blur")
    values = [blur.draw(np.random.default_rng(seed), {"strength": [0.05, 0.06]})["strength"] for seed in range(20)]
    assert all(0.05 <= value <= 0.06 for value in values)
    assert get_operation("cover").draw(np.random.default_rng(0), {"fill": "white"})["fill"] == "white"
    for id, wrong in (
        ("blur", {"radius": 3}),
        ("blur", {"strength": [3, 1]}),
        ("cover", {"fill": ["plaid"]}),
        ("blur", {"strength": "much"}),
    ):
        with pytest.raises(RethinkError, match=id):
            get_operation(id).draw(np.random.default_rng(0), wrong)


@pytest.mark.parametrize(
    ("id", "narrower"), [("compress", {"quality": 500}), ("compress", {"factor": [0, 2]}), ("distort", {"tiles": 1})]
)
def test_what_makes_no_sense_is_refused(id, narrower):
    with pytest.raises(RethinkError, match="expected a number"):
        get_operation(id).narrow(narrower)


def test_regions_by_rule_keep_their_share_and_stay_inside():
    image = draw_image(90, 240)
    for seed in range(50):
        left, top, right, bottom = sample_region(image, np.random.default_rng(seed), (0.05, 0.1)).box
        assert 0 <= left < right <= 240 and 0 <= top < bottom <= 90
        assert 0.03 < (right - left) * (bottom - top) / (90 * 240) < 0.11
