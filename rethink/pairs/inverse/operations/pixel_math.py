"""Arithmetic on pixels that several operations share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter


def blur_pixels(image: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of uint8 [H, W] or [H, W, 3]. A large radius is applied to a smaller copy, which looks the same."""
    shrink = max(1, int(radius / 8))
    pil = Image.fromarray(image)
    if shrink == 1:
        return np.asarray(pil.filter(ImageFilter.GaussianBlur(radius)))
    small = pil.resize([max(1, side // shrink) for side in pil.size], Image.Resampling.BOX)
    small = small.filter(ImageFilter.GaussianBlur(radius / shrink))
    return np.asarray(small.resize(pil.size, Image.Resampling.BICUBIC))


def fractal_noise(shape: tuple[int, int], rng: np.random.Generator, cells: int = 4, octaves: int = 4) -> np.ndarray:
    """Smooth random float32 [H, W] in 0…1: a few grids of noise, each twice as fine and half as strong."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        grid = rng.random((cells << octave, cells << octave), np.float32)
        image = Image.fromarray(grid).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
        total += np.asarray(image) / (1 << octave)
    low, high = total.min(), total.max()
    return (total - low) / max(high - low, 1e-6)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Floats on the scale 0…255 as uint8, rounded."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def luminance(image: np.ndarray) -> np.ndarray:
    """float32 [H, W] on the scale 0…255 (Rec. 601)."""
    return image @ np.array([0.299, 0.587, 0.114], np.float32)


def sample_curve(curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What a curve over 0…1 gives for each of the 256 values of a byte."""
    return curve(np.arange(256, dtype=np.float32) / 255)


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values, both in 0…1 (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """sRGB values of linear light, clipped to 0…1."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
