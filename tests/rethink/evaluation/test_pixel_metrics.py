"""What is measured of a pair without a model."""

import numpy as np

from rethink.evaluation.pixel_metrics import difference_hash, measure, shift
from tests.support.pairs import draw_image


def test_a_shift_is_measured_and_a_drawing_has_none():
    picture = draw_image(256, 256)
    assert shift(picture, picture) == 0
    assert abs(shift(np.roll(picture, 26, 0), picture) - 0.1) < 0.02
    assert shift(np.random.default_rng(0).integers(0, 255, picture.shape, np.uint8), picture) == 0
    assert difference_hash(picture) == difference_hash(picture[..., 0]) or len(difference_hash(picture)) == 16
    assert measure(picture, picture, None)["changed"] == 0
