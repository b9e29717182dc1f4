"""Text erased from its background."""

from __future__ import annotations

import numpy as np

from .core import Choice, Operation, OperationResult, Region, Rng, Values
from .inpainting import grow, inpaint


def text_erase(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """Fill the place from its surroundings, or with the color around it."""
    hole = region.as_mask(image)
    if values["fill"] == "surroundings":
        return OperationResult(inpaint(image, hole), hole)
    out = image.copy()
    ring = grow(hole) & ~hole
    out[hole] = np.median(image[ring if ring.any() else hole], 0).astype(np.uint8)
    return OperationResult(out, hole)


OPERATION = Operation(
    id="text_erase",
    where="selection",
    hidden_what="the text that was erased, letter for letter",
    ranges={
        "fill": Choice(("surroundings", "flat")),
    },
    apply=text_erase,
    templates={
        "": (
            "Write the text on {place}.",
            "Put the lettering back on {place}.",
            "Add the missing text.",
            "Write the text where it was erased.",
            "Restore the erased writing.",
        ),
    },
)
