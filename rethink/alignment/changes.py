"""Find where an aligned edit truly differs from its source, apart from noise, JPEG artifacts and the editor's own blur.

Everything is decided on a grid of small cells. How much unchanged cells differ is estimated from the pair, as a
function of the source's texture: compression and autoencoders are least exact on fine texture.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .registration import blur, downscale, size_of

WEAK, STRONG = 2.0, 2.6  # multiples of the usual difference: belongs to an adjacent change; is a change by itself
BINS = 12  # of texture, with the same number of cells in each
USUAL = 0.4  # the quantile of a bin that counts as usual: holds when up to half of the cells are edited
FLOORS = (0.006, 0.006)  # RMS over a cell, mean over a neighborhood: invisible differences
CEILINGS = ((0.04, 1.0), (0.006, 0.05))  # a + b · texture: no editor's untouched cells are noisier than this
DETAIL_SIDE, NO_DETAIL = 384, 5e-4  # side at which the detail of the whole image is compared; RMS of a plain surface


def cell_size(size: tuple[int, int]) -> int:
    """Pixels per side: 1 for small images, 4 around a megapixel, more beyond two."""
    side = (size[0] * size[1]) ** 0.5
    return max(1, min(4, round(side / 128)), round(side / 384))


def find_changes(source: Tensor, placed: Tensor, visible: tuple[slice, slice]) -> Tensor:
    """The changed cells [rows, columns], for images [3, H, W] in one frame.

    Only the `visible` rows and columns of pixels are compared. Cells beyond them follow the nearest cell that was.
    """
    cell = cell_size(size_of(source))
    texture = _texture(source, cell)
    rows, columns = compared = _cells_within(visible, cell, texture.shape)
    difference = placed - source
    energy = _pool(difference.square().sum(0, keepdim=True), cell)[:, rows, columns]
    mean = _pool(difference, cell)[:, rows, columns]
    measures = (_box_blur(energy, 1)[0].sqrt(), _box_blur(_box_blur(mean, 1), 1).square().sum(0).sqrt() / 1.6)
    excess = [
        _excess(measure, texture[compared], floor, ceiling)
        for measure, floor, ceiling in zip(measures, FLOORS, CEILINGS)
    ]
    return _clean_up(_extrapolate(torch.maximum(*excess), compared, texture.shape))


def surviving_detail(source: Tensor, placed: Tensor, cells: Tensor, trusted: Tensor) -> float:
    """The share (0…1) of the source's detail that is also in the unchanged cells of the edit.

    It is not enough that cells look unchanged: a style change may leave an even surface even, but not the faint detail
    on it. `source` and `placed`: [3, H, W]; `cells`: the changed ones; `trusted` [1, H, W]: what counts.
    For a source without any detail, the share of its surface that is unchanged.
    """
    size = [max(1, round(side * min(1.0, DETAIL_SIDE / max(source.shape[1:])))) for side in source.shape[1:]]
    ours, theirs = (_detail(downscale(image.mean(0, keepdim=True), size)) for image in (source, placed))
    both, own, other = _box_blur(torch.cat([ours * theirs, ours.square(), theirs.square()]), 2)
    unchanged = 1 - F.interpolate(cells.float()[None, None], size)[0, 0]
    counts = downscale(trusted, size)[0]
    detail = own.sqrt() * counts
    if detail.mean() < NO_DETAIL:
        return ((counts * unchanged).sum() / counts.sum()).item()
    weight = detail.clamp(max=4 * detail.mean())
    found = (both / (torch.maximum(own, other) + 1e-5)).clamp(0, 1)
    return ((weight * unchanged * found).sum() / weight.sum()).item()


def _detail(gray: Tensor) -> Tensor:
    """Detail that is larger than noise and smaller than a fiftieth of the side."""
    soft = blur(gray)
    return soft - _box_blur(soft, 3)


def _box_blur(images: Tensor, radius: int) -> Tensor:
    return F.avg_pool2d(images[None], 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)[0]


def _pool(image: Tensor, cell: int) -> Tensor:
    """[C, H, W] → means over cells. Cells at the lower and right border may be smaller."""
    return F.avg_pool2d(image[None], cell, ceil_mode=True, count_include_pad=False)[0]


def _texture(source: Tensor, cell: int) -> Tensor:
    """RMS of the source's finest detail over a cell and its neighbors."""
    detail = (source - blur(source)).square().sum(0, keepdim=True)
    return _box_blur(_pool(detail, cell), 1)[0].sqrt()


