"""What every backend promises: images at a size that a thinker sees."""

import pytest
import torch

from rethink.thinkers.protocol import MAX_PIXELS, TokenUsage, resize_for_vlm


@pytest.mark.parametrize("size", [(3000, 2000), (20, 90000), (90000, 20), (1, 1), (1, 6000), (20, 6000), (1024, 1024)])
def test_pictures_are_shown_at_a_size_a_thinker_takes(size):
    seen = resize_for_vlm(torch.full((1, 1, 1, 3), 0.3).expand(1, *size, 3))
    height, width = seen.shape[1:3]
    assert height * width <= MAX_PIXELS and seen.min() > 0.29 and seen.max() < 0.31
    assert min(height, width) >= 32 and max(height, width) <= 200 * min(height, width)
    if max(size) <= 200 * min(size):
        assert width / height == pytest.approx(size[1] / size[0], rel=0.01)


def test_usage_is_summed_up():
    first, second = TokenUsage(1, 20, 3), TokenUsage(2, 5, 5)
    assert first + second == TokenUsage(3, 25, 8) and first + second - second == first
