"""How much of an image is left."""

import pytest

from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


@pytest.mark.parametrize("sides", ["left and right", "top and bottom", "all"])
def test_however_much_is_cut_something_is_left(sides):
    result = apply_by_seed("crop_pad", draw_image(), 3, {"sides": sides, "cut": 0.8})
    assert 0.03 < (~result.mask).mean() < 0.25
