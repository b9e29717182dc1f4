"""What an operation is, where it works, and how its parameters are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from ....errors import RethinkError

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom are outside


# Parameter of an operation: between what it makes sense, and what it is.
PARAMETERS: dict[str, tuple[float, float, str]] = {
    "strength": (0.01, 1.0, "How strong it is"),
    "blocks": (2, 64, "Blocks of the mosaic along the longer side"),
    "stops": (0.1, 4.0, "How many stops too dark or too bright"),
    "cast": (0.05, 1.0, "How strong the colour cast is"),
    "sepia": (0.0, 1.0, "How brown it has become"),
    "fade": (0.0, 1.0, "How far it has faded"),
    "grain": (0.0, 64.0, "How much noise, of 255"),
    "scratches": (0, 100, "How many long scratches"),
    "factor": (1.0, 16.0, "How many times smaller it was"),
    "quality": (1, 95, "Quality of the JPEG"),
    "cut": (0.05, 0.8, "Share of the side that is cut away"),
    "angle": (1.0, 180.0, "How far it is rotated, in degrees"),
    "slant": (0.02, 0.45, "How far the corners are moved, as a share of the side"),
    "tiles": (2, 8, "Tiles along a side"),
    "width": (0.3, 6.0, "How thick the lines are, in thousandths of the picture"),
    "opacity": (0.05, 1.0, "How opaque the mark is"),
    "margin": (0.0, 0.5, "How much more than the object is taken away, as a share of its shorter side"),
}


@dataclass(frozen=True)
class Range:
    """Drawn uniformly; a whole number where both ends are whole numbers."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float | int:
        if isinstance(self.low, int) and isinstance(self.high, int):
            return int(rng.integers(self.low, self.high + 1))
        return round(float(rng.uniform(self.low, self.high)), 4)

    def narrowed(self, name: str, value: Any) -> Range:
        """This range as the user narrows it: a number or [lowest, highest], within `PARAMETERS`. Raises RethinkError."""
        low, high = value if isinstance(value, (list, tuple)) and len(value) == 2 else (value, value)
        numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in (low, high))
        least, most, _ = PARAMETERS[name.partition(".")[2]]
        if not numbers or not least <= low <= high <= most:
            raise RethinkError(f"{name}: expected a number or [lowest, highest] in {least:g}…{most:g}, got {value!r}.")
        return Range(low, high) if isinstance(self.low, int) else Range(float(low), float(high))


@dataclass(frozen=True)
class Choice:
    """Drawn from a list, each as likely."""

    choices: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> str:
        return self.choices[int(rng.integers(len(self.choices)))]

    def narrowed(self, name: str, value: Any) -> Choice:
        """These choices as the user narrows them: one, or a list. Raises RethinkError."""
        chosen = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        if not chosen or any(choice not in self.choices for choice in chosen):
            raise RethinkError(f"{name}: expected any of {', '.join(self.choices)}, got {value!r}.")
        return Choice(chosen)


@dataclass(frozen=True)
class Place:
    """Where an operation works: a box, and inside it, where there is one, a mask bool [H, W] of the whole picture."""

    box: Box
    mask: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the box."""
        left, top, right, bottom = self.box
        return bottom - top, right - left

    def region(self, picture: np.ndarray) -> np.ndarray:
        """bool [H, W]: the mask, else the whole box."""
        if self.mask is not None:
            return self.mask
        return box_mask(self.box, picture.shape[:2])


@dataclass(frozen=True)
class Damaged:
    """What an operation made: the picture uint8 [H, W, 3], where it may differ bool [H, W], and words for the wording."""

    picture: np.ndarray
    touched: np.ndarray
    words: dict[str, str] = field(default_factory=dict)


Apply = Callable[[np.ndarray, Place, Mapping[str, Any], np.random.Generator], Damaged]


@dataclass(frozen=True)
class Operation:
    """One easy operation whose undoing is to be learnt.

    where: "place" works on a given or drawn place; "picture" on all of it, or within a given mask; "given" only on a
        given mask or box; "subject" needs a mask of what stays; "own" chooses its place itself.
    hides: what can no longer be seen, for the one who describes it; "" where the instruction says all.
    ranges: every parameter with its range. apply: the operation itself, on uint8 arrays.
    """

    id: str
    title: str
    where: str
    hides: str
    ranges: Mapping[str, Range | Choice]
    apply: Apply

    def draw(self, rng: np.random.Generator, narrower: Mapping[str, Any]) -> dict[str, Any]:
        """One value a parameter, from the ranges or from narrower ones: {name: value, [low, high] or [choices]}.

        Raises RethinkError for an unknown name or an impossible range.
        """
        ranges = self.narrowed(narrower)
        return {name: ranges[name].draw(rng) for name in ranges}

    def narrowed(self, narrower: Mapping[str, Any]) -> dict[str, Range | Choice]:
        """Every range, or what narrower ones leave of it. Raises RethinkError as `draw` does."""
        if unknown := sorted(set(narrower) - set(self.ranges)):
            raise RethinkError(
                f"{self.id} has no {', '.join(unknown)}; it has {', '.join(self.ranges) or 'no parameter'}."
            )
        return {
            name: span.narrowed(f"{self.id}.{name}", narrower[name]) if name in narrower else span
            for name, span in self.ranges.items()
        }


def damage(
    operation: Operation, picture: np.ndarray, place: Place, values: Mapping[str, Any], rng: np.random.Generator
) -> Damaged:
    """Apply an operation to uint8 [H, W, 3] and put every pixel it had no business with back, bit for bit."""
    made = operation.apply(picture, place, values, rng)
    if made.touched.all():
        return made
    return Damaged(np.where(made.touched[..., None], made.picture, picture), made.touched, made.words)


def box_mask(box: Box, shape: tuple[int, int]) -> np.ndarray:
    """bool [H, W], true inside the box."""
    left, top, right, bottom = box
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def box_of(mask: np.ndarray) -> Box:
    """The smallest box around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def whole(picture: np.ndarray) -> Place:
    """All of a picture."""
    return Place((0, 0, picture.shape[1], picture.shape[0]))


