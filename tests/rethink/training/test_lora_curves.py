"""Curves with few points that say what many steps did."""

import pytest

from rethink.training.lora_curves import MOST_POINTS, loss_curves


def test_few_steps_are_each_a_point():
    raw, smooth = loss_curves([4.0, 2.0, 2.0])
    assert raw == [(1, 4.0), (2, 2.0), (3, 2.0)]
    assert smooth[0] == (1, 4.0) and 2 < smooth[2][1] < smooth[1][1] < 4


def test_many_steps_are_means_of_neighbors_and_the_last_step_is_there():
    raw, smooth = loss_curves([float(step % 2) for step in range(5001)])
    assert len(raw) == len(smooth) <= MOST_POINTS
    assert raw[-1][0] == smooth[-1][0] == 5001 and raw[0] == (21, pytest.approx(10 / 21, rel=1e-4))
    assert all(abs(value - 0.5) < 0.05 for _, value in smooth)


def test_no_steps_no_curves():
    assert loss_curves([]) == ([], [])
