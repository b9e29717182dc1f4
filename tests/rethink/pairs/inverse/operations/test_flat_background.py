"""Subjects that are left alone."""

import numpy as np

from rethink.pairs.inverse.operations import Region
from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


def test_all_but_the_subject_has_the_color_that_is_named():
    image, subject = draw_image(), np.zeros((120, 160), bool)
    subject[30:90, 40:100] = True
    region = Region((40, 30, 100, 90), subject)
    result = apply_by_seed("flat_background", image, narrower={"fill": "white"}, region=region)
    assert (result.image[subject] == image[subject]).all() and (result.image[~subject] == 255).all()
    assert result.template_vars == {"colour": "white"}
