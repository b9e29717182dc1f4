"""An image file's metadata (orientation and colors), and the file without it.

Pillow parses all metadata when it opens a file, and rejects the file if any is truncated, too long or of an odd type.
Browsers and viewers show such files. So PNG and JPEG are split here, and Pillow only gets the pixels.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .color_profiles import coded_profile, measured_profile

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
RGB_8BIT = b"\x08\x02"  # bit depth and color type, after width and height
MAX_NOTE = 16 * 2**20  # bytes of a note once it is unpacked; print profiles have about four million

_ORIENTATION = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # EXIF's types → struct's
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")


@dataclass(frozen=True)
class Notes:
    """orientation: EXIF's 1…8, 1 being upright. profile: an ICC profile of the colors, b"" for sRGB."""

    orientation: int = 1
    profile: bytes = b""


def split_notes(data: bytes) -> tuple[bytes, Notes]:
    """(the file without its metadata, the metadata) of a PNG or JPEG; any other file unchanged, without metadata."""
    if data.startswith(PNG_SIGNATURE):
        return _split_png(data)
    if data.startswith(JPEG_SIGNATURE):
        return _split_jpeg(data)
    return data, Notes()


def bare_png(data: bytes) -> bytes | None:
    """A PNG of 8-bit RGB without its metadata, if its pixels are shown as they are stored; None for any other file."""
    if not data.startswith(PNG_SIGNATURE) or data[12:16] != b"IHDR" or data[24:26] != RGB_8BIT:
        return None
    bare, notes = _split_png(data)
    kinds = [kind for kind, _, _ in _png_chunks(bare)]
    whole = sum(end - at for _, at, end in _png_chunks(bare)) == len(bare) - len(PNG_SIGNATURE)
    return bare if notes == Notes() and b"tRNS" not in kinds and kinds[-1:] == [b"IEND"] and whole else None


def exif_orientation(exif: bytes) -> int:
    """The orientation 1…8 in EXIF data; 1 if it has none that can be read, whatever else is wrong with it."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, _ = struct.unpack_from(f"{order}HHI", exif, entry)
            if tag == _ORIENTATION:
                (value,) = struct.unpack_from(order + _INTEGERS[kind], exif, entry + 8)
                return value if 1 <= value <= 8 else 1
    except (struct.error, KeyError):  # it ends early, or its type is not an integer
        pass
    return 1


def xmp_orientation(xmp: bytes) -> int:
    """The orientation 1…8 in an XMP packet, 1 without one."""
    match = _XMP_ORIENTATION.search(xmp)
    return int(match[1]) if match else 1


def _split_png(data: bytes) -> tuple[bytes, Notes]:
    notes: dict[bytes, bytes] = {}
    parts, start = [PNG_SIGNATURE], len(PNG_SIGNATURE)  # where the chunks to keep that are not copied yet begin
    for kind, at, end in _png_chunks(data):
        if kind[:1].isupper() or kind == b"tRNS":  # needed for the image
            continue
        parts.append(data[start:at])
        start, value = end, data[at + 8 : end - 4]
        if kind in _TEXTS:
            kind, _, value = value.partition(b"\0")
        notes.setdefault(kind, value)
    parts.append(data[start:])
    return b"".join(parts), Notes(_png_orientation(notes), _png_profile(notes))


_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of every complete chunk."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            return
        yield kind, at, end
        at = end


def _png_orientation(notes: dict[bytes, bytes]) -> int:
    if b"eXIf" in notes:
        return exif_orientation(notes[b"eXIf"])
    if raw := notes.get(b"Raw profile type exif"):  # ImageMagick's packing: hexadecimal digits after three lines
        digits = (raw if raw[:1] == b"\n" else _unpack(raw[1:])).split(b"\n", 3)[-1]
        try:
            return exif_orientation(bytes.fromhex(digits.decode("ascii")))
        except ValueError:
            return 1
    return xmp_orientation(notes.get(b"XML:com.adobe.xmp", b""))


def _png_profile(notes: dict[bytes, bytes]) -> bytes:
    """The profile from the color chunk with the highest precedence in the PNG specification."""
    if len(notes.get(b"cICP", b"")) == 4:
        return coded_profile(*notes[b"cICP"][:2])
    if packed := notes.get(b"iCCP", b"").partition(b"\0")[2]:
        return _unpack(packed[1:])
    if b"sRGB" in notes:
        return b""
    gamma, places = notes.get(b"gAMA", b""), notes.get(b"cHRM", b"")
    if len(gamma) != 4 and len(places) != 32:
        return b""
    exponent = 100000 / max(1, *struct.unpack(">I", gamma)) if len(gamma) == 4 else 0.0
    xy = [value / 100000 for value in struct.unpack(">8I", places)] if len(places) == 32 else None
    return measured_profile(exponent, xy)


def _unpack(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, MAX_NOTE)
    except zlib.error:
        return b""


def _split_jpeg(data: bytes) -> tuple[bytes, Notes]:
    orientations: list[int] = []
    profile: dict[int, bytes] = {}
    parts, start = [data[:2]], 2
    for marker, at, end in _jpeg_segments(data):
        value = data[at + 4 : end]
        if marker == 0xE1 and value.startswith(b"Exif\0\0"):
            orientations.insert(0, exif_orientation(value))  # EXIF takes precedence over XMP
        elif marker == 0xE1 and value.startswith(b"http://ns.adobe.com/xap/1.0/"):
            orientations.append(xmp_orientation(value))
        elif marker == 0xE2 and value.startswith(b"ICC_PROFILE\0") and len(value) > 14:
            profile.setdefault(value[12], value[14:])
        elif not _is_note(marker, value):
            continue
        parts.append(data[start:at])
        start = end
    parts.append(data[start:])
    whole = b"".join(profile[part] for part in sorted(profile))
    return b"".join(parts), Notes(orientations[0] if orientations else 1, whole)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of every complete segment before the pixels."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA or end > len(data):
            return
        yield marker, at, end
        at = end


def _is_note(marker: int, value: bytes) -> bool:
    """Whether a segment does not affect the pixels. JFIF's and Adobe's segments do: they state the color space."""
    if marker == 0xE0:
        return not (value.startswith(b"JFIF\0") and len(value) >= 14)
    if marker == 0xEE:
        return not (value.startswith(b"Adobe") and len(value) >= 12)
    return 0xE0 <= marker <= 0xEF or marker == 0xFE
