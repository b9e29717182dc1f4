"""Fill holes without a model, for operations that remove something.

A hole is filled with the part of the same image that best continues its surroundings. What still differs at its rim
is spread over it smoothly, as in Poisson image editing (Pérez et al. 2003)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from .core import Box, bounding_box

GRID = 14  # places per side that are tried as the filling
FINALISTS = 5  # of them, whose position is refined
SAMPLES = 1500  # pixels of the rim that are compared
MAX_RESIDUAL = 0.5  # of the rim's variance: a place that leaves more unexplained would be an object in the wrong place


def inpaint(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] with what is under `hole`, bool [H, W], filled from the rest of the image."""
    if hole.all() or not hole.any():
        return image
    left, top, right, bottom = _box_with_rim(hole)
    rim = grow(hole) & ~hole
    shift = _best_shift(image, hole, rim)
    window = np.s_[top:bottom, left:right]
    known = ~hole[window]
    if shift is None:
        patch = np.zeros((*known.shape, 3), np.float32)
    else:
        dy, dx = shift
        patch = image[top + dy : bottom + dy, left + dx : right + dx].astype(np.float32)
    missing = diffuse(image[window] - patch, known)
    out = image.copy()
    out[window] = np.where(known[..., None], image[window], np.clip(np.rint(patch + missing), 0, 255)).astype(np.uint8)
    return out


def grow(hole: np.ndarray, reach: int = 0) -> np.ndarray:
    """The hole with `reach` more pixels all around; 0: as many as make a rim."""
    reach = reach or max(1, min(hole.shape) // 200)
    for _ in range(2):  # down, then across
        count = np.pad(hole, [(reach + 1, reach), (0, 0)]).cumsum(0, np.int32)
        hole = (count[2 * reach + 1 :] > count[: -2 * reach - 1]).T
    return hole


def _box_with_rim(hole: np.ndarray) -> Box:
    """The box of the hole with its rim, inside the image."""
    return bounding_box(grow(hole))


def _best_shift(image: np.ndarray, hole: np.ndarray, rim: np.ndarray) -> tuple[int, int] | None:
    """(rows, columns) from the hole to the part of the image whose pixels agree best with the hole's rim, up to a
    constant color, and that shows no object of its own: the filling varies no more than its rim. None where there is no such
    place."""
    height, width = hole.shape
    left, top, right, bottom = _box_with_rim(hole)
    y, x = _sample(rim)
    inside_y, inside_x = _sample(hole)
    around = image[y, x].astype(np.float32)

    def cost(dy: int, dx: int) -> float:
        outside = not (-top <= dy <= height - bottom and -left <= dx <= width - right)
        if outside or hole[inside_y + dy, inside_x + dx].any():
            return np.inf
        rim_there, inside_there = image[y + dy, x + dx], image[inside_y + dy, inside_x + dx]
        return _variance(rim_there - around) + max(0.0, _variance(inside_there) - _variance(rim_there))

    down = np.unique(np.linspace(-top, height - bottom, GRID).astype(int)).tolist()
    across = np.unique(np.linspace(-left, width - right, GRID).astype(int)).tolist()
    best = sorted((cost(dy, dx), dy, dx) for dy in down for dx in across)[:FINALISTS]
    best = [candidate for candidate in best if candidate[0] < np.inf]
    if not best:
        return None
    stride = max(height, width) // GRID
    residual, dy, dx = min(_refine(cost, candidate, stride) for candidate in best)
    return None if residual > MAX_RESIDUAL * _variance(around) else (dy, dx)


def _variance(colors: np.ndarray) -> float:
    return float(colors.var(0).mean())


def _refine(cost: Callable[[int, int], float], best: tuple[float, int, int], stride: int) -> tuple[float, int, int]:
    """The best place around a good one, in ever smaller steps to eight neighbors."""
    while stride := stride // 2:
        _, dy, dx = best
        around = [(dy + i * stride, dx + j * stride) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
        best = min(best, *((cost(*place), *place) for place in around))
    return best


def _sample(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) of up to `SAMPLES` of a mask's pixels, evenly spaced."""
    y, x = np.nonzero(mask)
    chosen = np.linspace(0, y.size - 1, min(SAMPLES, y.size)).astype(int)
    return y[chosen], x[chosen]


def diffuse(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Floats [H, W, C] with those that are not `known`, bool [H, W], interpolated smoothly from their surroundings (push-pull)."""
    if known.all() or not known.any() or max(known.shape) < 2:
        return np.where(known[..., None], values, 0)
    height, width = known.shape
    weight = np.pad(known, ((0, height % 2), (0, width % 2))).astype(np.float32)[..., None]
    padded = np.pad(values.astype(np.float32), ((0, height % 2), (0, width % 2), (0, 0))) * weight

    def halve(array):
        return array[::2, ::2] + array[1::2, ::2] + array[::2, 1::2] + array[1::2, 1::2]

    count = halve(weight)
    coarse = diffuse(halve(padded) / np.maximum(count, 1), count[..., 0] > 0)
    up = np.stack(
        [
            np.asarray(
                Image.fromarray(np.ascontiguousarray(channel)).resize(
                    (width + width % 2, height + height % 2), Image.Resampling.BILINEAR
                )
            )
            for channel in np.moveaxis(coarse, -1, 0).astype(np.float32)
        ],
        -1,
    )
    return np.where(known[..., None], values, up[:height, :width])
