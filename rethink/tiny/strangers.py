"""Tells images of the built-in world from all others, which its models have never seen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .scene import BACKGROUNDS, SIZE, render_background

TOLERANCE = 0.06  # of a color, 0…1: more than the built-in editor's coding blurs
SHARE = 0.5  # of an image that is one background: 0.64 or more in scenes, less than 0.3 in 99 of 100 photographs


def are_scenes(images: Tensor) -> Tensor:
    """IMAGE [B, H, W, 3] of any size → bool [B]: whether half of each has the color of one of the world's backgrounds,
    plain or darkening downwards."""
    small = F.interpolate(images.movedim(-1, 1).float().cpu(), (SIZE, SIZE), mode="area").movedim(1, -1)
    count = len(BACKGROUNDS)
    empty = render_background(torch.arange(count).repeat(2), torch.arange(2).repeat_interleave(count))
    shares = [((empty - image).abs().amax(-1) < TOLERANCE).float().mean((1, 2)).max() for image in small]
    return torch.stack(shares) >= SHARE


def warn_of_strangers(model: str, images: Tensor) -> str:
    """A warning before a built-in model ("editor", "thinker") works on images; "" if all are from its world."""
    if bool(are_scenes(images).all()):
        return ""
    return (
        f"The built-in {model} only works on images of Built-in Scene and makes nothing sensible of any other image. "
        f"Load another {model} for your own images."
    )
