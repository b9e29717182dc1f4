"""The one reader of image files: what may be opened at all, and how its pixels become RGB.

Does not import torch, so that the processes that damage images start in a fraction of a second and stay small.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import numpy as np

from .color_profiles import coded_profile, convert_to_srgb, gray_curve
from .errors import RethinkError, lazy_import
from .image_notes import JPEG_SIGNATURE, PNG_SIGNATURE, Notes, exif_orientation, split_notes, xmp_orientation

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = frozenset(
    [
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".jif",
        ".mpo",
        ".webp",
        ".bmp",
        ".dib",
        ".gif",
        ".tif",
        ".tiff",
        ".tga",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".pfm",
        ".qoi",
        ".jp2",
        ".j2k",
        ".jpc",
        ".jpf",
        ".jpx",
        ".avif",
        ".avifs",
        ".heic",
        ".heif",
        ".hif",
        ".jxl",
    ]
)
UNSUPPORTED_ENDINGS = frozenset(  # of image formats that are not read here
    [
        ".psd",
        ".psb",
        ".xcf",
        ".kra",
        ".svg",
        ".eps",
        ".ai",
        ".ico",
        ".cur",
        ".icns",
        ".exr",
        ".hdr",
        ".dds",
        ".pcx",
        ".wmf",
        ".emf",
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".orf",
        ".rw2",
        ".raf",
        ".pef",
        ".srw",
    ]
)
MAX_PIXELS = 200_000_000  # the most that is decoded; twice the size at which Pillow warns
MOST_BYTES = 2**31  # of a file: more than that many pixels take, however they are stored

_SIGNATURES = {  # of the supported formats, by Pillow's names
    PNG_SIGNATURE: "PNG",
    JPEG_SIGNATURE: "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"qoif": "QOI",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\xff\x0a": "JXL",
    b"\0\0\0\x0cJXL ": "JXL",
    b"\x28\0\0\0": "DIB",
    b"\x6c\0\0\0": "DIB",
    b"\x7c\0\0\0": "DIB",
}
_OTHERS = {  # files that people mistake for images, and what they are
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop document",
    b"\x76\x2f\x31\x01": "an OpenEXR image",
    b"#?RADIANCE": "a Radiance HDR image",
    b"\0\0\1\0": "an icon",
    b"<svg": "an SVG drawing",
    b"<?xml": "a drawing or text in XML",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}
_BRANDS = {  # of files that start with their kind, like videos
    "AVIF": (b"avif", b"avis"),
    "HEIF": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
}
_EXIF_ITEM = re.compile(rb"(infe.{8})Exif", re.DOTALL)


def is_image_name(name: str) -> bool:
    """Whether a file of this name is an image that can be read here, possibly with an extra package."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def is_unsupported_image_name(name: str) -> bool:
    """Whether a file of this name is an image in an unsupported format."""
    return os.path.splitext(name)[1].lower() in UNSUPPORTED_ENDINGS


def read_rgb(source: str | os.PathLike | IO[bytes], longest_side: int = 0) -> np.ndarray:
    """Read the image in a file, given as a path or opened in binary mode.

    Returns uint8 [H, W, 3] in sRGB, or float32 [H, W], 0…1, for gray of more than 8 bits. The image is upright, the
    first frame, converted from its embedded profile, with transparency on white as a viewer shows it, and at most
    `longest_side` pixels long (0: as is). Raises RethinkError naming the reason, not the file.
    """
    with _reading():
        image, profile = _open_image(source, longest_side)
        if image.mode.startswith("I") or image.mode == "F":
            return _deep_gray(image, profile, longest_side)
        image = _flatten(image, profile)
        if longest_side and max(image.size) > longest_side:
            from PIL.Image import Resampling

            image.thumbnail((longest_side, longest_side), Resampling.LANCZOS)
        return np.asarray(image)


