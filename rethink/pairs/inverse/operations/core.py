"""What an operation is, where it applies, and how its parameters are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ....errors import RethinkError

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom are outside
Values = Mapping[str, Any]  # {parameter: its value}
Rng = np.random.Generator
Where = Literal["region", "image", "selection", "subject", "own"]


@dataclass(frozen=True)
class Range:
    """Drawn uniformly from low…high; an integer where both ends are integers.

    least, most: the limits within which a user may set low and high. help: what the number means, without a period.
    """

    low: float
    high: float
    least: float
    most: float
    help: str

    def draw(self, rng: Rng) -> float | int:
        """A value in low…high."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return int(rng.integers(self.low, self.high + 1))
        return round(float(rng.uniform(self.low, self.high)), 4)

    def narrow(self, name: str, value: Any) -> Range:
        """This range, narrowed by the user to a number or [lowest, highest] within the limits. Raises RethinkError."""
        low: Any
        high: Any
        low, high = value if isinstance(value, (list, tuple)) and len(value) == 2 else (value, value)
        numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in (low, high))
        if not numbers or not self.least <= low <= high <= self.most:
            limits = f"{self.least:g}…{self.most:g}"
            raise RethinkError(f"{name}: expected a number or [lowest, highest] in {limits}, got {value!r}.")
        if not isinstance(self.low, int):
            low, high = float(low), float(high)
        return replace(self, low=low, high=high)


@dataclass(frozen=True)
class Choice:
    """Drawn from a list, all equally likely."""

    choices: tuple[str, ...]

    def draw(self, rng: Rng) -> str:
        """One of the choices."""
        return self.choices[int(rng.integers(len(self.choices)))]

    def narrow(self, name: str, value: Any) -> Choice:
        """These choices, narrowed by the user to one or a list. Raises RethinkError."""
        chosen = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        if not chosen or any(choice not in self.choices for choice in chosen):
            raise RethinkError(f"{name}: expected any of {', '.join(self.choices)}, got {value!r}.")
        return Choice(chosen)


@dataclass(frozen=True)
class Region:
    """Where an operation applies: a box, and within it, if not None, a mask bool [H, W] of the whole image."""

    box: Box
    mask: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the box."""
        left, top, right, bottom = self.box
        return bottom - top, right - left

    def as_mask(self, image: np.ndarray) -> np.ndarray:
        """bool [H, W]: the mask, or without one the whole box."""
        if self.mask is not None:
            return self.mask
        return box_mask(self.box, image.shape[:2])


@dataclass(frozen=True)
class OperationResult:
    """What an operation returns.

    image: uint8 [H, W, 3]. mask: bool [H, W], where it may differ from the original. template_vars: {name: text} for the
    names in braces of the templates; "variant" chooses among an operation's groups of templates.
    """

    image: np.ndarray
    mask: np.ndarray
    template_vars: dict[str, str] = field(default_factory=dict)


Apply = Callable[[np.ndarray, Region, Values, Rng], OperationResult]


@dataclass(frozen=True)
class Operation:
    """An easy change of an image that the model learns to undo.

    id: also the name of its module. It is written into stores and workflows, so it never changes.
    where: "region" applies to a place that the user marks, otherwise to one that is drawn; "image" to all of it, or
        within the user's mask; "selection" only to a user's mask or box; "subject" needs a mask of what stays; "own"
        chooses its region itself.
    hidden_what: what can no longer be seen, for the prompt to describe it; "" if the instruction says everything.
    ranges: every parameter with its range, in the order in which they are drawn.
    apply: the operation itself, on uint8 arrays.
    templates: {variant: instructions that undo it}; "" for results without a variant. Names in braces are the result's
        template_vars, and {place}, the name of the place where there is one. Templates with unknown names are not used.
    moves: whether it moves what the image shows, so that a shift is expected.
    """

    id: str
    where: Where
    hidden_what: str
    ranges: Mapping[str, Range | Choice]
    apply: Apply
    templates: Mapping[str, Sequence[str]]
    moves: bool = False

    def draw(self, rng: Rng, narrower: Mapping[str, Any]) -> dict[str, Any]:
        """One value per parameter, from the ranges or narrower ones: {name: value, [low, high] or [choices]}.

        Raises RethinkError for an unknown name or an impossible range.
        """
        return {name: span.draw(rng) for name, span in self.narrow(narrower).items()}

    def narrow(self, narrower: Mapping[str, Any]) -> dict[str, Range | Choice]:
        """Every range, narrowed where `narrower` has its name. Raises RethinkError as `draw` does."""
        if unknown := sorted(set(narrower) - set(self.ranges)):
            raise RethinkError(
                f"{self.id} has no {', '.join(unknown)}; it has {', '.join(self.ranges) or 'no parameter'}."
            )
        return {
            name: span.narrow(f"{self.id}.{name}", narrower[name]) if name in narrower else span
            for name, span in self.ranges.items()
        }


def apply_operation(
    operation: Operation, image: np.ndarray, region: Region, values: Values, rng: Rng
) -> OperationResult:
    """Apply an operation to uint8 [H, W, 3] and restore every pixel outside the result's mask, bit for bit."""
    result = operation.apply(image, region, values, rng)
    if result.mask.all():
        return result
    return replace(result, image=np.where(result.mask[..., None], result.image, image))


