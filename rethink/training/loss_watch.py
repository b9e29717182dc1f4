"""Sees that a training goes wrong, by its losses."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from ..errors import RethinkError

EXPLOSION_STEPS, EXPLOSION_FACTOR = 10, 10.0
EXPLOSION_SAMPLES = 100  # at least: of fewer, the mean says more of the times that were drawn than of the weights


class LossWatch:
    """Sees from the losses of the steps that a training explodes: the mean of some steps is many times the lowest there was.

    samples: of a step, whose mean each loss is. calm: whether the last steps were as they should be.
    """

    def __init__(self, samples: int) -> None:
        self.calm = True
        self._steps = max(EXPLOSION_STEPS, math.ceil(EXPLOSION_SAMPLES / samples))
        self._recent: list[float] = []
        self._lowest = math.inf

    def look(self, loss: float, step: int, pairs: Sequence[str]) -> None:
        """Take note of a step's loss. Raises Diverged."""
        self._recent = [*self._recent, loss][-self._steps :]
        if len(self._recent) < self._steps:
            return
        mean = statistics.fmean(self._recent)
        self._lowest = min(self._lowest, mean)
        self.calm = mean < EXPLOSION_FACTOR / 2 * self._lowest
        if mean > EXPLOSION_FACTOR * self._lowest:
            raise Diverged(step, pairs, f"has risen to {mean / self._lowest:.0f} times its lowest")


class Diverged(RethinkError):
    """The loss is no longer one."""

    def __init__(self, step: int, pairs: Sequence[str], what: str):
        named = ", ".join(dict.fromkeys(pairs))
        super().__init__(
            f"learning_rate: the loss {what} at step {step + 1}, with the pairs {named}. Try a tenth of the learning rate, then a "
            "larger batch; look at those pairs; load the editor with bf16 or fp32."
        )