def _cells_within(visible: tuple[slice, slice], cell: int, shape: torch.Size) -> tuple[slice, slice]:
    """The cells of which every pixel was seen; at least one."""
    bounds = []
    for seen, count in zip(visible, shape):
        first = min(-(-seen.start // cell), count - 1)
        whole = count if seen.stop >= count * cell - cell + 1 else seen.stop // cell
        bounds.append(slice(first, max(whole, first + 1)))
    return bounds[0], bounds[1]


def _excess(measure: Tensor, texture: Tensor, floor: float, ceiling: tuple[float, float]) -> Tensor:
    """The measure as a multiple of what is usual at this texture."""
    order = texture.flatten().argsort()
    bins = [part for part in order.tensor_split(BINS) if len(part)]
    values = measure.flatten()
    usual = torch.stack([values[part].kthvalue(max(1, int(USUAL * len(part)))).values for part in bins])
    usual = usual.flip(0).cummin(0).values.flip(0)  # an edited plain area must not pass for noise
    at = torch.stack([texture.flatten()[part].mean() for part in bins])
    expected = _interpolate(texture, at, usual)
    return measure / torch.minimum(expected, ceiling[0] + ceiling[1] * texture).clamp_min(floor)


def _interpolate(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Piecewise linear through (knots, values), constant beyond them."""
    if len(knots) == 1:
        return values.expand_as(x)
    right = torch.bucketize(x.contiguous(), knots).clamp(1, len(knots) - 1)
    part = (x - knots[right - 1]) / (knots[right] - knots[right - 1]).clamp_min(1e-9)
    return torch.lerp(values[right - 1], values[right], part.clamp(0, 1))


def _extrapolate(cells: Tensor, known: tuple[slice, slice], shape: torch.Size) -> Tensor:
    """[shape] from the values of the `known` rectangle, its border repeated outward."""
    for axis, (inside, count) in enumerate(zip(known, shape)):
        index = torch.arange(count, device=cells.device).clamp(inside.start, inside.stop - 1) - inside.start
        cells = cells.index_select(axis, index)
    return cells


def _clean_up(score: Tensor) -> Tensor:
    """Connected changes: grown from certain ones, with small islands dropped and small holes closed."""
    sure = _box_blur(score.clamp(max=3 * STRONG)[None], 1)[0] > STRONG
    changed = _grow(sure, score > WEAK)
    radius = max(1, round(max(score.shape) / 100))
    closed = ~dilate(~dilate(changed, radius), radius)
    hole = max(2, round(min(score.shape) / 24))
    return ~_grow(~dilate(closed, hole), ~closed)  # an unchanged area stays only where it is wide


def _grow(seed: Tensor, within: Tensor) -> Tensor:
    """All cells of `within` that are connected to a seed."""
    seed = seed & within
    while True:
        grown = dilate(seed, 1) & within
        if torch.equal(grown, seed):
            return seed
        seed = grown


def dilate(cells: Tensor, radius: int) -> Tensor:
    """The largest value (or whether any is true) within `radius` in all directions; [H, W]."""
    values = cells.float()[None]
    values = F.max_pool2d(values, (2 * radius + 1, 1), stride=1, padding=(radius, 0))
    values = F.max_pool2d(values, (1, 2 * radius + 1), stride=1, padding=(0, radius))
    return values[0].to(cells.dtype)
