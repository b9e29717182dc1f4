"""Operations on the frame and the layout of a picture: crop and pad, rotate, perspective, tile shuffle; and drawings."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .core import Choice, Damaged, Operation, Place, Range, as_bytes, blurred, box_mask, luminance
from .obscure import PLAIN

SIDES = {
    "left": (1, 0, 0, 0),
    "right": (0, 0, 1, 0),
    "top": (0, 1, 0, 0),
    "bottom": (0, 0, 0, 1),
    "left and right": (1, 0, 1, 0),
    "top and bottom": (0, 1, 0, 1),
    "all": (1, 1, 1, 1),
}
MOST_CUT = 0.8  # of the width or height


def crop_pad(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """Only a part of the picture is left, where it was; the rest of the canvas is one flat colour."""
    height, width = picture.shape[:2]
    cut = [values["cut"] * on * rng.uniform(0.6, 1) for on in SIDES[values["sides"]]]
    for side in (0, 1):  # of what is cut on both sides something remains between them
        shrink = MOST_CUT / max(MOST_CUT, cut[side] + cut[side + 2])
        cut[side], cut[side + 2] = cut[side] * shrink, cut[side + 2] * shrink
    left, right = round(cut[0] * width), width - round(cut[2] * width)
    top, bottom = round(cut[1] * height), height - round(cut[3] * height)
    touched = ~box_mask((left, top, right, bottom), (height, width))
    out = picture.copy()
    out[touched] = PLAIN[values["fill"]]
    sides = "every side" if values["sides"] == "all" else f"the {values['sides']}"
    return Damaged(out, touched, {"sides": sides, "fill": values["fill"]})


def distort(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """Rotated, seen at a slant, or cut into tiles that are shuffled."""
    return _DISTORTIONS[values["kind"]](picture, values, rng)


def _corners(rng) -> tuple[int, int, int]:
    """The colour of what lies outside the picture."""
    return PLAIN[("black", "black", "white", "grey")[int(rng.integers(4))]]


def _rotate(picture: np.ndarray, values, rng) -> Damaged:
    angle = values["angle"] * (1 if rng.random() < 0.5 else -1)
    image = Image.fromarray(picture).rotate(angle, Image.Resampling.BICUBIC, fillcolor=_corners(rng))
    return Damaged(np.asarray(image), np.ones(picture.shape[:2], bool), {"variant": "rotated"})


def _slant(picture: np.ndarray, values, rng) -> Damaged:
    """Each corner moves inwards by its own share; eight equations give the projective map of PIL's transform."""
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (width, height)
    moved = corners + inwards * rng.uniform(0, values["slant"], (4, 2))
    rows, known = [], []
    for (x, y), (u, v) in zip(moved, corners):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        known += [u, v]
    projection = np.linalg.solve(np.array(rows), np.array(known))
    image = Image.fromarray(picture).transform(
        (width, height),
        Image.Transform.PERSPECTIVE,
        projection.tolist(),
        Image.Resampling.BICUBIC,
        fillcolor=_corners(rng),
    )
    return Damaged(np.asarray(image), np.ones((height, width), bool), {"variant": "slanted"})


def _shuffle(picture: np.ndarray, values, rng) -> Damaged:
    """A border of pixels that no whole tile holds stays where it is."""
    height, width = picture.shape[:2]
    tiles = min(values["tiles"], height, width)
    high, wide = height // tiles, width // tiles
    area = picture[: high * tiles, : wide * tiles]
    cut = area.reshape(tiles, high, tiles, wide, 3).swapaxes(1, 2).reshape(tiles * tiles, high, wide, 3)
    order = rng.permutation(tiles * tiles)
    if (order == np.arange(order.size)).all():
        order = order[::-1]
    out = picture.copy()
    out[: high * tiles, : wide * tiles] = (
        cut[order].reshape(tiles, tiles, high, wide, 3).swapaxes(1, 2).reshape(high * tiles, wide * tiles, 3)
    )
    return Damaged(out, box_mask((0, 0, wide * tiles, high * tiles), (height, width)), {"variant": "shuffled"})


_DISTORTIONS = {"rotate": _rotate, "perspective": _slant, "shuffle": _shuffle}


def line_art(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """A pencil drawing, an ink drawing, or white edges on black."""
    grey = as_bytes(luminance(picture))
    fine = max(0.6, min(picture.shape[:2]) / 700 * values["width"])
    soft = blurred(grey, fine).astype(np.float32)
    if values["kind"] == "pencil":  # the colour dodge of a picture with its own blurred negative
        around = blurred(grey, 6 * fine).astype(np.float32)
        lines = (soft / np.maximum(around, 1)).clip(0, 1) ** 2.2 * 250
    elif values["kind"] == "ink":  # difference of Gaussians through a soft threshold (Winnemöller et al. 2011, XDoG)
        ridge = soft - blurred(grey, 1.6 * fine)
        lines = 255 * (1 + np.tanh(0.3 * np.minimum(ridge + 1.5, 0)))
    else:
        dy, dx = np.gradient(soft)
        strength = np.hypot(dx, dy)
        lines = 255 * ((strength - 4) / max(12.0, np.quantile(strength, 0.97) - 4)).clip(0, 1)
    drawing = np.repeat(as_bytes(lines)[..., None], 3, 2)
    words = {"pencil": "pencil sketch", "ink": "line drawing", "edges": "edge map"}
    return Damaged(drawing, place.region(picture), {"drawing": words[values["kind"]]})


LAYOUT = (
    Operation(
        "crop_pad",
        "Crop and pad (outpaint)",
        "own",
        "what lies outside the part that is left",
        {"sides": Choice(tuple(SIDES)), "cut": Range(0.15, 0.4), "fill": Choice(("white", "black", "grey"))},
        crop_pad,
    ),
    Operation(
        "distort",
        "Rotate, perspective, tile shuffle",
        "own",
        "",
        {
            "kind": Choice(("rotate", "perspective", "shuffle")),
            "angle": Range(4.0, 35.0),
            "slant": Range(0.12, 0.3),
            "tiles": Range(2, 4),
        },
        distort,
    ),
    Operation(
        "line_art",
        "Edges and line art",
        "picture",
        "the colours, the materials and the light",
        {"kind": Choice(("pencil", "ink", "edges")), "width": Range(0.8, 2.0)},
        line_art,
    ),
)
