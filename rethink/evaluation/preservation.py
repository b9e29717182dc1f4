"""Measure what an edit left alone, without knowing what it was asked to change.

The image is compared cell by cell: grain and an autoencoder's softness do not count as a change, but a new color, a new
object or a missing one does. The changed cells are the edit; the rest should be as it was (the idea of CoCoEdit:
similarity of the region that should not change).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import as_mask
from ..steps import Preservation

CELLS = 64  # along the longer side
SMALLEST = 4  # side of a cell in pixels: in a smaller one, a pixel of grain is a change
CELL_MOVED = 0.06  # of a cell's mean color: about 15 of 255
ALL_MOVED = 0.015  # of the mean over all cells: about 4 of 255, as when the whole image is a little brighter or warmer
TOP = 99.0  # dB, for two equal images


def measure(source: Tensor, edited: Tensor, mask: Tensor | None = None) -> list[Preservation]:
    """How `edited` [B, H, W, 3] compares with `source` [1, H, W, 3], one Preservation per image.

    mask [1, H, W]: 1 where the image may change. The outside is what the mask leaves out, or without a mask every cell
    that did not change. Images of another size are compared at the source's size.
    """
    height, width = source.shape[1:3]
    if edited.shape[1:3] != (height, width):
        edited = F.interpolate(edited.movedim(-1, 1), (height, width), mode="bilinear", antialias=True).movedim(1, -1)
    free = None if mask is None else as_mask(mask, source)[0] > 0
    return [_measure(source[0], image, free) for image in edited.to(source.device)]


def _measure(source: Tensor, edited: Tensor, free: Tensor | None) -> Preservation:
    """Both [H, W, 3]; free: bool [H, W] or None."""
    cells = cell_shift(source[None], edited[None])
    changed = _changed_cells(cells)
    unchanged = not bool(changed.any()) and float(cells.mean((2, 3)).abs().amax()) < ALL_MOVED
    if free is None:
        free = _area_of(changed, *source.shape[:2])
    error = (edited - source).square().mean(-1)[~free]
    if not len(error):
        psnr = TOP
    else:
        psnr = min(TOP, float(-10 * torch.log10(error.mean().clamp(min=1e-12))))
    return Preservation(float(changed.float().mean()), psnr, unchanged)


def changed_area(source: Tensor, edited: Tensor) -> Tensor:
    """Where two IMAGEs [1, H, W, 3] of one size differ: bool [H, W], the changed cells and their neighbors."""
    return _area_of(_changed_cells(cell_shift(source, edited)), *source.shape[1:3])


def _changed_cells(cells: Tensor) -> Tensor:
    """Of `cell_shift` of one image: bool [rows, columns]."""
    return cells.abs().amax(1)[0] > CELL_MOVED


def _area_of(changed: Tensor, height: int, width: int) -> Tensor:
    side = _cell_side(height, width)
    near = F.max_pool2d(changed.float()[None], 3, 1, 1)[0] > 0  # an edit's soft edge belongs to the edit
    return near.repeat_interleave(side, 0).repeat_interleave(side, 1)[:height, :width]


def cell_shift(source: Tensor, edited: Tensor) -> Tensor:
    """How much each cell's mean color differs between two IMAGEs [B, H, W, 3] of one size: [B, 3, rows, columns]."""
    shift = (edited - source).movedim(-1, 1)
    return F.avg_pool2d(shift, _cell_side(*source.shape[1:3]), ceil_mode=True, count_include_pad=False)


def _cell_side(height: int, width: int) -> int:
    """Pixels along a cell."""
    return min(max(SMALLEST, max(height, width) // CELLS), height, width)
