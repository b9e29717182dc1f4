"""Marks that can be read."""

import numpy as np

from tests.support.operations import apply_by_seed


def test_a_mark_can_be_read_on_black_and_on_white():
    for level, kind in ((0, 1), (255, -1)):
        image = np.full((100, 160, 3), level, np.uint8)
        for name in ("text", "tiled", "stamp"):
            result = apply_by_seed("watermark", image, 1, {"kind": name})
            assert (kind * (result.image.astype(int) - image)).max() > 60
