"""A square, an ellipse or a scribble over a place."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .colors import draw_color
from .core import Box, Choice, Operation, OperationResult, Region, Rng, Values, box_mask

Shape = tuple[int, int]  # height, width


def cover(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """A square, an ellipse or a scribble of black, white, a color or noise over the place."""
    shape, fill = values["shape"], values["fill"]
    box = _square(region.box, image.shape[:2]) if shape == "square" else region.box
    mask = _SHAPES[shape](box, image.shape[:2], rng)
    out = image.copy()
    if fill == "noise":
        out[mask] = rng.integers(0, 256, (int(mask.sum()), 3), np.uint8)
        return OperationResult(out, mask, {"thing": f"{_name_shape(shape, box)} of noise"})
    color, out[mask] = draw_color(fill, rng)
    return OperationResult(out, mask, {"thing": f"{color} {_name_shape(shape, box)}"})


def _square(box: Box, shape: Shape) -> Box:
    """The square around a box, shifted into the image; a rectangle where the image is too small for it."""
    height, width = shape
    side = max(box[2] - box[0], box[3] - box[1])
    wide, high = min(side, width), min(side, height)
    left = min(max(0, (box[0] + box[2] - wide) // 2), width - wide)
    top = min(max(0, (box[1] + box[3] - high) // 2), height - high)
    return left, top, left + wide, top + high


def _name_shape(shape: str, box: Box) -> str:
    ratio = (box[2] - box[0]) / (box[3] - box[1])
    if 0.9 < ratio < 1.1:
        return {"square": "square", "ellipse": "circle", "scribble": "scribble"}[shape]
    return {"square": "rectangle", "ellipse": "ellipse", "scribble": "scribble"}[shape]


def _ellipse(box: Box, shape: Shape, rng: Rng) -> np.ndarray:
    left, top, right, bottom = box
    y, x = np.ogrid[: shape[0], : shape[1]]
    across = ((x + 0.5 - (left + right) / 2) / ((right - left) / 2)) ** 2
    down = ((y + 0.5 - (top + bottom) / 2) / ((bottom - top) / 2)) ** 2
    inside = across + down <= 1
    inside[(top + bottom) // 2, (left + right) // 2] = True  # a place of one pixel is not left empty
    return inside


def _scribble(box: Box, shape: Shape, rng: Rng) -> np.ndarray:
    """A thick pen zigzagging over the place, as a hand would."""
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    turns = int(rng.integers(5, 9))
    pen = max(2, int(high / turns * rng.uniform(0.8, 1.25)))
    along = np.linspace(0, 1, 8 * turns)
    sway = np.abs(((along * turns) % 2) - 1)  # a zigzag
    x = left + wide * np.clip(sway + rng.normal(0, 0.04, along.size), 0, 1)
    y = top + pen / 2 + (high - pen) * np.clip(along + rng.normal(0, 0.03, along.size), 0, 1)
    canvas = Image.new("1", (shape[1], shape[0]))
    pencil = ImageDraw.Draw(canvas)
    points = list(zip(x.tolist(), y.tolist()))
    pencil.line(points, fill=1, width=pen, joint="curve")
    for px, py in (points[0], points[-1]):
        pencil.ellipse((px - pen / 2, py - pen / 2, px + pen / 2, py + pen / 2), fill=1)
    return np.asarray(canvas)


_SHAPES = {"square": lambda box, shape, rng: box_mask(box, shape), "ellipse": _ellipse, "scribble": _scribble}


OPERATION = Operation(
    id="cover",
    where="region",
    hidden_what="everything under the {thing}",
    ranges={
        "shape": Choice(("square", "ellipse", "scribble")),
        "fill": Choice(("black", "white", "colour", "noise")),
    },
    apply=cover,
    templates={
        "": (
            "Remove the {thing} from {place}.",
            "Take the {thing} off {place}.",
            "Show {place} without the {thing}.",
            "Uncover {place} by removing the {thing}.",
            "Get rid of the {thing} that hides {place}.",
            "Remove the {thing}.",
            "Erase the {thing} and show what is behind it.",
            "Reveal what the {thing} is hiding.",
            "The {thing} should go; bring back what it covers.",
            "Delete the {thing} and fill in what belongs there.",
        ),
    },
)
