"""What lies over a place, and what the instruction calls it."""

from rethink.pairs.inverse.operations import Region
from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


def test_a_cover_is_flat_and_named():
    result = apply_by_seed("cover", draw_image(), 3, {"shape": "square", "fill": "black"}, Region((20, 20, 60, 60)))
    assert result.template_vars["thing"] == "black square"
    assert (result.image[result.mask] == 0).all() and result.mask.sum() == 1600
