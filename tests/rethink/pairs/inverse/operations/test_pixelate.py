"""Blocks of one color."""

from rethink.pairs.inverse.operations import Region
from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


def test_a_mosaic_has_as_many_blocks_as_it_says():
    result = apply_by_seed("pixelate", draw_image(), narrower={"blocks": 8}, region=Region((20, 20, 84, 84)))
    inside = result.image[20:84, 20:84]
    blocks = inside.reshape(8, 8, 8, 8, 3).swapaxes(1, 2)
    assert (blocks == blocks[:, :, :1, :1]).all()
