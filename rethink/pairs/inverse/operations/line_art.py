"""A pencil drawing, an ink drawing, or an edge map."""

from __future__ import annotations

import numpy as np

from .core import Choice, Operation, OperationResult, Range, Region, Rng, Values
from .pixel_math import blur_pixels, luminance, to_bytes


def line_art(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """A pencil drawing, an ink drawing, or white edges on black."""
    gray = to_bytes(luminance(image))
    fine = max(0.6, min(image.shape[:2]) / 700 * values["width"])
    soft = blur_pixels(gray, fine).astype(np.float32)
    if values["kind"] == "pencil":  # the color dodge of an image with its own blurred negative
        around = blur_pixels(gray, 6 * fine).astype(np.float32)
        lines = (soft / np.maximum(around, 1)).clip(0, 1) ** 2.2 * 250
    elif values["kind"] == "ink":  # difference of Gaussians through a soft threshold (Winnemöller et al. 2011, XDoG)
        ridge = soft - blur_pixels(gray, 1.6 * fine)
        lines = 255 * (1 + np.tanh(0.3 * np.minimum(ridge + 1.5, 0)))
    else:
        dy, dx = np.gradient(soft)
        strength = np.hypot(dx, dy)
        lines = 255 * ((strength - 4) / max(12.0, np.quantile(strength, 0.97) - 4)).clip(0, 1)
    drawing = np.repeat(to_bytes(lines)[..., None], 3, 2)
    words = {"pencil": "pencil sketch", "ink": "line drawing", "edges": "edge map"}
    return OperationResult(drawing, region.as_mask(image), {"drawing": words[values["kind"]]})


OPERATION = Operation(
    id="line_art",
    where="image",
    hidden_what="the colors, the materials and the light",
    ranges={
        "kind": Choice(("pencil", "ink", "edges")),
        "width": Range(0.8, 2.0, 0.3, 6.0, "Line width in thousandths of the image"),
    },
    apply=line_art,
    templates={
        "": (
            "Turn this {drawing} into a photograph.",
            "Render the {drawing} as a realistic photo.",
            "Make a photo out of this {drawing}.",
            "Show the scene of this {drawing} as it looks in reality.",
            "Color and shade the {drawing} until it looks like a photograph.",
        ),
    },
)
