"""The part of an image that an edit should have left alone, pixel by pixel.

Whatever the edit changed is first replaced by the source's own pixels, so that a measure of the two images sees only
differences elsewhere. Blanking both out instead, as PnPInversion's scripts do, would count every blank pixel as kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import RethinkError
from ..images import as_mask
from .preservation import TOP, changed_area

WINDOW, SIGMA = 11, 1.5  # of SSIM, in pixels
LUMINANCE, CONTRAST = 0.01**2, 0.03**2  # its constants, of values 0…1


@dataclass(frozen=True, eq=False)
class UnchangedPart:
    """outside: bool [H, W], what should stay; never empty. edited: IMAGE [1, H, W, 3], the edit with the source's
    pixels elsewhere."""

    source: Tensor
    edited: Tensor
    outside: Tensor

    @property
    def share(self) -> float:
        """The unchanged part's share of the image, 0…1."""
        return float(self.outside.float().mean())

    @property
    def psnr(self) -> float:
        """In dB, up to 99 for identical images."""
        error = (self.edited - self.source).square().mean(-1)[0][self.outside].mean()
        return min(TOP, float(-10 * torch.log10(error.clamp(min=1e-12))))

    @property
    def ssim(self) -> float:
        """1 for identical images."""
        return float(ssim_map(self.source, self.edited)[self.outside].mean())


def find_unchanged_part(source: Tensor, edited: Tensor, mask: Tensor | None = None) -> UnchangedPart:
    """What an edit should have left alone: everything outside the mask, or without one whatever did not visibly change.

    source, edited: IMAGE [1, H, W, 3] of one size. mask: [1, H, W], 1 where the image may change.
    Raises RethinkError where nothing is left.
    """
    free = changed_area(source, edited) if mask is None else as_mask(mask, source)[0] > 0
    if bool(free.all()):
        why = "the whole image has changed" if mask is None else "the mask selects the whole image"
        raise RethinkError(f"{why}: nothing is outside it")
    return UnchangedPart(source, torch.where(free[None, :, :, None], source, edited), ~free)


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity at every pixel, the mean of the channels (Wang et al. 2004, section III.B).

    first, second: IMAGE [1, H, W, 3] of one size. Returns [H, W].
    """
    a, b = first.movedim(-1, 1).double(), second.movedim(-1, 1).double()
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a, variance_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    alike = (2 * mean_a * mean_b + LUMINANCE) * (2 * covariance + CONTRAST)
    return (alike / ((mean_a**2 + mean_b**2 + LUMINANCE) * (variance_a + variance_b + CONTRAST))).mean(1)[0]


def _blur(channels: Tensor) -> Tensor:
    """Blur [1, C, H, W] with a Gaussian window; the border is repeated outward."""
    reach = WINDOW // 2
    weights = torch.exp(-((torch.arange(WINDOW, device=channels.device) - reach) ** 2) / (2 * SIGMA**2)).to(channels)
    weights = weights / weights.sum()
    for padding, shape in (((reach, reach, 0, 0), (1, 1, 1, -1)), ((0, 0, reach, reach), (1, 1, -1, 1))):
        kernel = weights.view(shape).repeat(channels.shape[1], 1, 1, 1)
        channels = F.conv2d(F.pad(channels, padding, "replicate"), kernel, groups=channels.shape[1])
    return channels
