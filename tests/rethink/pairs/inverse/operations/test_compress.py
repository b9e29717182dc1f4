"""What a poor JPEG loses."""

import numpy as np

from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


def test_a_smaller_copy_is_farther_from_the_image():
    image = draw_image()
    narrowers = ({"factor": factor, "quality": 40, "enlarged": "smooth"} for factor in (1.0, 4.0))
    errors = [np.abs(apply_by_seed("compress", image, narrower=n).image.astype(int) - image).mean() for n in narrowers]
    assert 0 < errors[0] < errors[1]
