"""The average of weights: how it follows them, and that it stands in for them."""

import pytest
import torch

from rethink.training.moving_average import MovingAverage


def test_the_average_follows_the_weights_quickly_at_first():
    weight = torch.nn.Parameter(torch.zeros(2))
    average = MovingAverage([weight], 0.999)
    with torch.no_grad():
        weight.fill_(1.0)
    average.update([weight], 0)
    assert average.values[0].tolist() == pytest.approx([0.9, 0.9])
    average.copy_to([weight])
    assert weight.tolist() == pytest.approx([0.9, 0.9])


def test_within_in_place_the_weights_are_their_averages():
    weight = torch.nn.Parameter(torch.zeros(2))
    average = MovingAverage([weight], 0.5)
    with torch.no_grad():
        weight.fill_(1.0)
    average.update([weight], 100)
    with average.in_place([weight]):
        assert weight.tolist() == [0.5, 0.5]
    assert weight.tolist() == [1.0, 1.0]
