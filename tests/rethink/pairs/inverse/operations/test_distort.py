"""What moves the image itself."""

import numpy as np

from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


def test_shuffled_tiles_are_all_there():
    image = draw_image(128, 128)
    result = apply_by_seed("distort", image, narrower={"kind": "shuffle", "tiles": 2})
    tiles = [
        {part[y : y + 64, x : x + 64].tobytes() for y in (0, 64) for x in (0, 64)} for part in (image, result.image)
    ]
    assert tiles[0] == tiles[1] and result.template_vars == {"variant": "shuffled"}


def test_a_rotation_leaves_the_center_and_empties_the_corners():
    image = np.full((101, 101, 3), 200, np.uint8)
    turned = apply_by_seed("distort", image, narrower={"kind": "rotate", "angle": 30.0}).image
    assert (turned[50, 50] == 200).all() and (turned[0, 0] != 200).all()
