"""Black and white."""

from __future__ import annotations

import numpy as np

from .core import Operation, OperationResult, Region, Rng, Values
from .pixel_math import to_bytes


def greyscale(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """Grayscale, with channel weights that vary as those of films do."""
    weights = rng.dirichlet((6.0, 11.0, 3.0)).astype(np.float32)
    gray = to_bytes(image @ weights)
    return OperationResult(np.repeat(gray[..., None], 3, 2), region.as_mask(image))


OPERATION = Operation(
    id="greyscale",
    where="image",
    hidden_what="the colors",
    ranges={},
    apply=greyscale,
    templates={
        "": (
            "Colorize {place}.",
            "Give {place} its colors back.",
            "Colorize this picture.",
            "Add natural color to this black-and-white photo.",
            "Turn this black-and-white picture into a color photograph.",
            "Restore the colors.",
            "Make it a color photo.",
        ),
    },
)
