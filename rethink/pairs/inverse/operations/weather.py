"""Rain, snow and haze over a clear view."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .core import Choice, Operation, OperationResult, Range, Region, Rng, Values
from .pixel_math import fractal_noise, luminance, to_bytes


def weather(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """One kind of weather, within the region."""
    kind = values["kind"]
    out = _KINDS[kind](image.astype(np.float32), values["strength"], rng)
    return OperationResult(to_bytes(out), region.as_mask(image), {"weather": kind})


def _haze(image: np.ndarray, strength: float, rng: Rng) -> np.ndarray:
    """Koschmieder's law with a guessed depth: higher in the image is farther away, with the unevenness of fog."""
    height, width = image.shape[:2]
    depth = np.linspace(1.3, 0.5, height, dtype=np.float32)[:, None] + 0.5 * (fractal_noise((height, width), rng) - 0.5)
    seen = np.exp(-1.7 * strength * depth)[..., None]
    air = np.array([226, 230, 234], np.float32) * rng.uniform(0.9, 1.0)
    return image * seen + air * (1 - seen)


def _rain(image: np.ndarray, strength: float, rng: Rng) -> np.ndarray:
    """Three layers of slanted streaks, the near ones long and blurred, in grayer and darker air."""
    height, width = image.shape[:2]
    out = _grayer(image, 0.35 * strength) * (1 - 0.25 * strength)
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


def _snow(image: np.ndarray, strength: float, rng: Rng) -> np.ndarray:
    """Flakes at four depths; the near ones are large, few and out of focus."""
    height, width = image.shape[:2]
    out = _haze(_grayer(image, 0.3 * strength), 0.25 * strength, rng)
    unit = min(height, width) / 512
    for size, number in ((1.0, 900), (1.8, 420), (3.2, 140), (6.5, 26)):
        canvas = Image.new("L", (width, height))
        pencil = ImageDraw.Draw(canvas)
        for x, y, r in zip(*_scattered(int(number * strength), size * unit, height, width, rng)):
            pencil.ellipse((x - r, y - r * 1.1, x + r, y + r * 1.1), fill=235)
        flakes = np.asarray(canvas.filter(ImageFilter.GaussianBlur(0.45 * size * unit)), np.float32)[..., None] / 255
        out += flakes * (252 - out)
    return out


def _scattered(number: int, size: float, height: int, width: int, rng: Rng):
    return rng.uniform(0, width, number), rng.uniform(0, height, number), size * rng.uniform(0.6, 1.4, number)


def _grayer(image: np.ndarray, share: float) -> np.ndarray:
    return image + share * (luminance(image)[..., None] - image)


_KINDS = {"rain": _rain, "snow": _snow, "haze": _haze}


OPERATION = Operation(
    id="weather",
    where="image",
    hidden_what="",
    ranges={
        "kind": Choice(("rain", "snow", "haze")),
        "strength": Range(0.4, 1.0, 0.01, 1.0, "Strength of the weather"),
    },
    apply=weather,
    templates={
        "": (
            "Remove the {weather}.",
            "Clear the weather; no more {weather}.",
            "Show the same scene without {weather}.",
            "Make the {weather} disappear.",
            "Take away the {weather} and restore the clear view.",
        ),
    },
)
