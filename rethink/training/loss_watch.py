"""Detects from the losses that a training goes wrong."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from ..errors import RethinkError

EXPLOSION_STEPS, EXPLOSION_FACTOR = 10, 10.0
EXPLOSION_SAMPLES = 100  # at least: with fewer, the mean depends more on the timesteps drawn than on the weights
LISTED = 12  # pairs in one message


class LossWatch:
    """Detects a loss explosion: the mean over recent steps is many times the lowest so far.

    samples: the number of samples per step. lowest: the mean loss before training, if known. calm: whether the recent steps look
    normal.
    """

    def __init__(self, samples: int, lowest: float = math.inf) -> None:
        self.calm = True
        self._steps = max(EXPLOSION_STEPS, math.ceil(EXPLOSION_SAMPLES / samples))
        self._recent: list[float] = []
        self._lowest = lowest

    def look(self, loss: float, step: int, pairs: Sequence[str]) -> None:
        """Record the loss of a step. Raises Diverged."""
        self._recent = [*self._recent, loss][-self._steps :]
        if len(self._recent) < self._steps:
            return
        mean = statistics.fmean(self._recent)
        self._lowest = min(self._lowest, mean)
        self.calm = mean < EXPLOSION_FACTOR / 2 * self._lowest
        if mean > EXPLOSION_FACTOR * self._lowest:
            raise Diverged(step, pairs, f"has risen to {mean / self._lowest:.0f} times its lowest")


class Diverged(RethinkError):
    """The loss has exploded or is not a number."""

    def __init__(self, step: int, pairs: Sequence[str], what: str):
        names = list(dict.fromkeys(pairs))
        named = ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
        which, look = (f", with the pairs {named}", " look at those pairs;") if names else ("", "")
        super().__init__(
            f"learning_rate: the loss {what} at step {step + 1}{which}. Try a tenth of the learning rate, then a larger batch;{look} "
            "train in bf16 or fp32, not fp16."
        )