def read_selection(source: str | os.PathLike | IO[bytes]) -> np.ndarray:
    """Read what a mask file selects: float32 [H, W], 0…1, upright. White is selected, black is not.

    In a cutout, which is transparent in places, everything opaque is selected; but if it is drawn in pure black and
    white, only its opaque white is.
    """
    with _reading():
        image, _ = _open_image(source, 0)  # the values of a mask are not colors
        if image.mode == "F":
            return _deep_gray(image, b"", 0)
        if image.mode.startswith("I"):
            return _scale_labels(_deep_gray(image, b"", 0))
        if not image.has_transparency_data:
            return _scale_labels(np.asarray(image.convert("L"), np.float32) / 255)
        image = _rgba(image)
        alpha = np.asarray(image.getchannel("A"), np.float32) / 255
        gray = np.asarray(image.convert("RGB").convert("L"), np.float32) / 255
        if alpha.min() == alpha.max() > 0:
            return gray
        return gray * alpha if _is_drawn(gray[alpha > 0.5]) else alpha


def _scale_labels(values: np.ndarray) -> np.ndarray:
    """The selection, also from integers whose maximum is not white: segmenters write 0 and 1, some tools store a byte
    in a wider type."""
    top = values.max()
    return values / top if 0 < top < 1.001 / 255 else values


def _is_drawn(gray: np.ndarray) -> bool:
    """Whether there are black and white, and hardly anything in between."""
    black, white = (gray < 0.1).mean() if gray.size else 0, (gray > 0.9).mean() if gray.size else 0
    return bool(min(black, white) > 0.001 and black + white > 0.98)


@contextmanager
def _reading() -> Iterator[None]:
    """Turn whatever a decoder raises into a RethinkError."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except RethinkError:
        raise
    except FileNotFoundError as error:
        raise RethinkError("it does not exist") from error
    except UnidentifiedImageError as error:  # its own text contains a memory address
        raise RethinkError("cannot be read as an image: its format is unknown") from error
    except Exception as error:
        raise RethinkError(f"cannot be read as an image: {str(error) or type(error).__name__}") from error


def _open_image(source: str | os.PathLike | IO[bytes], longest_side: int) -> tuple[Image, bytes]:
    """(the upright first frame, its color profile)."""
    data, notes = split_notes(read_file(source))
    image = _open_as(_format_of(data), data)
    if image.width * image.height > MAX_PIXELS:
        raise RethinkError(f"{image.width}×{image.height} pixels are too many; scale it down first")
    if image.format not in ("PNG", "JPEG"):
        notes = _read_notes(image)
    if longest_side and image.format == "JPEG":  # JPEG can be decoded at the smaller size directly
        image.draft("RGB", (longest_side, longest_side))
    image.load()
    return _rotate(image, notes.orientation), notes.profile


def read_file(source: str | os.PathLike | IO[bytes]) -> bytes:
    """The bytes of a file, given as a path or opened in binary mode.

    Raises OSError, and RethinkError for anything but a file and for an absurdly large one.
    """
    too_large = RethinkError(f"it has more than {MOST_BYTES >> 30} GiB")
    if not isinstance(source, (str, os.PathLike)):
        data = source.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise too_large
        return data
    if os.path.exists(source) and not os.path.isfile(source):  # reading a pipe would never end
        raise RethinkError("it is a folder" if os.path.isdir(source) else "it is not a file")
    with open(source, "rb") as file:
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise too_large
        return file.read()


def _format_of(data: bytes) -> str:
    """Pillow's name for the format that a file is opened as.

    Raises RethinkError for unsupported formats, since Pillow passes some of them to other programs.
    """
    head = data[:32].lstrip(b"\xef\xbb\xbf \r\n\t")
    for signature, what in _OTHERS.items():
        if head.startswith(signature):
            raise RethinkError(f"cannot be read as an image: it is {what}; save it as a PNG first")
    name = next((name for signature, name in _SIGNATURES.items() if data.startswith(signature)), "")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        name = "WEBP"
    elif data[4:8] == b"ftyp":
        name = next((name for name, brands in _BRANDS.items() if any(brand in data[8:64] for brand in brands)), "")
    elif re.match(rb"P[1-7fF]\s", data):
        name = "PPM"
    _load_opener(name)
    return name or "TGA"  # the one format without a signature


def _load_opener(name: str) -> None:
    """Make sure that Pillow can open a format that needs a plugin. Raises RethinkError saying what to install."""
    from PIL import Image, features

    if name == "HEIF" and name not in Image.OPEN:
        _require("HEIC", "pillow_heif", "pillow-heif").register_heif_opener()
    elif name == "JXL" and name not in Image.OPEN:
        _require("JPEG XL", "pillow_jxl", "pillow-jxl-plugin")
    elif name == "AVIF" and not features.check("avif"):
        _require("AVIF", "pillow_avif", "pillow-avif-plugin")


def _require(what: str, module: str, package: str):
    try:
        return lazy_import(module, package)
    except RethinkError as error:
        raise RethinkError(f"its format is {what}, which needs the package {package}: pip install {package}") from error


def _open_as(name: str, data: bytes) -> Image:
    from PIL import Image

    if name == "TIFF":
        return _open_tiff(data)
    if name in ("AVIF", "HEIF"):  # both state their orientation themselves; Pillow would reject damaged EXIF
        data = _EXIF_ITEM.sub(rb"\1none", data)
    return Image.open(io.BytesIO(data), formats=[name])


def _open_tiff(data: bytes) -> Image:
    """Open a TIFF with Pillow, without automatic rotation, for which it would read all metadata."""
    from PIL.TiffImagePlugin import TiffImageFile

    class Page(TiffImageFile):
        def load_end(self) -> None:
            self._size = self.im.size  # until then it follows the orientation

    return Page(io.BytesIO(data))


def _read_notes(image: Image) -> Notes:
    """The part of the notes that Pillow's readers pass on."""
    from PIL.TiffImagePlugin import TiffImageFile

    info = image.info
    profile = info.get("icc_profile") or b""
    if not profile and (stated := info.get("nclx_profile")):
        profile = coded_profile(int(stated["color_primaries"]), int(stated["transfer_characteristics"]))
    if isinstance(image, TiffImageFile):
        orientation = image.tag_v2.get(0x0112)
        return Notes(orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1, profile)
    if exif := info.get("exif"):
        return Notes(exif_orientation(exif), profile)
    return Notes(xmp_orientation(info.get("xmp") or b""), profile)


