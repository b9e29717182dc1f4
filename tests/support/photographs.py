"""Images that are as rough as photographs, displace and degrade by other means than the code under test uses."""

import io

import torch
import torch.nn.functional as F
from PIL import Image

from rethink.images import from_pil, to_pil


def make_photograph(seed: int = 0, height: int = 240, width: int = 320) -> torch.Tensor:
    """[1, H, W, 3]: noise of all sizes, strongest where coarse, under a few discs with sharp edges."""
    random = torch.Generator().manual_seed(seed)
    picture = torch.zeros(1, 3, height, width)
    for octave in range(1, 8):
        noise = torch.randn(1, 3, 2**octave, 2**octave, generator=random)
        picture += F.interpolate(noise, (height, width), mode="bicubic") * 0.75**octave
    picture = 0.5 + 0.12 * picture
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for _ in range(12):
        x, y, radius, *color = torch.rand(6, generator=random).tolist()
        disc = (ys - y * height) ** 2 + (xs - x * width) ** 2 < ((0.03 + 0.09 * radius) * height) ** 2
        shade = 0.7 * picture + 0.5 * (torch.tensor(color)[:, None, None] - 0.5)
        picture = torch.where(disc, shade + 0.15, picture)
    return picture.clamp(0, 1).movedim(1, -1)


def displace(picture: torch.Tensor, right: float, down: float, zoom: float) -> torch.Tensor:
    """The image magnified about its center, then moved by pixels."""
    height, width = picture.shape[1:3]
    theta = torch.tensor([[[1 / zoom, 0, -right * 2 / width / zoom], [0, 1 / zoom, -down * 2 / height / zoom]]])
    grid = F.affine_grid(theta, [1, 3, height, width], align_corners=False)
    moved = F.grid_sample(picture.movedim(-1, 1), grid, "bicubic", "reflection", align_corners=False)
    return moved.movedim(1, -1).clamp(0, 1)


def degrade(picture: torch.Tensor, tint=(1.04, 0.97, 1.0), offset=0.02, noise=0.008, quality=90) -> torch.Tensor:
    """Tint, noise and JPEG."""
    random = torch.Generator().manual_seed(1)
    picture = picture * torch.tensor(tint) + offset
    picture = (picture + noise * torch.randn(picture.shape, generator=random)).clamp(0, 1)
    file = io.BytesIO()
    to_pil(picture)[0].save(file, "JPEG", quality=quality)
    return from_pil([Image.open(file)])


def disc(size: tuple[int, int], x: float, y: float, radius: float) -> torch.Tensor:
    """[H, W]: true within a disc, in pixels."""
    ys, xs = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return (ys - y) ** 2 + (xs - x) ** 2 < radius**2
