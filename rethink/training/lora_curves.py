"""Training curves for plotting, reduced to few points however many steps there were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_POINTS = 240  # of a curve
SMOOTH = 1 / 12  # share of all points that the smoothed curve averages over

Curve = list[tuple[int, float]]  # (step, value)


def loss_curves(losses: Sequence[float]) -> tuple[Curve, Curve]:
    """(the mean of every few steps, the same smoothed), from the losses of the steps from 1 on.

    The smoothed curve is an exponential moving average with the bias correction of Adam's moments (arXiv 1412.6980).
    """
    if not losses:
        return [], []
    size = -(-len(losses) // MOST_POINTS)
    starts = np.arange(0, len(losses), size)
    ends = np.minimum(starts + size, len(losses))
    means = np.add.reduceat(np.asarray(losses, np.float64), starts) / (ends - starts)
    memory = max(2.0, SMOOTH * len(means))
    keep, moment, smooth = 1 - 1 / memory, 0.0, []
    for count, value in enumerate(means.tolist(), 1):
        moment = keep * moment + (1 - keep) * value
        smooth.append(moment / (1 - keep**count))
    return _curve(ends, means.tolist()), _curve(ends, smooth)


def _curve(steps: np.ndarray, values: Sequence[float]) -> Curve:
    return [(int(step), float(f"{value:.5g}")) for step, value in zip(steps, values)]
