"""The learning rate over a training."""

from types import SimpleNamespace

import pytest

from rethink.training.time_budget import TimeBudgetSchedule, end_callback


def test_the_rate_follows_steps_or_the_clock():
    by_steps, by_time = TimeBudgetSchedule(0, 0.1), TimeBudgetSchedule(10, 0.1)
    by_steps.tick(1.0, 1)
    by_time.tick(0.01, 300)
    assert by_steps(0) == pytest.approx(0) and by_time.done == 0.5 and 0.5 < by_time(0) < 0.7


def test_a_run_that_goes_on_knows_whether_its_new_time_is_over_and_keeps_its_end():
    schedule, control = TimeBudgetSchedule(1, 0.1), SimpleNamespace(should_training_stop=False, should_save=False)
    schedule.tick(0.2, 60)  # as a checkpoint brings it back
    state = SimpleNamespace(global_step=2, max_steps=10)
    for minutes, done in ((1, 1.0), (2, 0.5), (0, 0.2)):
        callback = end_callback(schedule, minutes, 0.1, None)
        callback.on_train_begin(None, state, control)
        assert schedule.done == done
        callback.on_step_end(None, state, control)
        assert control.should_training_stop == control.should_save == (done == 1.0)
        control = SimpleNamespace(should_training_stop=False, should_save=False)
