"""Places where a text was."""

import numpy as np

from rethink.pairs.inverse.operations import Region
from tests.support.operations import apply_by_seed


def test_a_flat_fill_is_the_color_around_it():
    image = np.full((80, 80, 3), 150, np.uint8)
    image[30:50, 30:50] = 0
    result = apply_by_seed("text_erase", image, narrower={"fill": "flat"}, region=Region((30, 30, 50, 50)))
    assert (result.image == 150).all() and result.mask.sum() == 400
