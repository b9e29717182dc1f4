"""Rain, snow and haze over a clear picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .core import Choice, Damaged, Operation, Place, Range, as_bytes, fractal_noise, luminance


def weather(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """One kind of weather, within the place."""
    kind = values["kind"]
    out = _KINDS[kind](picture.astype(np.float32), values["strength"], rng)
    return Damaged(as_bytes(out), place.region(picture), {"weather": kind})


def _haze(picture: np.ndarray, strength: float, rng) -> np.ndarray:
    """Koschmieder's law, with the depth guessed: the farther the higher in the picture, and uneven as fog is."""
    height, width = picture.shape[:2]
    depth = np.linspace(1.3, 0.5, height, dtype=np.float32)[:, None] + 0.5 * (fractal_noise((height, width), rng) - 0.5)
    seen = np.exp(-1.7 * strength * depth)[..., None]
    air = np.array([226, 230, 234], np.float32) * rng.uniform(0.9, 1.0)
    return picture * seen + air * (1 - seen)


def _rain(picture: np.ndarray, strength: float, rng) -> np.ndarray:
    """Three layers of slanted streaks, the near ones long and blurred, in a greyer and darker air."""
    height, width = picture.shape[:2]
    out = _greyer(picture, 0.35 * strength) * (1 - 0.25 * strength)
    out = _haze(out, 0.22 * strength, rng)
    slant = rng.uniform(-0.35, 0.35)
    for near in (0.4, 0.7, 1.2):
        long = min(height, width) * 0.07 * near * rng.uniform(0.8, 1.4)
        canvas = Image.new("L", (width, height))
        pencil = ImageDraw.Draw(canvas)
        for _ in range(int(480 * strength / near)):
            x, y = rng.uniform(-0.1, 1.1) * width, rng.uniform(-0.1, 1) * height
            end = long * rng.uniform(0.6, 1.3)
            light, thick = int(rng.integers(90, 200)), max(1, round(min(height, width) / 420 * near))
            pencil.line((x, y, x + slant * end, y + end), fill=light, width=thick)
        streaks = np.asarray(canvas.filter(ImageFilter.GaussianBlur(0.6 * near)), np.float32)[..., None] / 255
        out += streaks * (235 - out) * 0.6
    return out


def _snow(picture: np.ndarray, strength: float, rng) -> np.ndarray:
    """Flakes at four depths; the near ones are large, few and out of focus."""
    height, width = picture.shape[:2]
    out = _haze(_greyer(picture, 0.3 * strength), 0.25 * strength, rng)
    unit = min(height, width) / 512
    for size, number in ((1.0, 900), (1.8, 420), (3.2, 140), (6.5, 26)):
        canvas = Image.new("L", (width, height))
        pencil = ImageDraw.Draw(canvas)
        for x, y, r in zip(*_scattered(int(number * strength), size * unit, height, width, rng)):
            pencil.ellipse((x - r, y - r * 1.1, x + r, y + r * 1.1), fill=235)
        flakes = np.asarray(canvas.filter(ImageFilter.GaussianBlur(0.45 * size * unit)), np.float32)[..., None] / 255
        out += flakes * (252 - out)
    return out


def _scattered(number: int, size: float, height: int, width: int, rng):
    return rng.uniform(0, width, number), rng.uniform(0, height, number), size * rng.uniform(0.6, 1.4, number)


def _greyer(picture: np.ndarray, share: float) -> np.ndarray:
    return picture + share * (luminance(picture)[..., None] - picture)


_KINDS = {"rain": _rain, "snow": _snow, "haze": _haze}

WEATHER = (
    Operation(
        "weather",
        "Weather",
        "picture",
        "",
        {"kind": Choice(("rain", "snow", "haze")), "strength": Range(0.4, 1.0)},
        weather,
    ),
)
