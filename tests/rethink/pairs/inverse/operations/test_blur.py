"""Detail that a blur takes away."""

import numpy as np

from rethink.pairs.inverse.operations import Region
from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


def test_a_stronger_blur_leaves_less_detail():
    image, region = draw_image(), Region((20, 20, 84, 84))
    weak, strong = (apply_by_seed("blur", image, narrower={"strength": s}, region=region).image for s in (0.02, 0.2))
    detail = [np.abs(np.diff(part[20:84, 20:84].astype(int), axis=1)).mean() for part in (image, weak, strong)]
    assert detail[0] > detail[1] > detail[2]
