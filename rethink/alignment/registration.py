"""Find an image in an edit of it: shift, zoom and slight color drift, whatever the edit really changed.

A coarse search over zooms by correlation of edge directions (after Fitch et al., "Orientation Correlation", BMVC 2002)
finds the position to about a pixel of a small copy, then Gauss-Newton steps with Tukey's weights on a pyramid (Baker and
Matthews, "Lucas-Kanade 20 Years On", IJCV 2004, with the mean of both images' gradients) refine it.

Internally, images are [3, H, W] and positions are fractions: 0 is the center of a side, -0.5 and 0.5 are its ends. So
one placement holds at every size of the pyramid.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = (192, 384, 768)  # the long side of the pyramid's images; the last one gives 1/100 of a pixel at 2048
STEPS = (8, 5, 4)
ZOOMS = tuple(1.01**power for power in range(-8, 9))  # tried by the coarse search around every way to fit the sizes
CUTOFFS = (0.3, 0.15, 0.1)  # per level: a pixel that differs more than this is edited, however noisy the pair
UNSURE = 0.02  # less agreement of the edges than this is chance
STILL = 0.1  # pixels: a smaller movement of every corner is none, and the edit need not be resampled
FAINT = 0.5 / 255  # a smaller change of every color is none
DRIFT = 0.065  # the largest RMS change of color that still is a drift and not an edit of everything


@dataclass(frozen=True)
class Placement:
    """A position `p` of the source is at `span * p + offset` in the edit; each is a pair (vertical, horizontal).

    `base` is the span that comes from the sizes alone, before any zoom.
    """

    base: tuple[float, float]
    span: tuple[float, float]
    offset: tuple[float, float] = (0.0, 0.0)

    @property
    def zoom(self) -> float:
        """How much larger things are in the edit than in the source when one is laid over the other."""
        return math.sqrt(self.span[0] / self.base[0] * self.span[1] / self.base[1])

    def shift(self, size: tuple[int, int]) -> tuple[float, float]:
        """How far right and down the source's center moved in the edit, in pixels of a source of `size` [H, W]."""
        down, right = (o / b * side for o, b, side in zip(self.offset, self.base, size))
        return right, down

    def visible(self, size: tuple[int, int]) -> tuple[slice, slice]:
        """The rows and columns of a source of `size` that the edit shows."""
        bounds = []
        for span, offset, side in zip(self.span, self.offset, size):
            low, high = ((end - offset) / span for end in (-0.5, 0.5))
            first, last = math.ceil((low + 0.5) * side - 0.01), math.floor((high + 0.5) * side + 0.01)
            bounds.append(slice(min(max(first, 0), side - 1), max(min(last, side), 1)))
        return bounds[0], bounds[1]


@dataclass(frozen=True)
class ColorTransform:
    """Maps the edit's colors to the source's: times `gain` plus `offset`, both [3, 1, 1]."""

    gain: Tensor
    offset: Tensor

    @staticmethod
    def identity(like: Tensor) -> "ColorTransform":
        return ColorTransform(like.new_ones(3, 1, 1), like.new_zeros(3, 1, 1))

    def undo(self, edit: Tensor) -> Tensor:
        return edit * self.gain + self.offset

    def clip(self, source: Tensor) -> Tensor:
        """The source as the edit can show it: what the drift pushed beyond white or black is lost."""
        low, high = self.offset, self.gain + self.offset
        return torch.minimum(torch.maximum(source, low), high)

    def drift(self, edit: Tensor) -> float:
        """RMS change of the edit's pixels [3, H, W], in the channel where it is largest."""
        return (self.undo(edit) - edit).square().mean((1, 2)).amax().sqrt().item()


@dataclass(frozen=True)
class Registration:
    """`agreement`: how similar the edges of source and placed edit are, from 0 (chance) to 1."""

    placement: Placement
    colors: ColorTransform
    agreement: float


