"""Rotated, seen at a slant, or cut into tiles that are shuffled."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .colors import PLAIN
from .core import Choice, Operation, OperationResult, Range, Region, Rng, Values, box_mask


def distort(image: np.ndarray, region: Region, values: Values, rng: Rng) -> OperationResult:
    """Rotated, seen at a slant, or cut into tiles that are shuffled."""
    return _DISTORTIONS[values["kind"]](image, values, rng)


def _draw_padding(rng: Rng) -> tuple[int, int, int]:
    """The color of the area outside the image."""
    return PLAIN[("black", "black", "white", "grey")[int(rng.integers(4))]]


def _rotate(image: np.ndarray, values: Values, rng: Rng) -> OperationResult:
    angle = values["angle"] * (1 if rng.random() < 0.5 else -1)
    pil = Image.fromarray(image).rotate(angle, Image.Resampling.BICUBIC, fillcolor=_draw_padding(rng))
    return OperationResult(np.asarray(pil), np.ones(image.shape[:2], bool), {"variant": "rotated"})


def _slant(image: np.ndarray, values: Values, rng: Rng) -> OperationResult:
    """Each corner moves inwards by its own share; eight equations give the projective map of PIL's transform."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (width, height)
    moved = corners + inwards * rng.uniform(0, values["slant"], (4, 2))
    rows, known = [], []
    for (x, y), (u, v) in zip(moved, corners):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        known += [u, v]
    projection = np.linalg.solve(np.array(rows), np.array(known))
    pil = Image.fromarray(image).transform(
        (width, height),
        Image.Transform.PERSPECTIVE,
        projection.tolist(),
        Image.Resampling.BICUBIC,
        fillcolor=_draw_padding(rng),
    )
    return OperationResult(np.asarray(pil), np.ones((height, width), bool), {"variant": "slanted"})


def _shuffle(image: np.ndarray, values: Values, rng: Rng) -> OperationResult:
    """Pixels at the border that do not fill a tile stay where they are."""
    height, width = image.shape[:2]
    tiles = min(values["tiles"], height, width)
    high, wide = height // tiles, width // tiles
    area = image[: high * tiles, : wide * tiles]
    cut = area.reshape(tiles, high, tiles, wide, 3).swapaxes(1, 2).reshape(tiles * tiles, high, wide, 3)
    order = rng.permutation(tiles * tiles)
    if (order == np.arange(order.size)).all():
        order = order[::-1]
    out = image.copy()
    out[: high * tiles, : wide * tiles] = (
        cut[order].reshape(tiles, tiles, high, wide, 3).swapaxes(1, 2).reshape(high * tiles, wide * tiles, 3)
    )
    return OperationResult(out, box_mask((0, 0, wide * tiles, high * tiles), (height, width)), {"variant": "shuffled"})


_DISTORTIONS = {"rotate": _rotate, "perspective": _slant, "shuffle": _shuffle}


OPERATION = Operation(
    id="distort",
    where="own",
    hidden_what="",
    ranges={
        "kind": Choice(("rotate", "perspective", "shuffle")),
        "angle": Range(4.0, 35.0, 1.0, 180.0, "Rotation in degrees"),
        "slant": Range(0.12, 0.3, 0.02, 0.45, "How far the corners are moved, as a fraction of the side"),
        "tiles": Range(2, 4, 2, 8, "Tiles per side"),
    },
    apply=distort,
    templates={
        "rotated": (
            "Straighten the picture.",
            "Rotate the photo upright and fill the corners.",
            "Level the image.",
            "The picture is tilted. Set it straight.",
            "Undo the rotation.",
        ),
        "slanted": (
            "Correct the perspective so that the picture is seen straight on.",
            "Rectify the picture to a full rectangle.",
            "Undo the perspective distortion.",
            "Show the image from the front, filling the frame.",
            "Remove the slant.",
        ),
        "shuffled": (
            "Put the tiles back in order.",
            "Solve this picture puzzle.",
            "Unshuffle the image.",
            "Rearrange the pieces into the original picture.",
            "The parts of the picture are mixed up. Put each where it belongs.",
        ),
    },
    moves=True,
)
