"""Only a part of the image is left, padded to its size."""

from __future__ import annotations

import numpy as np

from .colors import PLAIN
from .core import Choice, Operation, OperationResult, Range, Region, Rng, Values, box_mask

SIDES = {
    "left": (1, 0, 0, 0),
    "right": (0, 0, 1, 0),
    "top": (0, 1, 0, 0),
    "bottom": (0, 0, 0, 1),
    "left and right": (1, 0, 1, 0),
    "top and bottom": (0, 1, 0, 1),
    "all": (1, 1, 1, 1),
}
MAX_CUT = 0.8  # of the width or height


def crop_pad(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """Only a part of the image is left, where it was; the rest of the canvas is one flat color."""
    height, width = image.shape[:2]
    cut = [values["cut"] * on * rng.uniform(0.6, 1) for on in SIDES[values["sides"]]]
    for side in (0, 1):  # something remains between two opposite cuts
        shrink = MAX_CUT / max(MAX_CUT, cut[side] + cut[side + 2])
        cut[side], cut[side + 2] = cut[side] * shrink, cut[side + 2] * shrink
    left, right = round(cut[0] * width), width - round(cut[2] * width)
    top, bottom = round(cut[1] * height), height - round(cut[3] * height)
    mask = ~box_mask((left, top, right, bottom), (height, width))
    out = image.copy()
    out[mask] = PLAIN[values["fill"]]
    sides = "every side" if values["sides"] == "all" else f"the {values['sides']}"
    return OperationResult(out, mask, {"sides": sides, "fill": values["fill"]})


OPERATION = Operation(
    id="crop_pad",
    where="own",
    hidden_what="what lies outside the part that is left",
    ranges={
        "sides": Choice(tuple(SIDES)),
        "cut": Range(0.15, 0.4, 0.05, 0.8, "Fraction of the side that is cut off"),
        "fill": Choice(("white", "black", "grey")),
    },
    apply=crop_pad,
    templates={
        "": (
            "Extend the picture on {sides}.",
            "Fill the {fill} area on {sides} with what belongs there.",
            "Outpaint the {fill} border.",
            "Continue the scene beyond its edge on {sides}.",
            "Replace the {fill} padding by the rest of the scene.",
            "Show what lies outside the frame.",
        ),
    },
)
