"""Light that is flat or too dim."""

from __future__ import annotations

import numpy as np

from .core import Choice, Operation, OperationResult, Range, Region, Rng, Values
from .pixel_math import blur_pixels, luminance, sample_curve, to_bytes, to_linear, to_srgb


def relight(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """Flatten: remove the large differences in light. Darken: dusk, with the remaining light from one side."""
    if values["kind"] == "flat":
        light = blur_pixels(to_bytes(luminance(image)), max(image.shape[:2]) * 0.08).astype(np.float32) + 8
        gain = (light.mean() / light) ** (0.9 * values["strength"])
        out = image * gain[..., None]
        out = 128 + (out - 128) * (1 - 0.35 * values["strength"])
        return OperationResult(to_bytes(out), region.as_mask(image), {"variant": "flat"})
    height, width = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    side = (x * np.cos(angle) + y * np.sin(angle)) / 2.8 + 0.5
    light = (1 - values["strength"]) * (0.35 + 0.9 * side.clip(0, 1))
    dusk = np.array([0.82, 0.92, 1.1], np.float32)
    out = 255 * to_srgb(sample_curve(to_linear)[image] * (light**1.6)[..., None] * dusk)
    return OperationResult(to_bytes(out), region.as_mask(image), {"variant": "dark"})


OPERATION = Operation(
    id="relight",
    where="image",
    hidden_what="where the light comes from, its color and its mood",
    ranges={
        "kind": Choice(("flat", "dark")),
        "strength": Range(0.55, 0.8, 0.01, 1.0, "Strength of the effect"),
    },
    apply=relight,
    templates={
        "flat": (
            "Give this flat picture its light back.",
            "Relight the scene with natural light and shadow.",
            "Add depth and contrast to the lighting.",
            "Make the lighting less flat.",
            "Light the scene so that it has volume.",
        ),
        "dark": (
            "Turn on the light.",
            "Relight this dark scene.",
            "Light the scene properly.",
            "Show the scene in full light.",
            "Take away the darkness and light everything well.",
        ),
    },
)
