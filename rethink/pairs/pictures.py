"""Pictures as the pairs hold them: uint8 arrays [H, W, 3], because that is what the files keep, bit for bit.

No torch at import: the processes that damage pictures start in a fraction of a second and stay small.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import RethinkError
from ..files import appearing

if TYPE_CHECKING:
    from torch import Tensor

ENDINGS = frozenset(".png .jpg .jpeg .webp .bmp .tif .tiff .jp2 .avif .heic .gif .ppm".split())
MOST_PIXELS = 200_000_000  # what a process is let to decode; twice Pillow's own warning line
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
UP = 2  # PNG filter: every byte minus the byte above it


def read_picture(path: str | Path, longest_side: int = 0) -> np.ndarray:
    """A picture file as uint8 [H, W, 3], upright by its EXIF tag, in RGB, at most `longest_side` pixels long (0: as is).

    CMYK, greyscale, palette, 16 bits: converted. Transparency lies on white, as a viewer shows it.
    Raises RethinkError naming the reason for what is no single readable picture: broken, animated, or absurdly large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":  # a photograph with its preview
                raise RethinkError(f"{picture.n_frames} frames: an animation or a document, not one picture")
            if picture.width * picture.height > MOST_PIXELS:
                raise RethinkError(f"{picture.width}×{picture.height} pixels are too many; scale it down first")
            if longest_side:
                picture.draft("RGB", (longest_side, longest_side))  # a JPEG is decoded at the smaller size at once
            picture = _rgb(ImageOps.exif_transpose(picture))
            if longest_side and max(picture.size) > longest_side:
                picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
            return np.asarray(picture)
    except RethinkError:
        raise
    except UnidentifiedImageError as error:  # its own words name an address in memory
        raise RethinkError("cannot be read as a picture: it is in no format that is known here") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise RethinkError(f"cannot be read as a picture: {error}") from error


def _rgb(picture):
    from PIL import Image

    if picture.mode.startswith("I"):  # Pillow clips 16 bits to 8 when it converts: scale them instead
        values = np.asarray(picture).astype(np.float32) / 257
        return Image.fromarray(values.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        return Image.fromarray((np.asarray(picture).clip(0, 1) * 255).round().astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def read_mask(path: str | Path, shape: tuple[int, int]) -> np.ndarray:
    """A mask file as bool [H, W] at `shape`, true where it is brighter than half; resized where it has another size."""
    from PIL import Image

    grey = Image.fromarray(read_picture(path)).convert("L")
    return np.asarray(grey.resize(shape[::-1], Image.Resampling.BILINEAR)) > 127


def from_pixels(picture: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] as IMAGE [1, H, W, 3]."""
    from ..images import as_image

    return as_image(picture.copy())  # Pillow's own memory is read-only


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 [H, W, 3] or bool [H, W] as an 8-bit PNG.

    The rows are filtered by the row above and packed with run lengths and Huffman codes alone: on photographs some
    fifteen times faster than Pillow's default and about as small, which is what a run of a million files is made of.
    """
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)[..., None] * 255
    height, width, channels = pixels.shape
    rows = np.empty((height, 1 + width * channels), np.uint8)
    flat = pixels.reshape(height, -1)
    rows[:, 0] = UP
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    data = packer.compress(rows) + packer.flush()
    return PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whose name says what is in it, so that it is never seen torn: under another name, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with appearing(path) as passing:
            passing.write_bytes(data)
    except PermissionError:  # somebody reads what is there, which is the same
        if not path.exists():
            raise
