"""A small, poor JPEG, enlarged."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from .core import Choice, Operation, OperationResult, Range, Region, Rng, Values


def compress(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """Scaled down, saved as a poor JPEG, scaled up again."""
    pil = Image.fromarray(image)
    small = pil.resize([max(1, round(side / values["factor"])) for side in pil.size], Image.Resampling.BILINEAR)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=values["quality"])
    up = Image.Resampling.NEAREST if values["enlarged"] == "blocky" else Image.Resampling.BICUBIC
    return OperationResult(np.asarray(Image.open(file).resize(pil.size, up)), region.as_mask(image))


OPERATION = Operation(
    id="compress",
    where="image",
    hidden_what="",
    ranges={
        "factor": Range(1.5, 4.5, 1.0, 16.0, "Factor by which the image is scaled down"),
        "quality": Range(8, 40, 1, 95, "JPEG quality"),
        "enlarged": Choice(("smooth", "blocky")),
    },
    apply=compress,
    templates={
        "": (
            "Enhance the quality of this picture.",
            "Remove the compression artifacts.",
            "Upscale this picture and restore its details.",
            "Turn this low-resolution image into a sharp one.",
            "Clean up the JPEG artifacts and sharpen the image.",
            "Make it high resolution.",
        ),
    },
)
