"""The image convention, and every conversion to and from it.

IMAGE is a float32 tensor [B, H, W, 3], values 0…1, sRGB. A mask is float32 [B, H, W], values 0…1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .atomic import atomic_write, check_target
from .errors import RethinkError, reason_of
from .image_files import read_rgb, read_selection

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


def as_image(value: Any, name: str = "image") -> Tensor:
    """Any image-like array as IMAGE [B, H, W, 3]; the same tensor object if it already is one.

    `value`: [H, W, C] or [B, H, W, C] with 1, 3 or 4 channels, floats in 0…1 (clamped) or uint8. Alpha is dropped.
    Raises RethinkError naming `name` for another shape or dtype, for an empty array, for NaN and infinity.
    """
    image = _as_floats(value, name)
    if image.ndim == 3:
        image = image[None]
    if image.ndim != 4 or image.shape[-1] not in (1, 3, 4):
        raise RethinkError(
            f"{name}: expected [height, width, channels] or [batch, height, width, channels] with 1, 3 or 4 channels, "
            f"got shape {list(image.shape)}."
        )
    if image.shape[-1] != 3:
        image = image[..., :3].expand(-1, -1, -1, 3)
    return _in_range(image, name)


def as_mask(value: Any, image: Tensor, name: str = "mask") -> Tensor:
    """A mask [H, W] or [B, H, W] as floats 0…1 [B or 1, H, W] at the size of `image` (an IMAGE).

    A mask of another size is resized bilinearly.
    Raises RethinkError naming `name` for NaN, for another shape, and for a batch that is neither 1 nor the image's.
    """
    mask = _as_floats(value, name)
    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim != 3:
        raise RethinkError(f"{name}: expected [height, width] or [batch, height, width], got shape {list(mask.shape)}.")
    mask = _in_range(mask, name)
    batch, height, width = image.shape[:3]
    if mask.shape[0] not in (1, batch):
        raise RethinkError(f"{name}: {mask.shape[0]} masks for {batch} image(s); give one mask, or one for each image.")
    if mask.shape[1:] != (height, width):
        mask = F.interpolate(mask[:, None], size=(height, width), mode="bilinear", antialias=True)[:, 0].clamp(0, 1)
    return mask


def as_edit_mask(value: Any, image: Tensor, name: str = "mask") -> Tensor | None:
    """The mask of where an edit may change something, as by `as_mask`, or None.

    Also raises RethinkError if it selects nothing in any image, since the edit would equal the source.
    """
    if value is None:
        return None
    mask = as_mask(value, image, name)
    if not selects_anything(mask):
        raise empty_mask_error(name)
    return mask


def empty_mask_error(name: str = "mask") -> RethinkError:
    """The error for a mask that selects nothing."""
    return RethinkError(
        f"{name}: is empty, so nothing may change; paint where the image may change, or leave the mask out. "
        "(Load Image outputs an empty mask for every image without transparency.)"
    )


def selects_anything(mask: Tensor) -> bool:
    """Whether a mask is more than the specks that resizing leaves."""
    return bool((mask > 0.01).any())


def _as_floats(value: Any, name: str) -> Tensor:
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RethinkError(f"{name}: expected an array of pixels, got {type(value).__name__}.") from error
    if tensor.numel() == 0:
        raise RethinkError(f"{name}: is empty (shape {list(tensor.shape)}).")
    if tensor.dtype == torch.uint8:
        return tensor.float() / 255
    if not tensor.is_floating_point():
        raise RethinkError(f"{name}: expected floats in 0…1 or uint8, got {tensor.dtype}.")
    return (tensor.detach() if tensor.requires_grad else tensor).float()


def _in_range(tensor: Tensor, name: str) -> Tensor:
    low, high = torch.aminmax(tensor)  # NaN and infinity show up in one of the two
    if not (torch.isfinite(low) and torch.isfinite(high)):
        raise RethinkError(f"{name}: has NaN or infinite values; check the node that made it.")
    return tensor.clamp(0, 1) if low < 0 or high > 1 else tensor


def from_pil(images: Sequence["Image"]) -> Tensor:
    """PIL images of the same size and any mode as IMAGE [len(images), H, W, 3]. 16-bit grayscale keeps its depth."""
    sizes = sorted({image.size for image in images})
    if len(sizes) != 1:
        raise RethinkError(f"image: all images of a batch must have the same size, got {sizes or 'no image'}.")
    return torch.cat([_from_pil(image) for image in images])


def _from_pil(image: "Image") -> Tensor:
    import numpy as np

    if image.mode.startswith("I"):  # PIL clips 16 bits to 8 when it converts: scale them instead
        return as_image(torch.from_numpy(np.asarray(image).astype("float32"))[..., None] / 65535)
    if image.mode == "F":
        return as_image(torch.from_numpy(np.array(image))[..., None])
    return as_image(torch.from_numpy(np.array(image.convert("RGB"))))


def to_pixels(image: Tensor) -> "np.ndarray":
    """Floats 0…1 of any shape as uint8 of that shape, rounded to the nearest value."""
    return (image * 255).round().to(torch.uint8).cpu().numpy()


def to_pil(image: Tensor) -> list["Image"]:
    """IMAGE [B, H, W, 3] as B 8-bit RGB images, rounded to the nearest value."""
    from PIL import Image

    return [Image.fromarray(rows) for rows in to_pixels(as_image(image))]


def load_image(path: str | PathLike, name: str = "image") -> Tensor:
    """An image file as IMAGE [1, H, W, 3], as `image_files.read_rgb` reads it; gray of 16 bits keeps its depth.

    Raises RethinkError naming `name` and the file if it is missing, not an image, broken, or absurdly large.
    """
    pixels = _read(read_rgb, path, name)
    return as_image(torch.from_numpy(pixels.copy() if pixels.ndim == 3 else pixels[..., None]), name)


def load_mask(path: str | PathLike, name: str = "mask") -> Tensor:
    """A mask file as floats 0…1 [1, H, W], as `image_files.read_selection` reads it. Raises RethinkError like `load_image`."""
    return torch.from_numpy(_read(read_selection, path, name))[None]


def _read(reader: Callable, path: str | PathLike, name: str) -> "np.ndarray":
    try:
        return reader(path)
    except RethinkError as error:
        raise RethinkError(f"{name}: cannot read {path}: {error}") from error


_FORMATS = {  # ending → Pillow's name of the format
    "": "PNG",
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".jp2": "JPEG2000",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".tga": "TGA",
    ".ppm": "PPM",
}
_OPTIONS = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}, "AVIF": {"quality": 90}}
_LONGEST = {"JPEG": 65500, "WEBP": 16383, "AVIF": 65535}  # sides in pixels


def check_image_target(path: str | PathLike, height: int, width: int, name: str) -> None:
    """Check that `save_image` will be able to write an image of this size to `path`, and create its folder.

    Raises RethinkError naming the input `name` for another extension, and for a path that cannot be written.
    """
    from PIL import features

    path = Path(path)
    kind = _FORMATS.get(path.suffix.lower())
    codec = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}.get(kind or "")
    if kind is None or (codec and not features.check(codec)):
        known = ", ".join(ending for ending in _FORMATS if ending)
        raise RethinkError(f"{name}: {path} has a file extension that cannot be written here; choose one of {known}.")
    if max(height, width) > _LONGEST.get(kind, 2**31):
        raise RethinkError(
            f"{name}: {kind} cannot store {width}×{height} pixels; write {path.with_suffix('.png')} instead."
        )
    check_target(path, name)


def save_image(image: Tensor, path: str | PathLike) -> None:
    """Write one 8-bit IMAGE [1, H, W, 3] or [H, W, 3] in the format of the path's extension, or PNG without one.

    The file appears whole or not at all. Raises RethinkError if the extension is unsupported or the file cannot be
    written.
    """
    images, path = to_pil(image), Path(path)
    if len(images) != 1:
        raise RethinkError(f"image: {path} takes one image, got {len(images)}.")
    check_image_target(path, images[0].height, images[0].width, "image")
    kind = _FORMATS[path.suffix.lower()]
    try:
        with atomic_write(path) as temporary:
            images[0].save(temporary, format=kind, **_OPTIONS.get(kind, {}))
    except OSError as error:
        raise RethinkError(f"image: {path} cannot be written: {reason_of(error)}.") from error


@dataclass(frozen=True)
class Fit:
    """How an image is brought to an editor's working size and back. All sizes in pixels (height, width)."""

    source: tuple[int, int]
    scaled: tuple[int, int]
    padded: tuple[int, int]


