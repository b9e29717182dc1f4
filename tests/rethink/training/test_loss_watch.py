"""When a training is ended for its losses."""

import random
from math import exp
from statistics import fmean

import pytest

from rethink.training.loss_watch import Diverged, LossWatch


def test_a_loss_that_rises_tenfold_ends_a_training():
    watch = LossWatch(samples=4)
    for step in range(30):
        watch.look(0.5, step, ["a"])
    assert watch.calm
    with pytest.raises(Diverged, match="step 3.*pairs b.*learning rate"):
        for step in range(30, 60):
            watch.look(20.0, step, ["b"])
    assert not watch.calm


def test_a_loss_that_wavers_does_not():
    watch = LossWatch(samples=4)
    for step in range(200):
        watch.look(1.0 if step % 7 == 0 else 0.05, step, ["a"])


@pytest.mark.parametrize("samples", [1, 2, 4, 16])
def test_samples_of_very_unequal_times_do_not(samples):
    """The loss of a sample is near 1 where little noise was added, and a thousandth of that where much was."""
    for seed in range(20):
        rng, watch = random.Random(seed), LossWatch(samples)
        for step in range(1000):
            watch.look(fmean(1e-3 + exp(-8 * rng.random()) for _ in range(samples)), step, ["a"])
