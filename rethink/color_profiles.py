"""Converts colors to sRGB by a file's ICC profile, or its equivalent, with Pillow's littlecms.

Without littlecms, or with a profile that is broken or for another kind of image, values are treated as sRGB.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageCms import ImageCmsTransform

ALIKE = 2  # of 255: sRGB profiles differ from each other by no more than this, and change nothing
SPACES = {"RGB": "RGB", "CMYK": "CMYK", "L": "GRAY"}  # Pillow's modes → ICC's names for a profile's color space

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = (0.3127, 0.3290)
REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
PRIMARIES = {  # code of ITU-T H.273 → white, red, green and blue as x and y
    1: (*D65, *REC709),
    5: (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
SRGB_CURVE = 0.0  # in place of an exponent
EXPONENTS = {1: SRGB_CURVE, 6: SRGB_CURVE, 13: SRGB_CURVE, 14: SRGB_CURVE, 15: SRGB_CURVE, 4: 2.2, 5: 2.8, 8: 1.0}
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def convert_to_srgb(image: Image, profile: bytes) -> Image:
    """Convert an image of mode RGB, L or CMYK to sRGB (RGB); unchanged if the profile has no effect or is unusable."""
    transform = _transform(profile, image.mode)
    if transform is None and image.mode == "L" and _transform(profile, "RGB") is not None:
        image = image.convert("RGB")
        transform = _transform(profile, "RGB")
    if transform is None:
        return image
    from PIL import ImageCms

    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is only where an image is transformed in place
    return converted


def gray_curve(profile: bytes) -> np.ndarray:
    """The 256 gray levels of this profile in sRGB, 0…1."""
    from PIL import Image

    levels = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    return np.asarray(convert_to_srgb(levels, profile).convert("RGB"))[0, :, 1] / np.float32(255)


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """None if this profile changes nothing in images of this mode, or cannot be used for them."""
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        description: Any = source.profile  # Pillow types it as the file that it may come from
        if description.xcolor_space.strip() != SPACES.get(mode):
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        return None if mode == "RGB" and _changes_nothing(transform) else transform
    except Exception:  # no littlecms, or whatever it finds wrong with a profile
        return None


def _changes_nothing(transform: ImageCmsTransform) -> bool:
    from PIL import Image, ImageCms

    levels = np.linspace(0, 255, 18).astype(np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    converted = np.asarray(ImageCms.applyTransform(Image.fromarray(colors), transform))
    return bool(np.abs(converted.astype(int) - colors).max() <= ALIKE)


def coded_profile(primaries: int, curve: int) -> bytes:
    """The profile for two codes of ITU-T H.273, as PNG and HEIF state colors; b"" for unsupported codes."""
    if primaries not in PRIMARIES or curve not in EXPONENTS:
        return b""
    return _matrix_profile(PRIMARIES[primaries], EXPONENTS[curve])


def measured_profile(exponent: float, places: list[float] | None) -> bytes:
    """The profile for an exponent (0: sRGB's own curve) and white, red, green and blue as x and y (None: sRGB's)."""
    xy = places or [*D65, *REC709]
    if 2.1 < exponent < 2.3 and np.allclose(xy, (*D65, *REC709), atol=0.01):  # the usual way to write sRGB
        exponent = SRGB_CURVE
    return _matrix_profile(xy, exponent)


def _matrix_profile(places: Sequence[float], exponent: float) -> bytes:
    """An ICC profile of three primaries and one curve; b"" for impossible values."""
    try:
        colorants = _colorants(np.array(places, float).reshape(4, 2))
    except (np.linalg.LinAlgError, ZeroDivisionError, FloatingPointError):
        return b""
    sane = exponent == SRGB_CURVE or 0.3 < exponent < 10
    if not (sane and np.isfinite(colorants).all() and np.abs(colorants).max() < 100):
        return b""
    if exponent == SRGB_CURVE:
        curve = _tag(b"para", struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
    else:
        curve = _tag(b"para", struct.pack(">HH", 0, 0) + _fixed(exponent))
    tags = {b"wtpt": _tag(b"XYZ ", _fixed(*D50))}
    for name, colorant in zip("rgb", colorants.T):
        tags |= {f"{name}XYZ".encode(): _tag(b"XYZ ", _fixed(*colorant)), f"{name}TRC".encode(): curve}
    table, data = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, 128 + 4 + 12 * len(tags) + len(data), len(tag))
        data += tag
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x12s48x",
        128 + len(table) + len(data),
        0x04300000,
        b"mntr",
        b"RGB ",
        b"XYZ ",
        b"acsp",
        _fixed(*D50),
    )
    return head + table + data


def _colorants(places: np.ndarray) -> np.ndarray:
    """White and three primaries [4, 2] in XYZ under D50, one per column."""
    with np.errstate(divide="raise", invalid="raise"):
        white, *primaries = (np.array([x, y, 1 - x - y]) / y for x, y in places)
        matrix = np.stack(primaries, -1)
        matrix = matrix * np.linalg.solve(matrix, white)
        adapted = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / (BRADFORD @ white)) @ BRADFORD
        return adapted @ matrix


def _tag(kind: bytes, value: bytes) -> bytes:
    return kind + bytes(4) + value


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))
