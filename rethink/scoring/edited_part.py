"""An edit at its source's size: what visibly changed, how the rest compares, and what else the measures need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import RethinkError
from ..evaluation.measures import CHANGED, DIRECTION, IMAGE_SIMILARITY, PSNR, SSIM
from ..evaluation.preservation import measure as measure_preservation
from ..evaluation.unchanged_part import UnchangedPart, find_unchanged_part
from ..images import Fit, fit, to_pixels
from .record import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ..evaluation.clip_similarity import Clip


@dataclass(frozen=True, eq=False)
class EditedPart:
    """An edit and its unchanged part.

    edited: IMAGE [1, H, W, 3]. changed: share of the image, 0…1. unchanged: whether there is no visible change. part: what should
    be as it was; None if there is no such part, with the reason in `why`."""

    edited: Tensor
    changed: float
    unchanged: bool
    part: UnchangedPart | None
    why: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Tensor, image: Tensor, mask: Tensor | None) -> EditedPart:
        """Measure an edit of any size. source: IMAGE [1, H, W, 3]. mask: [1, H, W], 1 where it may change."""
        size, own = ((each.shape[1], each.shape[2]) for each in (source, image))
        notes = ()
        if own != size:
            image = fit(image, Fit(own, size, size))
            shown = " × ".join(map(str, (own[1], own[0]))), " × ".join(map(str, (size[1], size[0])))
            notes = (f"The edit has {shown[0]} pixels and was compared at the source's {shown[1]}.",)
        (found,) = measure_preservation(source, image, mask)
        if found.unchanged:
            notes = (*notes, "There is no visible change.")
        part, why = None, ""
        try:
            part = find_unchanged_part(source, image, mask)
        except RethinkError as error:
            why = str(error)
        return cls(image, found.changed, found.unchanged, part, why, notes)

    def measurements(self) -> list[Measurement]:
        """How much changed, and how the rest compares."""
        found = [Measurement(CHANGED, self.changed)]
        for measure, value in ((PSNR, self.part and self.part.psnr), (SSIM, self.part and self.part.ssim)):
            found.append(Measurement(measure, value, why=self.why))
        return found


def measure_by_clip(
    clip: Clip, source: Tensor, edits: Sequence[Tensor], captions: tuple[str, str] | None
) -> list[list[Measurement]]:
    """Image similarity of every edit, and, with captions of both images, direction similarity. source, edits: IMAGE [1, H, W, 3]."""
    import torch

    from ..evaluation.clip_similarity import similarities

    images = clip.images([to_pixels(image)[0] for image in (source, *edits)])
    count, texts = len(edits), None
    if captions:
        both = clip.texts(captions)
        texts = torch.stack([both[:1].expand(count, -1), both[1:].expand(count, -1)])
    rows = similarities(torch.stack([images[:1].expand(count, -1), images[1:]]), texts)
    return [
        [
            Measurement(IMAGE_SIMILARITY, row["clip_sim_image"]),
            _direction(row.get("clip_sim_dir"), bool(edited.equal(source))),
        ]
        for row, edited in zip(rows, edits)
    ]


def without_clip(why: str) -> list[Measurement]:
    """The CLIP measurements when there is no CLIP."""
    return [Measurement(IMAGE_SIMILARITY, None, why=why), Measurement(DIRECTION, None, why=why)]


def _direction(value: float | None, equal: bool) -> Measurement:
    if equal:
        return Measurement(DIRECTION, None, why="nothing changed, so there is no direction")
    return Measurement(DIRECTION, value, why="" if value is not None else "needs both captions")