def register(source: Tensor, edit: Tensor, trusted: Tensor) -> Registration:
    """The placement of the source [3, H, W] in the edit [3, h, w], estimated where `trusted` [1, H, W] is 1."""
    levels = [_level(source, edit, trusted, side) for side in LEVELS[: _needed_levels(size_of(source))]]
    start = _search(*levels[0], _fitting_spans(size_of(source), size_of(edit)))
    placement, colors = _refine(levels, start)
    placement = _snap_to_rest(placement, size_of(source))
    agreement, by_search = (_measure_agreement(*levels[0], candidate) for candidate in (placement, start))
    if agreement < max(by_search - 0.1, UNSURE):  # too much was edited for the pixels to agree on anything
        placement, agreement = start, by_search
        colors = _match_colors(*levels[0], placement)
    if max(ends.abs().max() for ends in (colors.offset, colors.gain + colors.offset - 1)) < FAINT:
        colors = ColorTransform.identity(source)
    return Registration(placement, colors, agreement)


def _refine(levels: list[tuple[Tensor, Tensor, Tensor]], placement: Placement) -> tuple[Placement, ColorTransform]:
    """Gauss-Newton steps from coarse to fine."""
    colors = ColorTransform.identity(levels[0][0])
    for (source, edit, trusted), steps, cutoff in zip(levels, STEPS, CUTOFFS):
        trusted = trusted * downscale(_edge_similarity(*levels[0][:2], placement), list(size_of(source)))
        for _ in range(steps):
            placement, colors = _step(source, edit, trusted, placement, colors, cutoff)
    return placement, colors


def _match_colors(source: Tensor, edit: Tensor, trusted: Tensor, placement: Placement) -> ColorTransform:
    """The color drift, for a given placement."""
    colors = ColorTransform.identity(source)
    for _ in range(STEPS[0]):
        _, _, colors = _compare(source, edit, trusted, placement, colors, CUTOFFS[0])
    return colors


def size_of(image: Tensor) -> tuple[int, int]:
    """(height, width) of [C, H, W]."""
    return image.shape[1], image.shape[2]


def place(edit: Tensor, placement: Placement, size: tuple[int, int]) -> Tensor:
    """The edit [C, h, w] resampled onto the source: [C, *size]. Beyond its borders it is mirrored."""
    for axis, (span, offset, side) in enumerate(zip(placement.span, placement.offset, size), start=1):
        edit = _resample(edit, axis, span, offset, side)
    return edit


def _resample(image: Tensor, axis: int, span: float, offset: float, count: int) -> Tensor:
    """`count` samples along one axis with a cubic kernel, widened where several pixels fall into one sample."""
    side = image.shape[axis]
    if side == count and span == 1 and offset == 0:
        return image
    places = (torch.arange(count, device=image.device) + 0.5) / count - 0.5
    centers = (places * span + offset + 0.5) * side - 0.5
    width = max(1.0, span * side / count)
    first = (centers - 2 * width).floor().long() + 1
    shape = [-1 if a == axis else 1 for a in range(image.ndim)]
    total, weights = image.new_zeros(()), torch.zeros((), device=image.device)
    for tap in range(math.ceil(4 * width)):
        index = first + tap
        weight = _cubic((index - centers) / width)
        mirrored = index % (2 * side)
        inside = torch.where(mirrored < side, mirrored, 2 * side - 1 - mirrored)
        total = total + image.index_select(axis, inside) * weight.view(shape)
        weights = weights + weight
    return total / weights.view(shape)


def _cubic(x: Tensor) -> Tensor:
    """Keys' interpolating cubic (a = -1/2)."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _needed_levels(size: tuple[int, int]) -> int:
    return 1 + sum(max(size) > side for side in LEVELS[:-1])


def _level(source: Tensor, edit: Tensor, trusted: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Copies whose longer side is at most `side`, slightly blurred so that noise and JPEG blocks matter less."""
    factor = min(1.0, side / max(size_of(source)))
    size = [max(1, round(length * factor)) for length in size_of(source)]
    edit_size = [min(length, ours) for length, ours in zip(size_of(edit), size)]
    source, edit, trusted = downscale(source, size), downscale(edit, edit_size), downscale(trusted, size)
    return blur(source), blur(edit), trusted


def downscale(image: Tensor, size: list[int]) -> Tensor:
    """[C, H, W] → [C, *size], with every pixel counted."""
    if list(image.shape[1:]) == size:
        return image
    return F.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]


