"""A mosaic over a place."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .core import Operation, OperationResult, Range, Region, Rng, Values, change_inside


def pixelate(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """A mosaic with `blocks` blocks along the longer side of the place."""

    def mosaic(part: np.ndarray) -> np.ndarray:
        height, width = part.shape[:2]
        block = max(2, round(max(height, width) / values["blocks"]))
        small = (max(1, width // block), max(1, height // block))
        coarse = Image.fromarray(part).resize(small, Image.Resampling.BOX)
        return np.asarray(coarse.resize((width, height), Image.Resampling.NEAREST))

    return change_inside(image, region, mosaic)


OPERATION = Operation(
    id="pixelate",
    where="region",
    hidden_what="the details that the mosaic has taken",
    ranges={
        "blocks": Range(5, 16, 2, 64, "Blocks of the mosaic along the longer side"),
    },
    apply=pixelate,
    templates={
        "": (
            "Remove the pixelation from {place}.",
            "Restore {place} behind the mosaic.",
            "Uncensor {place}.",
            "Replace the mosaic on {place} by the real details.",
            "Remove the mosaic.",
            "Turn the pixelated area back into a clear picture.",
            "Restore the details of the pixelated part.",
            "Get rid of the big pixels.",
        ),
    },
)
