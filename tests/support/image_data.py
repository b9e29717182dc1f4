"""Image files as bytes, with notes of any kind in them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def photograph(width=64, height=48):
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def saved(image, format, **options):
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def png_with(kind, value, data=None):
    """A PNG with a chunk more, after its header."""
    data = data or saved(photograph(), "PNG")
    chunk = struct.pack(">I", len(value)) + kind + value + struct.pack(">I", zlib.crc32(kind + value))
    return data[:33] + chunk + data[33:]


def jpeg_with(marker, value):
    """A JPEG with a segment more, after its first."""
    data = saved(photograph(), "JPEG", quality=95)
    return data[:20] + struct.pack(">BBH", 0xFF, marker, len(value) + 2) + value + data[20:]


def exif(orientation, *entries):
    """EXIF of raw entries (tag, type, count, value), the orientation in its place among them."""
    rows = sorted([(0x0112, 3, 1, orientation << 16), *entries])
    return b"MM\0*" + struct.pack(">IH", 8, len(rows)) + b"".join(struct.pack(">HHII", *row) for row in rows) + bytes(4)
