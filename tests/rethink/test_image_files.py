"""The one reader of image files: what is opened, what is refused, and that every way in reads alike."""

import io
import os
import struct
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, PngImagePlugin

from rethink.errors import RethinkError
from rethink.image_files import is_image_name, is_unsupported_image_name, read_rgb, read_selection
from rethink.images import load_image, load_mask
from rethink.pairs.pixels import read_pixels
from tests.support.image_data import exif, jpeg_with, photograph, png_with, saved

TURNS = [
    None,
    *(
        Image.Transpose[name]
        for name in (
            "FLIP_LEFT_RIGHT",
            "ROTATE_180",
            "FLIP_TOP_BOTTOM",
            "TRANSPOSE",
            "ROTATE_270",
            "TRANSVERSE",
            "ROTATE_90",
        )
    ),
]


def read(data, **options):
    return read_pixels(io.BytesIO(data), **options)


def apart(one, other):
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other).mean()


@pytest.mark.parametrize(
    "format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF", "QOI"]
)
def test_every_format_of_ours_is_read_under_any_name(tmp_path, format):
    photo = photograph()
    (tmp_path / "photo.xyz").write_bytes(saved(photo, format))
    image = load_image(tmp_path / "photo.xyz")
    assert apart((image[0] * 255).round().byte().numpy(), np.asarray(photo)) < 12
    assert read_pixels(tmp_path / "photo.xyz", 32).shape == (24, 32, 3)