def change_inside(image: np.ndarray, region: Region, change: Callable[[np.ndarray], np.ndarray]) -> OperationResult:
    """The result of applying `change`, uint8 [h, w, 3] to the same, to the region's box."""
    left, top, right, bottom = region.box
    out = image.copy()
    out[top:bottom, left:right] = change(image[top:bottom, left:right])
    return OperationResult(out, region.as_mask(image))


def box_mask(box: Box, shape: tuple[int, int]) -> np.ndarray:
    """bool [H, W], true inside the box."""
    left, top, right, bottom = box
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def bounding_box(mask: np.ndarray) -> Box:
    """The smallest box around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def whole_image(image: np.ndarray) -> Region:
    """All of an image."""
    return Region((0, 0, image.shape[1], image.shape[0]))


def sample_region(
    image: np.ndarray, rng: Rng, area: tuple[float, float] = (0.03, 0.2), aspect: tuple[float, float] = (0.6, 1.7)
) -> Region:
    """The most detailed of eight random boxes, so that what is hidden is worth restoring. Area (as a fraction of the
    image) and aspect ratio are drawn from their ranges."""
    height, width = image.shape[:2]
    gray = image[:: max(1, height // 128), :: max(1, width // 128), 1].astype(np.float32)
    detail = np.pad(np.abs(np.diff(gray, axis=1))[:-1] + np.abs(np.diff(gray, axis=0))[:, :-1], ((1, 0), (1, 0)))
    total = detail.cumsum(0).cumsum(1)
    scale_y, scale_x = (total.shape[0] - 1) / height, (total.shape[1] - 1) / width

    def measure_detail(box: Box) -> float:
        left, right = int(box[0] * scale_x), int(box[2] * scale_x)
        top, bottom = int(box[1] * scale_y), int(box[3] * scale_y)
        inside = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        return inside / max(1, (right - left) * (bottom - top))

    def draw_box() -> Box:
        ratio = np.exp(rng.uniform(*np.log(aspect)))
        pixels = rng.uniform(*area) * height * width
        wide = int(np.clip((pixels * ratio) ** 0.5, 1, width * 0.9 + 1))
        high = int(np.clip((pixels / ratio) ** 0.5, 1, height * 0.9 + 1))
        wide, high = min(wide, width), min(high, height)
        left, top = int(rng.integers(0, width - wide + 1)), int(rng.integers(0, height - high + 1))
        return left, top, left + wide, top + high

    return Region(max((draw_box() for _ in range(8)), key=measure_detail))
