"""A learning rate schedule over the steps of a training, or over its time budget."""

from __future__ import annotations

import math
import time
from typing import Any

from .train_loop import mean_across_processes


class TimeBudgetSchedule:
    """The factor on the learning rate: linear warmup, then cosine decay, by steps or by the clock.

    The scheduler's checkpoint keeps an object's attributes, so a resumed run knows how much time it has used.
    """

    def __init__(self, minutes: float, warmup: float):
        self.minutes, self.warmup = minutes, warmup
        self.seconds, self.done = 0.0, 0.0

    def tick(self, share: float, seconds: float) -> None:
        self.seconds = seconds
        self.done = max(share, seconds / 60 / self.minutes if self.minutes else 0)

    def __call__(self, step: int) -> float:
        if self.done < self.warmup:
            return max(self.done, 1e-3) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (self.done - self.warmup) / (1 - self.warmup))))


def end_callback(schedule: TimeBudgetSchedule, minutes: float, warmup: float, accelerator: Any) -> Any:
    """The callback that keeps time and stops the training when its time is up."""
    from transformers import TrainerCallback

    class EndOfTime(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            self.since = time.monotonic()
            # loading a checkpoint restored the values it was saved with
            schedule.minutes, schedule.warmup = minutes, warmup
            if state.max_steps:
                schedule.tick(state.global_step / state.max_steps, schedule.seconds)

        def on_optimizer_step(self, args, state, control, **kwargs):
            seconds, self.since = time.monotonic() - self.since, time.monotonic()
            schedule.tick(
                (state.global_step + 1) / state.max_steps,
                mean_across_processes(accelerator, schedule.seconds + seconds),
            )

        def on_step_end(self, args, state, control, **kwargs):
            if schedule.done >= 1:  # perhaps before the last step, where a checkpoint is saved anyway
                control.should_training_stop = control.should_save = True

    return EndOfTime()
