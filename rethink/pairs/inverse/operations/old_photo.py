"""An old photograph: sepia, faded, grained, stained and scratched."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .core import Operation, OperationResult, Range, Region, Rng, Values
from .pixel_math import fractal_noise, luminance, to_bytes

SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]], np.float32)


def old_photo(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """Sepia, faded, grained, stained and scratched."""
    height, width = shape = image.shape[:2]
    out = image.astype(np.float32)
    toned = (luminance(image)[..., None] / 255) ** 1.05 * (SEPIA.sum(1) * 255)
    out += values["sepia"] * (toned - out)
    out = 255 * (values["fade"] * 0.45 + (1 - values["fade"] * 0.6) * out / 255)
    stains = (fractal_noise(shape, rng, 3) - 0.55).clip(0)[..., None] * np.array([30, 60, 90], np.float32)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    out = out - stains + ((x * x + y * y)[..., None] - 0.5).clip(0) * 28
    out += rng.normal(0, values["grain"], shape).astype(np.float32)[..., None]
    marks = np.asarray(_scratches(shape, values["scratches"], rng), np.float32)[..., None] / 255
    words = {} if _has_color(image) else {"variant": "grey"}  # there are no colors to restore
    return OperationResult(to_bytes(out + marks * (244 - out)), region.as_mask(image), words)


def _has_color(image: np.ndarray) -> bool:
    some = image[::8, ::8]
    return bool((some.max(-1) - some.min(-1)).mean() > 4)


def _scratches(shape, number: int, rng: Rng):
    """Long thin scratches, short hairs and dust, as coverage 0…255."""
    height, width = shape
    canvas = Image.new("L", (width, height))
    pencil = ImageDraw.Draw(canvas)
    for _ in range(number):
        x, top, long = rng.uniform(0, width), rng.uniform(-0.3, 0.8) * height, rng.uniform(0.1, 0.9) * height
        steps = np.linspace(0, 1, 12)
        across = x + rng.normal(0, width * 0.01) * steps + np.cumsum(rng.normal(0, width * 0.0015, 12))
        line = list(zip(across.tolist(), (top + long * steps).tolist()))
        pencil.line(line, fill=int(rng.integers(90, 230)), width=max(1, round(min(shape) / 400 * rng.uniform(0.6, 2))))
    for _ in range(number * 6):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.gamma(1.5, min(shape) / 900)
        pencil.ellipse((x - r, y - r, x + r, y + r), fill=int(rng.integers(120, 255)))
    return canvas


OPERATION = Operation(
    id="old_photo",
    where="image",
    hidden_what="the colors",
    ranges={
        "sepia": Range(0.5, 1.0, 0.0, 1.0, "Strength of the sepia tone"),
        "fade": Range(0.2, 0.7, 0.0, 1.0, "Amount of fading"),
        "grain": Range(4.0, 14.0, 0.0, 64.0, "Amount of noise on the scale 0 to 255"),
        "scratches": Range(4, 18, 0, 100, "Number of long scratches"),
    },
    apply=old_photo,
    templates={
        "": (
            "Restore this old photo.",
            "Remove the scratches and the fading and bring back the colors.",
            "Repair the damaged photograph and colorize it.",
            "Make this old picture look as if it was taken today.",
            "Clean up the old photograph: no scratches, no stains, true colors.",
            "Restore the picture to its original quality.",
        ),
        "grey": (
            "Restore this old photo.",
            "Remove the scratches, the stains and the fading.",
            "Repair the damaged photograph.",
            "Clean up the old photograph: no scratches, no stains, no brown cast.",
            "Turn this faded picture into a clean black-and-white photo.",
            "Restore the picture to its original quality.",
        ),
    },
)
