"""What a file says beside its pixels, and the file without it; test_image_files.py reads whole images so."""

import struct
import zlib

import pytest

from rethink.image_notes import PNG_SIGNATURE, Notes, bare_png, exif_orientation, split_notes, xmp_orientation


def chunk(kind: bytes, value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + kind + value + struct.pack(">I", zlib.crc32(kind + value))


def test_a_png_loses_its_notes_and_keeps_its_image():
    image = chunk(b"IHDR", bytes(13)) + chunk(b"tRNS", b"\0\1"), chunk(b"IDAT", b"pixels") + chunk(b"IEND", b"")
    notes = chunk(b"tEXt", b"prompt\0a cat") + chunk(b"xxXx", bytes(5))
    assert split_notes(PNG_SIGNATURE + image[0] + notes + image[1]) == (PNG_SIGNATURE + b"".join(image), Notes())


def test_a_png_is_bare_where_its_pixels_are_what_is_seen():
    rgb, gray = (chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, color, 0, 0, 0)) for color in (2, 0))
    pixels, end = chunk(b"IDAT", b"pixels"), chunk(b"IEND", b"")
    bare = PNG_SIGNATURE + rgb + pixels + end
    assert bare_png(bare) == bare == bare_png(PNG_SIGNATURE + rgb + chunk(b"tEXt", b"prompt\0a cat") + pixels + end)
    turned = chunk(b"eXIf", b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0))
    for others in (
        PNG_SIGNATURE + gray + pixels + end,
        PNG_SIGNATURE + rgb + chunk(b"tRNS", bytes(6)) + pixels + end,
        PNG_SIGNATURE + rgb + turned + pixels + end,
        PNG_SIGNATURE + rgb + chunk(b"gAMA", struct.pack(">I", 100000)) + pixels + end,
        bare + b"and more",
        bare[:-3],
        b"\xff\xd8\xff",
        b"",
    ):
        assert bare_png(others) is None


def test_a_chunk_that_is_cut_off_stays_for_the_decoder_to_complain_of():
    data = PNG_SIGNATURE + chunk(b"IHDR", bytes(13)) + chunk(b"tEXt", b"a\0b")[:-3]
    assert split_notes(data) == (data, Notes())


def test_a_jpeg_says_which_way_is_up_and_its_profile_comes_in_parts():
    def segment(marker, value):
        return struct.pack(">BBH", 0xFF, marker, len(value) + 2) + value

    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, 6)
    parts = [
        segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 2]) + text) for number, text in ((2, b"file"), (1, b"pro"))
    ]
    table, pixels = segment(0xDB, bytes(65)), segment(0xDA, bytes(10)) + b"pixels"
    data = b"\xff\xd8" + segment(0xE1, exif) + parts[0] + table + parts[1] + pixels
    assert split_notes(data) == (b"\xff\xd8" + table + pixels, Notes(6, b"profile"))


def test_other_files_are_left_as_they_are():
    assert split_notes(b"GIF89a") == (b"GIF89a", Notes())


@pytest.mark.parametrize(("value", "orientation"), [(1, 1), (8, 8), (0, 1), (9, 1)])
def test_orientations_out_of_range_are_upright(value, orientation):
    assert exif_orientation(b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, value, 0)) == orientation


def test_xmp_writes_it_as_an_attribute_or_an_element():
    assert xmp_orientation(b'tiff:Orientation="6"') == xmp_orientation(b"<tiff:Orientation>6</tiff:Orientation>") == 6
    assert xmp_orientation(b"nothing of it") == 1
