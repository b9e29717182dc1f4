"""Edits of the built-in world with captions of both images, for the trade-off curves of editors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..benchmarking.trade_off import CurveItem
from .scene import Scene, render
from .tasks import sample_task

if TYPE_CHECKING:
    from torch import Tensor


SCENES = 40  # enough for intervals, and a few minutes


def sample_items(count: int, seed: int = 0) -> list[CurveItem]:
    """`count` plain tasks, from this seed on, like those of *Built-in Scene*."""
    tasks = [sample_task(seed + number) for number in range(count)]
    return [CurveItem(_Draw(t.source), t.instruction, t.source.caption, t.target.caption) for t in tasks]


@dataclass(frozen=True)
class _Draw:
    scene: Scene

    def __call__(self) -> Tensor:
        return render([self.scene])
