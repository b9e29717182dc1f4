"""How much is taken away with an object."""

import numpy as np

from rethink.pairs.inverse.operations import Region, bounding_box, get_operation
from tests.support.pairs import draw_image


def test_more_than_the_object_is_taken_away():
    hole = np.zeros((120, 160), bool)
    hole[50:100, 40:75] = True
    region = Region(bounding_box(hole), hole)
    result = get_operation("remove_object").apply(draw_image(), region, {"margin": 0.1}, np.random.default_rng(0))
    assert bounding_box(result.mask) == (36, 46, 79, 104)
