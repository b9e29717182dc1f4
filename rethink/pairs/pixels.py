"""Images of pairs: uint8 arrays [H, W, 3], since that is what the files hold, bit for bit.

No torch at import: the processes that apply operations start in a fraction of a second and stay small.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from ..atomic import atomic_write
from ..errors import RethinkError
from ..image_files import ENDINGS as ENDINGS
from ..image_files import read_rgb, read_selection
from ..image_notes import PNG_SIGNATURE

if TYPE_CHECKING:
    from torch import Tensor

UP_FILTER = 2  # of PNG: every byte minus the byte above it


def read_pixels(path: str | Path | IO[bytes], longest_side: int = 0) -> np.ndarray:
    """An image file, at a path or opened in binary mode, as uint8 [H, W, 3], as `image_files.read_rgb` reads it, at most
    `longest_side` pixels long (0: as is).

    Raises RethinkError with the reason for a file that is broken, in another format, or absurdly large.
    """
    pixels = read_rgb(path, longest_side)
    return pixels if pixels.ndim == 3 else np.repeat((pixels * 255).round().astype(np.uint8)[..., None], 3, -1)


def read_mask(path: str | Path, shape: tuple[int, int]) -> np.ndarray:
    """A mask file as bool [H, W] at `shape`, true where it selects more than half (see `image_files.read_selection`).
    A mask of another size is resized. Also raises RethinkError for one that is rotated relative to the image."""
    from PIL import Image

    selected, size = Image.fromarray(read_selection(path)), (shape[1], shape[0])
    if _is_rotated(selected.size, size):
        sizes = f"{selected.width}×{selected.height} pixels for {shape[1]}×{shape[0]}"
        raise RethinkError(f"lies on its side: {sizes}; rotate it like the image")
    return np.asarray(selected.resize(size, Image.Resampling.BILINEAR)) > 0.5


def _is_rotated(size: tuple[int, int], expected: tuple[int, int]) -> bool:
    aspect, rotated, right = size[0] / size[1], size[1] / size[0], expected[0] / expected[1]
    return abs(rotated / right - 1) < 0.02 < 0.1 < abs(aspect / right - 1)


def from_pixels(pixels: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] as IMAGE [1, H, W, 3]."""
    from ..images import as_image

    return as_image(pixels.copy())  # Pillow's own memory is read-only


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 [H, W, 3] or bool [H, W] as an 8-bit PNG.

    The rows are filtered by the row above and packed with run lengths and Huffman codes alone: on photographs some
    fifteen times faster than Pillow's default and about as small, which counts in a run of a million files.
    """
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)[..., None] * 255
    height, width, channels = pixels.shape
    rows = np.empty((height, 1 + width * channels), np.uint8)
    flat = pixels.reshape(height, -1)
    rows[:, 0] = UP_FILTER
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    data = packer.compress(rows.data) + packer.flush()
    return PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it, so that it is never seen half written. Its name must identify
    its contents: a file that is open elsewhere stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
    except PermissionError:  # on Windows: it is open elsewhere, with the same contents
        if not path.exists():
            raise