def _rotate(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turns = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
    return image if orientation == 1 else image.transpose(Transpose[turns[orientation - 2]])


def _flatten(image: Image, profile: bytes) -> Image:
    """Any 8-bit image as opaque RGB in sRGB."""
    from PIL import Image

    if image.mode == "LAB":
        return _from_lab(image)
    alpha, is_gray = None, image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        image = _rgba(image)
        alpha = image.getchannel("A")
    colors = image
    if profile:
        plain = "L" if is_gray else "CMYK" if image.mode == "CMYK" else "RGB"
        colors = convert_to_srgb(image.convert(plain), profile)
    colors = colors.convert("RGB")
    if alpha is None:
        return colors
    colors.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", colors.size, "white"), colors).convert("RGB")


def _rgba(image: Image) -> Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def _from_lab(image: Image) -> Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None  # it is only where an image is transformed in place
    return converted


def _deep_gray(image: Image, profile: bytes, longest_side: int) -> np.ndarray:
    """Gray of more than 8 bits as float32 [H, W], 0…1: 16-bit integers scaled, floats clipped."""
    from PIL.Image import Resampling, fromarray

    values = np.asarray(image).astype(np.float32)
    if not np.isfinite(values).all():
        raise RethinkError("cannot be read as an image: it contains NaN or infinite values")
    values = (values if image.mode == "F" else values / 65535).clip(0, 1)
    if profile:
        values = np.interp(values, np.linspace(0, 1, 256), gray_curve(profile)).astype(np.float32)
    if longest_side and max(values.shape) > longest_side:
        scaled = fromarray(values)
        scaled.thumbnail((longest_side, longest_side), Resampling.LANCZOS)
        values = np.asarray(scaled).clip(0, 1)
    return values
