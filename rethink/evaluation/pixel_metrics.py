"""Measures of a pair that need no model: whether it changed, only where it should, and whether it is a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

VISIBLE = 8  # of 255: a smaller difference is invisible
CHANGED = 0.001  # share of the pixels that visibly differ where something was changed
CERTAIN = 0.1  # minimum correlation peak for a shift to be believed; equal images have 1
SIDE = 256  # of the gray copies on which the shift is measured, in pixels


def measure(before: np.ndarray, after: np.ndarray, region: np.ndarray | None) -> dict[str, Any]:
    """Scores of a pair, input and target uint8 [H, W, 3], region bool [H, W] or None for everywhere.

    height, width: of the target. same_size. changed: share of pixels that visibly differ. outside: share of the pixels
    outside the region that differ at all. region: its share of the image. border: whether it touches the border.
    shift: how far the two seem shifted against each other, as a share of the side (only without a region).
    hash_target, hash_edit: 64-bit difference hashes of the target, and of where and how much the two differ.
    """
    height, width = after.shape[:2]
    scores: dict[str, Any] = {
        "height": height,
        "width": width,
        "same_size": before.shape == after.shape,
        "hash_target": difference_hash(after),
    }
    if not scores["same_size"]:
        return scores
    difference = np.abs(before.astype(np.int16) - after).max(-1)
    scores["hash_edit"] = difference_hash(difference.astype(np.uint8))
    scores["changed"] = round(float((difference > VISIBLE).mean()), 5)
    if region is None:
        scores["shift"] = round(shift(before, after), 5)
    else:
        edges = np.concatenate([region[0], region[-1], region[:, 0], region[:, -1]])
        outside = difference[~region]
        scores["outside"] = round(float((outside > 0).mean()), 5) if outside.size else 0.0
        scores["region"], scores["border"] = round(float(region.mean()), 5), bool(edges.any())
    return scores


def visibly_differ(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two images, uint8 [H, W, 3] of one size, visibly differ."""
    return any(  # a sixteenth of the pixels nearly always suffices
        (np.abs(before[::step, ::step].astype(np.int16) - after[::step, ::step]).max(-1) > VISIBLE).mean() >= CHANGED
        for step in (4, 1)
    )


def difference_hash(image: np.ndarray) -> str:
    """64 bits of uint8 [H, W, 3] or [H, W]: of a 9×8 gray copy, whether each pixel is brighter than the one to its right."""
    small = np.asarray(Image.fromarray(image).convert("L").resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    bits = np.packbits(small[:, :-1] > small[:, 1:])
    return bits.tobytes().hex()


def shift(before: np.ndarray, after: np.ndarray) -> float:
    """The displacement between two images by phase correlation (Kuglin and Hines 1975), as a share of the side.

    0 where the two have too little in common to tell, like an edge map and its photograph.
    """
    a, b = (_gray_square(image) for image in (before, after))
    spectrum = np.fft.rfft2(a) * np.conj(np.fft.rfft2(b))
    peak = np.fft.irfft2(spectrum / np.maximum(np.abs(spectrum), 1e-9), s=a.shape)
    if peak.max() < CERTAIN:
        return 0.0
    y, x = np.unravel_index(int(peak.argmax()), peak.shape)
    return max(min(y, SIDE - y), min(x, SIDE - x)) / SIDE


def _gray_square(image: np.ndarray) -> np.ndarray:
    gray = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    window = np.hanning(SIDE).astype(np.float32)
    values = np.asarray(gray, np.float32)
    return (values - values.mean()) * window[:, None] * window
