"""Images without colors."""

from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


def test_all_channels_are_the_same():
    image = apply_by_seed("greyscale", draw_image()).image
    assert (image == image[..., :1]).all()
