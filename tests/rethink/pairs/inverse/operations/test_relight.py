"""Flat light, and hardly any."""

from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


def test_flat_light_has_less_contrast_and_darkness_less_light():
    image = draw_image()
    flat, dark = (apply_by_seed("relight", image, narrower={"kind": kind}).image for kind in ("flat", "dark"))
    assert flat.std() < image.std() and dark.mean() < 0.7 * image.mean()
