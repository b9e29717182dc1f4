"""The moving average of weights that a training keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class MovingAverage:
    """An exponential moving average of weights in float32, warmed up so that early steps do not linger."""

    def __init__(self, weights: list[nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.values = [w.detach().float().clone() for w in weights]

    @torch.no_grad()
    def update(self, weights: list[nn.Parameter], step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        fresh = [w.detach().float() for w in weights]
        # One kernel for all weights; torch has no public function for it.
        torch._foreach_lerp_(self.values, fresh, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def copy_to(self, weights: list[nn.Parameter]) -> None:
        for weight, value in zip(weights, self.values):
            weight.copy_(value)

    @contextmanager
    def in_place(self, weights: list[nn.Parameter]) -> Iterator[None]:
        """Within this context, the weights are their averages."""
        kept = [weight.detach().to("cpu", copy=True) for weight in weights]
        self.copy_to(weights)
        try:
            yield
        finally:
            with torch.no_grad():
                for weight, value in zip(weights, kept):
                    weight.copy_(value)

    def state_dict(self) -> dict:
        return {"values": self.values}

    def load_state_dict(self, state: dict) -> None:
        for mine, theirs in zip(self.values, state["values"]):
            mine.copy_(theirs)
