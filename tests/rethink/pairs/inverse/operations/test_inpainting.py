"""Holes that are filled from the rest of the image."""

import numpy as np

from rethink.pairs.inverse.operations.inpainting import inpaint


def test_a_hole_in_a_pattern_is_filled_with_the_pattern():
    y, x = np.mgrid[:128, :128]
    image = np.repeat((((x // 8 + y // 8) % 2) * 200 + 20).astype(np.uint8)[..., None], 3, 2)
    hole = np.zeros((128, 128), bool)
    hole[48:72, 48:72] = True
    damaged = image.copy()
    damaged[hole] = 0
    mended = inpaint(damaged, hole)
    assert np.abs(mended[hole].astype(int) - image[hole]).mean() < 40  # a flat fill is off by 100
    assert (mended[~hole] == image[~hole]).all()


def test_a_hole_that_nothing_fits_is_not_filled_with_another_thing():
    """Between dark and light; the only place that is somewhat like that holds a yellow thing."""
    image = np.full((140, 200, 3), 128, np.uint8)
    image[49:91, 29:50], image[49:91, 50:71] = 20, 220
    image[43:103, 112:142], image[43:103, 142:172] = 108, 148
    hole = np.zeros((140, 200), bool)
    hole[50:90, 30:70] = True
    image[np.roll(hole, (3, 92), (0, 1))] = (240, 220, 30)
    filled = inpaint(image, hole)[hole].astype(int)
    assert np.abs(filled[:, 0] - filled[:, 2]).max() < 10, "it has turned yellow"
