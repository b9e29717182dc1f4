"""Compare an edit with a known target: whether the change is where the target's is, and the rest as it was.

Images are compared cell by cell, as in `preservation`, so that grain and an autoencoder's softness do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from .preservation import CELL_MOVED, cell_shift


@dataclass(frozen=True)
class TargetMatch:
    """changed: how much of the target's change was made, 0 to 1. kept: the share of the rest that is as in the source;
    None where the target changes everything."""

    changed: float
    kept: float | None


def match_target(source: Tensor, target: Tensor, edited: Tensor) -> TargetMatch:
    """Compare IMAGEs [1, H, W, 3] at the source's size. A change counts less, the farther its colors are from the target."""
    asked, made = (cell_shift(source, _resize(image, source))[0] for image in (target, edited))  # [3, rows, columns]
    strength = asked.abs().amax(0)
    where = strength > min(CELL_MOVED, float(strength.amax()) / 2)  # for a faint target, its strongest cells
    missed = (made - asked).square().sum(0)[where].sum() / asked.square().sum(0)[where].sum().clamp(min=1e-12)
    near = F.max_pool2d(where.float()[None], 3, 1, 1)[0] > 0  # the soft edge of a change belongs to it
    still = made.abs().amax(0)[~near] <= CELL_MOVED
    changed = 1 - float(missed) ** 0.5 if where.any() else 1.0
    return TargetMatch(min(1.0, max(0.0, changed)), float(still.float().mean()) if len(still) else None)


def _resize(image: Tensor, like: Tensor) -> Tensor:
    size = like.shape[1:3]
    if image.shape[1:3] == size:
        return image
    return F.interpolate(image.movedim(-1, 1), size, mode="bilinear", antialias=True).movedim(1, -1)