def plan_fit(height: int, width: int, *, area: int, multiple: int) -> Fit:
    """The size rule: keep the aspect ratio, aim for `area` pixels, then pad bottom and right up to `multiple`.

    Nothing is ever stretched. An image that already has the area and the multiples stays as it is, bit for bit.
    If a side comes out below `multiple`, the padded strip has the area, so that no ribbon costs more than a square.
    """
    scale = min((area / (height * width)) ** 0.5, area / multiple / max(height, width))
    scaled = max(1, round(height * scale)), max(1, round(width * scale))
    padded = -(-scaled[0] // multiple) * multiple, -(-scaled[1] // multiple) * multiple
    return Fit((height, width), scaled, padded)


def plan_within(height: int, width: int, size: tuple[int, int]) -> Fit:
    """For editors that only work at a few sizes: as large as fits into `size` (height, width), padded up to it."""
    scale = min(size[0] / height, size[1] / width)
    scaled = max(1, min(size[0], round(height * scale))), max(1, min(size[1], round(width * scale)))
    return Fit((height, width), scaled, (size[0], size[1]))


def fit(image: Tensor, plan: Fit) -> Tensor:
    """[B, H, W, C] at the plan's source size → [B, h, w, C] at its padded size: resized, then edges repeated."""
    channels_first = _resize(image.movedim(-1, 1), plan.scaled)
    below, right = (padded - scaled for padded, scaled in zip(plan.padded, plan.scaled))
    if below or right:
        channels_first = F.pad(channels_first, (0, right, 0, below), mode="replicate")
    return channels_first.movedim(1, -1)


def unfit(image: Tensor, plan: Fit) -> Tensor:
    """[B, h, w, C] at the plan's padded size → [B, H, W, C] at its source size: the padding cut off, then resized."""
    height, width = plan.scaled
    return _resize(image[:, :height, :width].movedim(-1, 1), plan.source).movedim(1, -1)


def _resize(channels_first: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(channels_first.shape[-2:]) == size:
        return channels_first
    return F.interpolate(channels_first, size=size, mode="bicubic", antialias=True).clamp(0, 1)
