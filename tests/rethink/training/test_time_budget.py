"""The learning rate over a training."""

import pytest

from rethink.training.time_budget import TimeBudgetSchedule


def test_the_rate_follows_steps_or_the_clock():
    by_steps, by_time = TimeBudgetSchedule(0, 0.1), TimeBudgetSchedule(10, 0.1)
    by_steps.tick(1.0, 1)
    by_time.tick(0.01, 300)
    assert by_steps(0) == pytest.approx(0) and by_time.done == 0.5 and 0.5 < by_time(0) < 0.7
