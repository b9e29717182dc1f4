"""When a training is ended for its losses."""

import pytest

from rethink.training.loss_watch import Diverged, LossWatch


def test_a_loss_that_rises_tenfold_ends_a_training():
    watch = LossWatch()
    for step in range(30):
        watch.look(0.5, step, ["a"])
    assert watch.calm
    with pytest.raises(Diverged, match="step 3.*pairs b.*learning rate"):
        for step in range(30, 60):
            watch.look(20.0, step, ["b"])
    assert not watch.calm


def test_a_loss_that_wavers_does_not():
    watch = LossWatch()
    for step in range(200):
        watch.look(1.0 if step % 7 == 0 else 0.05, step, ["a"])