def blur(image: Tensor) -> Tensor:
    """Blur [C, H, W] with a binomial kernel of three pixels."""
    for axis in (1, 2):
        before, after = _neighbors(image, axis)
        image = image / 2 + (before + after) / 4
    return image


def _slope(image: Tensor, axis: int) -> Tensor:
    """Central differences per pixel along one axis of [C, H, W]."""
    before, after = _neighbors(image, axis)
    return (after - before) / 2


def _neighbors(image: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The pixels before and after each one, along one axis of [C, H, W]. The border is repeated."""
    padded = F.pad(image[None], [1, 1, 0, 0] if axis == 2 else [0, 0, 1, 1], mode="replicate")[0]
    side = image.shape[axis]
    return padded.narrow(axis, 0, side), padded.narrow(axis, 2, side)


def _fitting_spans(size: tuple[int, int], edit_size: tuple[int, int]) -> list[tuple[float, float]]:
    """Spans that explain the edit's size: stretched, or cropped or padded at the same aspect ratio."""
    per_pixel = [edit_side / side for side, edit_side in zip(size, edit_size)]
    ways = [(1.0, 1.0)]
    if max(per_pixel) / min(per_pixel) > 1.002:
        ways += [(scale / per_pixel[0], scale / per_pixel[1]) for scale in (max(per_pixel), min(per_pixel))]
    return ways


def _search(source: Tensor, edit: Tensor, trusted: Tensor, ways: list[tuple[float, float]]) -> Placement:
    """The best of all zooms and whole-pixel shifts, by correlation of edge directions."""
    size = size_of(source)
    candidates = [Placement(way, (way[0] * zoom, way[1] * zoom)) for way in ways for zoom in ZOOMS]
    edges = torch.stack([_edges(place(edit, candidate, size)) for candidate in candidates])
    room = [side + side // 2 for side in size]
    spectrum = torch.fft.fft2(_edges(source) * trusted[0], s=room).conj()
    scores = torch.fft.ifft2(torch.fft.fft2(edges, s=room) * spectrum).real
    scores = scores / edges.abs().square().sum((1, 2)).sqrt().clamp_min(1e-6)[:, None, None]
    best = int(scores.argmax())
    index, down, right = best // (room[0] * room[1]), best // room[1] % room[0], best % room[1]
    if scores.flatten()[best] <= 1e-6:  # nothing to go by: a plain surface
        return candidates[ZOOMS.index(1.0)]
    moved = [(at if at < side else at - whole) / side for at, side, whole in zip((down, right), size, room)]
    candidate = candidates[index]
    return Placement(candidate.base, candidate.span, (moved[0] * candidate.span[0], moved[1] * candidate.span[1]))


def _edges(image: Tensor) -> Tensor:
    """[3, H, W] → complex [H, W]: the direction of the edge, twice its angle so that dark on light counts as light on dark.

    Its length goes from 0 to 1 as the edge grows stronger than most.
    """
    gray = image.mean(0, keepdim=True)
    edge = torch.complex(_slope(gray, 2)[0], _slope(gray, 1)[0])
    strength = edge.abs()
    return edge.square() / (strength.square() + strength.mean().square() + 1e-10)


def _edge_similarity(source: Tensor, edit: Tensor, placement: Placement) -> Tensor:
    """How similar the edge directions around each pixel are, 0…1 [1, H, W]. Without edges, little is certain."""
    ours, theirs = _edges(source), _edges(place(edit, placement, size_of(source)))
    products = torch.stack([(ours.conj() * theirs).real, ours.abs().square(), theirs.abs().square()])
    both, own, other = F.avg_pool2d(products[None], 13, stride=1, padding=6, count_include_pad=False)[0]
    return ((both + 0.003) / ((own * other).sqrt() + 0.01)).clamp(0, 1).square()[None]


def _measure_agreement(source: Tensor, edit: Tensor, trusted: Tensor, placement: Placement) -> float:
    """How similar the edges are where both are visible, as a share of the source's edges: seeing little proves little."""
    size = size_of(source)
    rows, columns = placement.visible(size)
    ours = _edges(source) * trusted[0]
    theirs = (_edges(place(edit, placement, size)) * trusted[0])[rows, columns]
    norm = ours.abs().square().sum().sqrt() * theirs.abs().square().sum().sqrt()
    both = (ours[rows, columns].conj() * theirs).real.sum()
    return max(0.0, (both / norm.clamp_min(1e-6)).item())


def _compare(
    source: Tensor, edit: Tensor, trusted: Tensor, placement: Placement, colors: ColorTransform, cutoff: float
) -> tuple[Tensor, Tensor, ColorTransform]:
    """(the placed edit, how much each pixel counts [1, H, W], the refitted colors) after one robust step."""
    placed = place(edit, placement, size_of(source))
    visible = torch.zeros_like(trusted)
    rows, columns = placement.visible(size_of(source))
    visible[:, rows, columns] = trusted[:, rows, columns]
    expected = colors.clip(source)
    weights = _tukey_weights(colors.undo(placed) - expected, visible, cutoff)
    return placed, weights, _fit_colors(placed, expected, weights)


def _step(
    source: Tensor, edit: Tensor, trusted: Tensor, placement: Placement, colors: ColorTransform, cutoff: float
) -> tuple[Placement, ColorTransform]:
    """One Gauss-Newton step of the placement, after one robust fit of the colors."""
    placed, weights, colors = _compare(source, edit, trusted, placement, colors, cutoff)
    error = colors.undo(placed) - colors.clip(source)
    jacobian = []
    for axis, span in enumerate(placement.span, start=1):
        side = source.shape[axis]
        slope = (_slope(placed, axis) * colors.gain + _slope(source, axis)) * (side / 2 / span)
        at = (torch.arange(side, device=source.device) + 0.5) / side - 0.5
        at = at.view([-1 if a == axis else 1 for a in range(3)])
        jacobian += [(slope * at).flatten(), slope.flatten()]
    jacobian = torch.stack(jacobian)
    weighted = jacobian * weights.expand_as(error).flatten()
    normal = (weighted @ jacobian.T).double()
    normal.diagonal().add_(1e-6 * normal.diagonal().mean() + 1e-9)  # a plain surface says nothing
    d = torch.linalg.solve(normal, (weighted @ error.flatten()).double()).clamp(-0.05, 0.05).tolist()
    span = (placement.span[0] - d[0], placement.span[1] - d[2])
    offset = (placement.offset[0] - d[1], placement.offset[1] - d[3])
    return Placement(placement.base, span, offset), colors


def _tukey_weights(error: Tensor, visible: Tensor, cutoff: float) -> Tensor:
    """Tukey's weights [1, H, W]: 1 where source and edit agree, 0 where they differ far more than most."""
    size = error.square().mean(0, keepdim=True).sqrt()
    agreeing = size[visible > 0.5][::7]
    if len(agreeing) == 0:
        return visible
    scale = agreeing.kthvalue(max(1, int(0.2 * len(agreeing)))).values / 0.4
    limit = (4.7 * scale).clamp(0.02, cutoff)
    return (1 - (size / limit).square()).clamp_min(0).square() * visible


def _fit_colors(placed: Tensor, source: Tensor, weights: Tensor) -> ColorTransform:
    """Weighted least squares per channel, regularized toward no change."""
    mass = weights.sum().clamp_min(1e-6)
    means = [(image * weights).sum((1, 2), keepdim=True) / mass for image in (placed, source)]
    centered = [image - mean for image, mean in zip((placed, source), means)]
    variance = (centered[0].square() * weights).sum((1, 2), keepdim=True) / mass
    covariance = (centered[0] * centered[1] * weights).sum((1, 2), keepdim=True) / mass
    gain = ((covariance + 1e-4) / (variance + 1e-4)).clamp(0.5, 2)
    return ColorTransform(gain, means[1] - gain * means[0])


def _snap_to_rest(placement: Placement, size: tuple[int, int]) -> Placement:
    """No movement at all where every corner moved by less than STILL."""
    still = Placement(placement.base, placement.base)
    moves = [
        (abs(span - base) / 2 + abs(offset)) / base * side
        for span, base, offset, side in zip(placement.span, placement.base, placement.offset, size)
    ]
    return still if max(moves) < STILL else placement
