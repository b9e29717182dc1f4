"""Everything but the subject in one flat color."""

from __future__ import annotations

import numpy as np

from .colors import draw_color
from .core import Choice, Operation, OperationResult, Region, Rng, Values


def flat_background(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """One flat color everywhere except the subject, which the mask selects."""
    mask = ~region.as_mask(image)
    out = image.copy()
    color, out[mask] = draw_color(values["fill"], rng)
    return OperationResult(out, mask, {"colour": color})  # the spelling in users' own templates


OPERATION = Operation(
    id="flat_background",
    where="subject",
    hidden_what="the background that the flat color has replaced",
    ranges={
        "fill": Choice(("white", "black", "grey", "colour")),
    },
    apply=flat_background,
    templates={
        "": (
            "Replace the {colour} background.",
            "Put the subject in front of a real background.",
            "Change the plain {colour} background to a real scene.",
            "Give the picture a natural background instead of {colour}.",
            "Swap the flat {colour} backdrop for the scene that was there.",
        ),
    },
)
