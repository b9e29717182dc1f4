"""Limits the next turn to what the thinker points at, with the editor's own mask."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .images import selects_anything
from .loop_config import LoopConfig
from .steps import Box, Region


def focus_boxes(regions: Sequence[Region], config: LoopConfig) -> tuple[Box, ...]:
    """The boxes that the next turn is limited to; none: no limit.

    A turn that edits the source again needs the whole place of the edit, including what is already right; anything that
    was changed unasked stays outside, since the source still has it. A turn that edits the previous image may fix
    whatever is wrong.
    """
    if not config.focus:
        return ()
    if config.base == "previous":
        return tuple(region.box for region in regions)
    if not any(region.kind == "place" for region in regions):
        return ()
    return tuple(region.box for region in regions if region.kind != "changed")


def focus_mask(boxes: Sequence[Box], source: Tensor, margin: float, mask: Tensor | None = None) -> Tensor | None:
    """The union of boxes as a mask [1, H, W], each grown by `margin` of the longer side, within `mask`.

    source: IMAGE [1, H, W, 3]. Without boxes, or if they leave nothing of the mask, it is `mask` itself.
    """
    if not boxes:
        return mask
    height, width = source.shape[1:3]
    grown = margin * max(height, width)
    held = torch.zeros(1, height, width)
    for left, top, right, bottom in boxes:
        rows = slice(_clip(top * height - grown, height), _clip(bottom * height + grown + 0.999, height))
        columns = slice(_clip(left * width - grown, width), _clip(right * width + grown + 0.999, width))
        held[:, rows, columns] = 1
    if mask is not None:
        held = held * mask.to(held)
    return held if selects_anything(held) else mask


def _clip(place: float, size: int) -> int:
    return min(size, max(0, int(place)))
