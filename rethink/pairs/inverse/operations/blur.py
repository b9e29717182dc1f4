"""A Gaussian blur of a place."""

from __future__ import annotations

import numpy as np

from .core import Operation, OperationResult, Range, Region, Rng, Values, change_inside
from .pixel_math import blur_pixels


def blur(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """Gaussian blur; its radius is a share of the place's shorter side."""
    return change_inside(image, region, lambda part: blur_pixels(part, max(1.0, values["strength"] * min(region.size))))


OPERATION = Operation(
    id="blur",
    where="region",
    hidden_what="the details that the blur has taken",
    ranges={
        "strength": Range(0.04, 0.16, 0.01, 1.0, "Strength of the blur"),
    },
    apply=blur,
    templates={
        "": (
            "Sharpen {place}.",
            "Remove the blur from {place}.",
            "Make {place} sharp again.",
            "Bring {place} into focus.",
            "Unblur {place}.",
            "Remove the blurred patch.",
            "Sharpen the blurred area.",
            "Restore the part that has been blurred out.",
            "Make everything in the picture equally sharp.",
        ),
    },
)
