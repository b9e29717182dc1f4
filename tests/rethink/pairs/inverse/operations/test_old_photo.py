"""Which colors an old photograph can get back."""

import numpy as np

from rethink.pairs.inverse.instructions import find_templates
from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


def test_nobody_is_asked_to_color_what_never_had_colors():
    image = draw_image()
    gray = np.repeat(image[..., 1:2], 3, 2)
    assert apply_by_seed("old_photo", image).template_vars == {}
    assert apply_by_seed("old_photo", gray).template_vars == {"variant": "grey"}
    assert any("color" in template for template in find_templates("old_photo", {}))
    assert not any("color" in template for template in find_templates("old_photo", {"variant": "grey"}))
