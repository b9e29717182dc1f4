"""Operations that take something away without a model: erase text, remove an object, flatten the background.

A hole is filled by the part of the same picture that goes on best where the hole begins; what still differs at its rim
is spread over it smoothly, as in Poisson image editing (Pérez et al. 2003).
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from .core import Choice, Damaged, Operation, Place, Range, box_of
from .obscure import COLOURS, PLAIN

GRID = 14  # places a side that are tried as the filling
FINALISTS = 5  # of them, which are moved about until they fit best
SAMPLES = 1500  # pixels of the rim that are compared
UNLIKE = 0.5  # of the rim's variance: a place that leaves more of it unexplained would be a thing in the wrong place


def fill(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] with what is under `hole`, bool [H, W], made up from the rest of the picture."""
    if hole.all() or not hole.any():
        return picture
    left, top, right, bottom = _grown_box(hole)
    rim = _grown(hole) & ~hole
    shift = _best_shift(picture, hole, rim)
    window = np.s_[top:bottom, left:right]
    known = ~hole[window]
    if shift is None:
        patch = np.zeros((*known.shape, 3), np.float32)
    else:
        dy, dx = shift
        patch = picture[top + dy : bottom + dy, left + dx : right + dx].astype(np.float32)
    missing = spread(picture[window] - patch, known)
    out = picture.copy()
    out[window] = np.where(known[..., None], picture[window], np.clip(np.rint(patch + missing), 0, 255)).astype(
        np.uint8
    )
    return out


def _grown(hole: np.ndarray, reach: int = 0) -> np.ndarray:
    """The hole with `reach` more pixels all around; 0: as many as make a rim."""
    reach = reach or max(1, min(hole.shape) // 200)
    for _ in range(2):  # down, then across
        count = np.pad(hole, [(reach + 1, reach), (0, 0)]).cumsum(0, np.int32)
        hole = (count[2 * reach + 1 :] > count[: -2 * reach - 1]).T
    return hole


def _grown_box(hole: np.ndarray):
    """The box of the hole with its rim, inside the picture."""
    return box_of(_grown(hole))


def _best_shift(picture: np.ndarray, hole: np.ndarray, rim: np.ndarray) -> tuple[int, int] | None:
    """(rows, columns) from the hole to the part of the picture whose pixels agree best with the hole's rim, up to a
    constant colour, and that holds no thing of its own: what would fill the hole varies no more than its rim does. None
    where there is no such place."""
    height, width = hole.shape
    left, top, right, bottom = _grown_box(hole)
    y, x = _some(rim)
    inside_y, inside_x = _some(hole)
    around = picture[y, x].astype(np.float32)

    def cost(dy: int, dx: int) -> float:
        outside = not (-top <= dy <= height - bottom and -left <= dx <= width - right)
        if outside or hole[inside_y + dy, inside_x + dx].any():
            return np.inf
        rim_there, inside_there = picture[y + dy, x + dx], picture[inside_y + dy, inside_x + dx]
        return _variance(rim_there - around) + max(0.0, _variance(inside_there) - _variance(rim_there))

    down = np.unique(np.linspace(-top, height - bottom, GRID).astype(int)).tolist()
    across = np.unique(np.linspace(-left, width - right, GRID).astype(int)).tolist()
    best = sorted((cost(dy, dx), dy, dx) for dy in down for dx in across)[:FINALISTS]
    best = [candidate for candidate in best if candidate[0] < np.inf]
    if not best:
        return None
    stride = max(height, width) // GRID
    left_over, *shift = min(_refined(cost, candidate, stride) for candidate in best)
    return None if left_over > UNLIKE * _variance(around) else tuple(shift)


def _variance(colours: np.ndarray) -> float:
    return float(colours.var(0).mean())


def _refined(cost, best: tuple[float, int, int], stride: int) -> tuple[float, int, int]:
    """The best place around a good one: eight neighbours, nearer and nearer."""
    while stride := stride // 2:
        _, dy, dx = best
        around = [(dy + i * stride, dx + j * stride) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
        best = min(best, *((cost(*place), *place) for place in around))
    return best


def _some(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) of at most `SAMPLES` of a mask's pixels, evenly taken."""
    y, x = np.nonzero(mask)
    chosen = np.linspace(0, y.size - 1, min(SAMPLES, y.size)).astype(int)
    return y[chosen], x[chosen]


def spread(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Floats [H, W, C] with those that are not `known`, bool [H, W], carried in smoothly from around (push-pull)."""
    if known.all() or not known.any() or max(known.shape) < 2:
        return np.where(known[..., None], values, 0)
    height, width = known.shape
    weight = np.pad(known, ((0, height % 2), (0, width % 2))).astype(np.float32)[..., None]
    padded = np.pad(values.astype(np.float32), ((0, height % 2), (0, width % 2), (0, 0))) * weight

    def halved(array):
        return array[::2, ::2] + array[1::2, ::2] + array[::2, 1::2] + array[1::2, 1::2]

    count = halved(weight)
    coarse = spread(halved(padded) / np.maximum(count, 1), count[..., 0] > 0)
    up = np.stack(
        [
            np.asarray(
                Image.fromarray(np.ascontiguousarray(channel)).resize(
                    (width + width % 2, height + height % 2), Image.Resampling.BILINEAR
                )
            )
            for channel in np.moveaxis(coarse, -1, 0).astype(np.float32)
        ],
        -1,
    )
    return np.where(known[..., None], values, up[:height, :width])


def remove_object(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """The hole is somewhat larger than the object, whose shadow and fringe would tell of it."""
    reach = max(1, round(values["margin"] * min(place.size)))
    region = _grown(place.region(picture), reach)
    return Damaged(fill(picture, region), region)


def text_erase(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """The place filled from its surroundings, or with the colour around it."""
    region = place.region(picture)
    if values["fill"] == "surroundings":
        return Damaged(fill(picture, region), region)
    out = picture.copy()
    ring = _grown(region) & ~region
    out[region] = np.median(picture[ring if ring.any() else region], 0).astype(np.uint8)
    return Damaged(out, region)


def flat_background(picture: np.ndarray, place: Place, values, rng) -> Damaged:
    """Everything but the subject, which the mask shows, in one flat colour."""
    touched = ~place.region(picture)
    colour = values["fill"] if values["fill"] in PLAIN else list(COLOURS)[int(rng.integers(len(COLOURS)))]
    out = picture.copy()
    out[touched] = PLAIN.get(colour) or COLOURS[colour]
    return Damaged(out, touched, {"colour": colour})


FILL = (
    Operation(
        "remove_object",
        "Object removal",
        "given",
        "the object that was taken away",
        {"margin": Range(0.01, 0.12)},
        remove_object,
    ),
    Operation(
        "text_erase",
        "Text erase",
        "given",
        "the text that was erased, letter for letter",
        {"fill": Choice(("surroundings", "flat"))},
        text_erase,
    ),
    Operation(
        "flat_background",
        "Flat background",
        "subject",
        "the background that the flat colour has replaced",
        {"fill": Choice(("white", "black", "grey", "colour"))},
        flat_background,
    ),
)