def test_heic_is_read_where_its_package_is_installed_and_named_where_not(monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    data = io.BytesIO()
    heif.from_pillow(photograph()).save(data)
    assert apart(read(data.getvalue()), np.asarray(photograph())) < 8
    monkeypatch.delitem(Image.OPEN, "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(RethinkError, match="HEIC.*pip install pillow-heif"):
        read(data.getvalue())


def test_what_starts_a_program_or_is_no_image_is_never_opened(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("subprocess.check_call", lambda *command, **_: started.append(command))
    monkeypatch.setattr("subprocess.Popen", lambda *command, **_: started.append(command))
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    for name, data, what in (
        ("photo.png", postscript, "PostScript"),
        ("doc.jpg", b"%PDF-1.7\n", "a PDF"),
        ("layers.png", b"8BPS\0\1", "Photoshop"),
        ("drawing.png", b'<?xml version="1.0"?><svg/>', "XML"),
        ("deep.png", b"\x76\x2f\x31\x01\2\0\0\0", "OpenEXR"),
        ("film.jpg", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2mp41", "its format is unknown"),
        ("empty.png", b"", "its format is unknown"),
    ):
        (tmp_path / name).write_bytes(data)
        for reader in (load_image, read_pixels, load_mask):
            with pytest.raises(RethinkError, match=what):
                reader(tmp_path / name)
    assert not started


def test_pipes_folders_and_missing_files_are_named_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for place, why in (
        (tmp_path / "pipe.png", "not a file"),
        (tmp_path, "a folder"),
        (tmp_path / "gone.png", "it does not exist"),
    ):
        for reader in (load_image, read_pixels):
            with pytest.raises(RethinkError, match=why):
                reader(place)


def test_a_file_that_is_mostly_a_hole_is_not_read(tmp_path):
    with open(tmp_path / "hole.png", "wb") as file:
        file.truncate(2**31 + 1)
    with pytest.raises(RethinkError, match="more than 2 GiB"):
        read_pixels(tmp_path / "hole.png")


def test_absurd_sizes_are_refused_before_they_are_decoded():
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + png_with(b"IHDR", header)[33:][:25] + saved(photograph(), "PNG")[33:]
    with pytest.raises(RethinkError, match="pixels"):
        read(data)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_frames_every_reader_takes_the_first(tmp_path, format):
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue", "blue")]
    frames[0].save(tmp_path / "frames", format, save_all=True, append_images=frames[1:])
    assert load_image(tmp_path / "frames")[0, 0, 0, 0] > 0.9
    red, _, blue = read_pixels(tmp_path / "frames")[0, 0]
    assert red > 230 and blue < 30


def test_the_other_frames_are_not_even_looked_for(monkeypatch):
    frames = [Image.new("L", (40, 40), index) for index in range(30)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])

    def never(*_):
        raise AssertionError("went on to other frames")

    monkeypatch.setattr("PIL.GifImagePlugin.GifImageFile.n_frames", property(never))
    monkeypatch.setattr("PIL.GifImagePlugin.GifImageFile.seek", never)
    assert read(data).shape == (40, 40, 3)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_images_stand_upright(format, orientation):
    photo, notes = photograph(), Image.Exif()
    notes[0x0112] = orientation
    turned = photo if orientation == 1 else photo.transpose(TURNS[orientation - 1])
    lossy = {"quality": 95} if format in ("JPEG", "WEBP", "AVIF") else {}
    assert apart(read(saved(photo, format, exif=notes, **lossy)), np.asarray(turned)) < 6


ODD = {
    "a resolution that is text": [(0x011A, 2, 4, 0x37320000)],
    "a resolution unit of 70000": [(0x0128, 4, 1, 70000)],
    "an unknown type": [(0x010F, 99, 1, 0)],
    "a maker beyond the end": [(0x010F, 2, 900, 0xFFFFFF00)],
    "a million values": [(0x010E, 5, 0xFFFFFF, 26)],
    "a directory within that is none": [(0x8769, 4, 1, 0xFFFFFFF0), (0x8825, 4, 1, 3)],
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_exif_leaves_an_image_readable_and_upright(tmp_path, odd):
    notes = exif(6, *ODD[odd])
    upright = np.asarray(photograph().transpose(Image.Transpose.ROTATE_270))
    for data in (
        png_with(b"eXIf", notes),
        jpeg_with(0xE1, b"Exif\0\0" + notes),
        saved(photograph(), "WEBP", exif=notes, lossless=True),
    ):
        assert apart(read(data), upright) < 4
        (tmp_path / "photo").write_bytes(data)
        assert load_image(tmp_path / "photo").shape == (1, 64, 48, 3)


@pytest.mark.parametrize(
    "torn",
    [b"", b"II", b"MM\0*\xff\xff\xff\xff", b"no exif at all", exif(6)[:-14], exif(9), b"II*\0\x08\0\0\0\xff\xff"],
)
def test_torn_exif_is_no_exif(torn):
    for data in (png_with(b"eXIf", torn), jpeg_with(0xE1, b"Exif\0\0" + torn)):
        assert apart(read(data), np.asarray(photograph())) < 4


def test_torn_exif_in_avif_and_heic(tmp_path):
    notes = Image.Exif()
    notes[0x010F] = "Maker"
    data = saved(photograph(), "AVIF", exif=notes, quality=95)
    assert b"MM\0*" in data
    assert apart(read(data.replace(b"MM\0*", b"????")), np.asarray(photograph())) < 4


def test_xmp_and_image_magicks_packed_exif_turn_an_image_too():
    upright = np.asarray(photograph().transpose(Image.Transpose.ROTATE_270))
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    assert apart(read(png_with(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)), upright) == 0
    assert apart(read(jpeg_with(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)), upright) < 4
    packed = zlib.compress(b"\nexif\n%8d\n%s\n" % (len(exif(6)), exif(6).hex().encode()))
    assert apart(read(png_with(b"zTXt", b"Raw profile type exif\0\0" + packed)), upright) == 0


def test_notes_of_any_size_are_left_aside():
    notes = PngImagePlugin.PngInfo()
    notes.add_text("workflow", "x" * 3_000_000, zip=True)
    notes.add_itxt("prompt", "é" * 2_000_000)
    photo = photograph()
    for data in (
        saved(photo, "PNG", pnginfo=notes),
        saved(photo, "PNG", icc_profile=bytes(5_000_000)),
        png_with(b"zTXt", b"a\0\0torn"),
        png_with(b"iTXt", b""),
        png_with(b"pHYs", b"1"),
        png_with(b"tIME", b""),
        png_with(b"gAMA", b""),
        png_with(b"cHRM", b"x"),
        png_with(b"iCCP", b"p\0\0no deflated data"),
        png_with(b"acTL", b""),
        png_with(b"xxXx", bytes(100)),
    ):
        assert (read(data) == np.asarray(photo)).all()
    for marker in (0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF, 0xFE):
        for value in (b"", b"MPF\0II", b"JFIF\0", b"Adobe", b"Photoshop 3.0\0008BIM\4", b"ICC_PROFILE\0", bytes(900)):
            assert apart(read(jpeg_with(marker, value)), np.asarray(photo)) < 4


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000"])
def test_pixels_that_are_cut_off_are_still_an_error(format):
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, format)
    with pytest.raises(RethinkError):
        read(data[: len(data) // 2])


def test_damage_raises_nothing_but_the_one_sentence():
    rng = np.random.default_rng(2)
    for format in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "TGA", "PPM", "JPEG2000"):
        whole = saved(photograph(), format)
        for _ in range(25):
            data = bytearray(whole)
            for place in rng.integers(0, min(len(data), 300), 4):
                data[place] = rng.integers(256)
            try:
                assert read(bytes(data)).shape[2] == 3
            except RethinkError as error:
                assert str(error)


def test_modes_are_seen_as_a_viewer_shows_them():
    photo = photograph()
    clear = photo.convert("RGBA")
    clear.putalpha(Image.new("L", photo.size, 0))
    assert (read(saved(clear, "PNG")) == 255).all()
    assert (read(saved(photo.convert("LA"), "PNG")) == np.asarray(photo.convert("L").convert("RGB"))).all()
    palette = photo.convert("P")
    index = palette.getpixel((0, 0))
    assert (read(saved(palette, "PNG", transparency=index))[0, 0] == 255).all()
    bits = read(saved(photo.convert("1"), "PNG"))
    assert set(np.unique(bits)) == {0, 255}
    assert apart(read(saved(photo.convert("CMYK"), "TIFF")), np.asarray(photo)) < 1
    lab = ImageCms.profileToProfile(
        photo, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert apart(read(saved(lab, "TIFF")), np.asarray(photo)) < 2


def test_depth_is_kept_where_there_is_any(tmp_path):
    levels = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    assert np.allclose(read_rgb(tmp_path / "deep.png"), levels / 65535, atol=1e-6)
    assert torch.allclose(
        load_image(tmp_path / "deep.png")[0, ..., 1].double(), torch.from_numpy(levels / 65535), atol=1e-6
    )
    Image.fromarray(np.array([[-1, 0.25, 7]], np.float32)).save(tmp_path / "float.tif")
    assert load_image(tmp_path / "float.tif")[0, 0, :, 0].tolist() == [0, 0.25, 1]
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(RethinkError, match="NaN or infinite"):
        load_image(tmp_path / "nan.tif")


def test_every_way_in_reads_the_same_pixels(tmp_path):
    cut_out = photograph().convert("RGBA")
    cut_out.putalpha(Image.linear_gradient("L").resize(cut_out.size))
    cut_out.save(tmp_path / "cut-out.png")
    data = (tmp_path / "cut-out.png").read_bytes()
    pixels = read_pixels(tmp_path / "cut-out.png")
    assert (read(data) == pixels).all()
    assert ((load_image(tmp_path / "cut-out.png")[0] * 255).round().byte().numpy() == pixels).all()


def test_names_of_images():
    for name in [
        "a.JPG",
        "b.jfif",
        "c.jpe",
        "d.apng",
        "e.tga",
        "f.dib",
        "g.heif",
        "h.HEIC",
        "i.avif",
        "j.jxl",
        "k.jp2",
        "l.pnm",
    ]:
        assert is_image_name(name) and not is_unsupported_image_name(name)
    for name in ["a.psd", "b.CR2", "c.svg"]:
        assert is_unsupported_image_name(name) and not is_image_name(name)
    assert not is_image_name("notes.txt") and not is_unsupported_image_name("film.mp4") and not is_image_name("png")


def selection(image, format="PNG", **options):
    return read_selection(io.BytesIO(saved(image, format, **options)))


def test_a_mask_selects_what_is_white_or_in_a_cut_out_what_is_opaque():
    area = np.zeros((20, 30), np.uint8)
    area[5:10, 5:15] = 255
    chosen, white = Image.fromarray(area), Image.new("L", (30, 20), 255)
    for image in (
        chosen,
        chosen.convert("RGB"),
        chosen.convert("1"),
        chosen.convert("P"),
        chosen.convert("RGBA"),
        Image.merge("LA", (chosen, white)),
        Image.merge("LA", (white, chosen)),
        Image.merge("LA", (Image.new("L", (30, 20)), chosen)),
        Image.merge("RGBA", (*photograph(30, 20).split(), chosen)),
        Image.fromarray(area.astype(np.uint16) * 257),
    ):
        assert ((selection(image) > 0.5) == (area > 0)).all(), image.mode
    corner = np.full((20, 30), 255, np.uint8)
    corner[0, :3] = 0  # a drawing in black and white whose corner is transparent
    assert ((selection(Image.merge("LA", (chosen, Image.fromarray(corner)))) > 0.5) == (area > 0)).all()
    assert not selection(Image.merge("LA", (white, Image.new("L", (30, 20))))).any()


def test_a_mask_is_read_upright(tmp_path):
    notes = Image.Exif()
    notes[0x0112] = 6
    Image.fromarray(np.eye(20, 30, dtype=np.uint8) * 255).save(tmp_path / "mask.png", exif=notes)
    assert load_mask(tmp_path / "mask.png").shape == (1, 30, 20)


@pytest.mark.parametrize(("mode", "white"), [("L", 1), ("I;16", 1), ("I;16", 255), ("I", 255)])
def test_whole_numbers_without_a_white_are_labels(mode, white):
    values = np.zeros((20, 30), np.dtype({"L": "u1", "I;16": "u2", "I": "i4"}[mode]))
    values[5:, 5:] = white
    found = selection(Image.fromarray(values), "TIFF")
    assert (found == (values > 0)).all()