def sample_region(picture: np.ndarray, rng: np.random.Generator, area=(0.03, 0.2), aspect=(0.6, 1.7)) -> Place:
    """A box by rule: a share of the picture's area, a width-to-height ratio, and of eight such boxes the one with the
    most detail in it, so that what is hidden is worth restoring."""
    height, width = picture.shape[:2]
    grey = picture[:: max(1, height // 128), :: max(1, width // 128), 1].astype(np.float32)
    detail = np.pad(np.abs(np.diff(grey, axis=1))[:-1] + np.abs(np.diff(grey, axis=0))[:, :-1], ((1, 0), (1, 0)))
    total = detail.cumsum(0).cumsum(1)
    scale_y, scale_x = (total.shape[0] - 1) / height, (total.shape[1] - 1) / width

    def worth(box: Box) -> float:
        left, right = int(box[0] * scale_x), int(box[2] * scale_x)
        top, bottom = int(box[1] * scale_y), int(box[3] * scale_y)
        inside = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        return inside / max(1, (right - left) * (bottom - top))

    def one() -> Box:
        ratio = np.exp(rng.uniform(*np.log(aspect)))
        pixels = rng.uniform(*area) * height * width
        wide = int(np.clip((pixels * ratio) ** 0.5, 1, width * 0.9 + 1))
        high = int(np.clip((pixels / ratio) ** 0.5, 1, height * 0.9 + 1))
        wide, high = min(wide, width), min(high, height)
        left, top = int(rng.integers(0, width - wide + 1)), int(rng.integers(0, height - high + 1))
        return left, top, left + wide, top + high

    return Place(max((one() for _ in range(8)), key=worth))


def blurred(picture: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of uint8 [H, W] or [H, W, 3]; a large radius on a smaller copy, which looks the same."""
    shrink = max(1, int(radius / 8))
    image = Image.fromarray(picture)
    if shrink == 1:
        return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)))
    small = image.resize([max(1, side // shrink) for side in image.size], Image.Resampling.BOX)
    small = small.filter(ImageFilter.GaussianBlur(radius / shrink))
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))


def fractal_noise(shape: tuple[int, int], rng: np.random.Generator, cells: int = 4, octaves: int = 4) -> np.ndarray:
    """Smooth random float32 [H, W] in 0…1: a few grids of noise, each twice as fine and half as strong."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        grid = rng.random((cells << octave, cells << octave), np.float32)
        image = Image.fromarray(grid).resize(shape[::-1], Image.Resampling.BICUBIC)
        total += np.asarray(image) / (1 << octave)
    low, high = total.min(), total.max()
    return (total - low) / max(high - low, 1e-6)


def as_bytes(values: np.ndarray) -> np.ndarray:
    """Floats on the scale 0…255 as uint8, rounded."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def luminance(picture: np.ndarray) -> np.ndarray:
    """float32 [H, W] on the scale 0…255 (Rec. 601)."""
    return picture @ np.array([0.299, 0.587, 0.114], np.float32)
