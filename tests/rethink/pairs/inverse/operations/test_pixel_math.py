"""Curves, noise and blur."""

import numpy as np

from rethink.pairs.inverse.operations.pixel_math import (
    blur_pixels,
    fractal_noise,
    luminance,
    sample_curve,
    to_bytes,
    to_linear,
    to_srgb,
)


def test_srgb_and_linear_light_undo_each_other():
    levels = sample_curve(to_linear)
    assert (to_bytes(255 * to_srgb(levels)) == np.arange(256)).all()
    assert abs(float(levels[128]) - 0.2158) < 1e-3


def test_noise_fills_its_range_and_follows_its_seed():
    one, two = (fractal_noise((40, 60), np.random.default_rng(1)) for _ in range(2))
    assert one.shape == (40, 60) and one.min() == 0 and abs(one.max() - 1) < 1e-6 and (one == two).all()


def test_a_blur_keeps_the_mean_on_either_way():
    image = np.zeros((200, 200, 3), np.uint8)
    image[80:120, 80:120] = 200
    for radius in (3.0, 20.0):  # the second on a smaller copy
        assert abs(blur_pixels(image, radius).mean() - image.mean()) < 1


def test_white_has_full_luminance():
    assert abs(float(luminance(np.full((2, 2, 3), 255, np.uint8)).max()) - 255) < 0.01
