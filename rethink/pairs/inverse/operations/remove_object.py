"""Remove an object, with its fringe and its shadow."""

from __future__ import annotations

import numpy as np

from .core import Operation, OperationResult, Range, Region, Rng, Values
from .inpainting import grow, inpaint


def remove_object(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """The hole is somewhat larger than the object, whose shadow and fringe would give it away."""
    reach = max(1, round(values["margin"] * min(region.size)))
    hole = grow(region.as_mask(image), reach)
    return OperationResult(inpaint(image, hole), hole)


OPERATION = Operation(
    id="remove_object",
    where="selection",
    hidden_what="the object that was taken away",
    ranges={
        "margin": Range(0.01, 0.12, 0.0, 0.5, "Margin removed around the object, as a fraction of its shorter side"),
    },
    apply=remove_object,
    templates={
        "": (
            "Add {place}.",
            "Put {place} into the picture.",
            "Place {place} where it belongs.",
            "Insert {place} into the scene.",
            "Add the object that is missing.",
            "Bring back what was taken out of the picture.",
        ),
    },
)
