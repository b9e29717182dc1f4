"""Operations on a place of the picture: cover, blur, pixelate."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .core import Choice, Damaged, Operation, Place, Range, blurred, box_mask

COLOURS = {
    "red": (214, 40, 40),
    "green": (34, 139, 58),
    "blue": (38, 84, 214),
    "yellow": (248, 212, 32),
    "orange": (245, 130, 32),
    "purple": (130, 60, 170),
    "pink": (244, 120, 170),
    "turquoise": (40, 190, 190),
}
PLAIN = {"black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128)}


def cover(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """A square, an ellipse or a scribble of black, white, a colour or noise over the place."""
    shape, fill = values["shape"], values["fill"]
    box = _square(place.box, picture.shape[:2]) if shape == "square" else place.box
    touched = _SHAPES[shape](box, picture.shape[:2], rng)
    out = picture.copy()
    if fill == "noise":
        out[touched] = rng.integers(0, 256, (int(touched.sum()), 3), np.uint8)
        return Damaged(out, touched, {"thing": f"{_name(shape, box)} of noise"})
    colour = fill if fill in PLAIN else list(COLOURS)[int(rng.integers(len(COLOURS)))]
    out[touched] = PLAIN.get(colour) or COLOURS[colour]
    return Damaged(out, touched, {"thing": f"{colour} {_name(shape, box)}"})


def _square(box, shape):
    """The square around a box, moved into the picture; a rectangle where the picture is too small for it."""
    height, width = shape
    side = max(box[2] - box[0], box[3] - box[1])
    wide, high = min(side, width), min(side, height)
    left = min(max(0, (box[0] + box[2] - wide) // 2), width - wide)
    top = min(max(0, (box[1] + box[3] - high) // 2), height - high)
    return left, top, left + wide, top + high


def _name(shape: str, box) -> str:
    ratio = (box[2] - box[0]) / (box[3] - box[1])
    if 0.9 < ratio < 1.1:
        return {"square": "square", "ellipse": "circle", "scribble": "scribble"}[shape]
    return {"square": "rectangle", "ellipse": "ellipse", "scribble": "scribble"}[shape]


def _ellipse(box, shape, rng):
    left, top, right, bottom = box
    y, x = np.ogrid[: shape[0], : shape[1]]
    across = ((x + 0.5 - (left + right) / 2) / ((right - left) / 2)) ** 2
    down = ((y + 0.5 - (top + bottom) / 2) / ((bottom - top) / 2)) ** 2
    inside = across + down <= 1
    inside[(top + bottom) // 2, (left + right) // 2] = True  # of a place of one pixel something remains
    return inside


def _scribble(box, shape, rng):
    """A thick pen going to and fro over the place, as a hand does."""
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    turns = int(rng.integers(5, 9))
    pen = max(2, int(high / turns * rng.uniform(0.8, 1.25)))
    along = np.linspace(0, 1, 8 * turns)
    sway = np.abs(((along * turns) % 2) - 1)  # a zigzag
    x = left + wide * np.clip(sway + rng.normal(0, 0.04, along.size), 0, 1)
    y = top + pen / 2 + (high - pen) * np.clip(along + rng.normal(0, 0.03, along.size), 0, 1)
    canvas = Image.new("1", shape[::-1])
    pencil = ImageDraw.Draw(canvas)
    points = list(zip(x.tolist(), y.tolist()))
    pencil.line(points, fill=1, width=pen, joint="curve")
    for px, py in (points[0], points[-1]):
        pencil.ellipse((px - pen / 2, py - pen / 2, px + pen / 2, py + pen / 2), fill=1)
    return np.asarray(canvas)


_SHAPES = {"square": lambda box, shape, rng: box_mask(box, shape), "ellipse": _ellipse, "scribble": _scribble}


def blur(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """Gaussian blur; its radius is a share of the place's shorter side."""
    return _within(picture, place, lambda part: blurred(part, max(1.0, values["strength"] * min(place.size))))


def pixelate(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """A mosaic of so many blocks along the longer side of the place."""

    def mosaic(part: np.ndarray) -> np.ndarray:
        height, width = part.shape[:2]
        block = max(2, round(max(height, width) / values["blocks"]))
        small = (max(1, width // block), max(1, height // block))
        coarse = Image.fromarray(part).resize(small, Image.Resampling.BOX)
        return np.asarray(coarse.resize((width, height), Image.Resampling.NEAREST))

    return _within(picture, place, mosaic)


def _within(picture: np.ndarray, place: Place, change) -> Damaged:
    left, top, right, bottom = place.box
    out = picture.copy()
    out[top:bottom, left:right] = change(picture[top:bottom, left:right])
    return Damaged(out, place.region(picture))


LOCAL = (
    Operation(
        "cover",
        "Cover",
        "place",
        "everything under the {thing}",
        {"shape": Choice(("square", "ellipse", "scribble")), "fill": Choice(("black", "white", "colour", "noise"))},
        cover,
    ),
    Operation("blur", "Blur", "place", "the details that the blur has taken", {"strength": Range(0.04, 0.16)}, blur),
    Operation(
        "pixelate", "Pixelate", "place", "the details that the mosaic has taken", {"blocks": Range(5, 16)}, pixelate
    ),
)
