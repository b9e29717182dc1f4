"""Files as people have them: rotated, in CMYK, 16 bits deep, animated, broken. And the PNGs that are written."""

import os

import numpy as np
import pytest
from PIL import Image

from rethink.errors import RethinkError
from rethink.pairs.pixels import encode_png, read_mask, read_pixels, write_atomically
from tests.support.pairs import draw_image


def test_a_png_comes_back_bit_for_bit(tmp_path):
    for shape in ((1, 1), (1, 50), (37, 1), (33, 47)):
        picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        write_atomically(tmp_path / "a.png", encode_png(picture))
        image = Image.open(tmp_path / "a.png")
        image.verify()
        assert (read_pixels(tmp_path / "a.png") == picture).all()
        assert (np.asarray(Image.open(tmp_path / "a.png")) == picture).all()
    mask = draw_image()[..., 0] > 100
    write_atomically(tmp_path / "m.png", encode_png(mask))
    assert (read_mask(tmp_path / "m.png", mask.shape) == mask).all()
    assert not list(tmp_path.glob(".*.part"))


def test_modes_become_upright_rgb(tmp_path):
    picture = Image.fromarray(draw_image(60, 90))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    assert read_pixels(tmp_path / "turned.jpg").shape == (90, 60, 3)
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert np.abs(read_pixels(tmp_path / "cmyk.jpg").astype(int) - np.asarray(picture)).mean() < 12
    deep = Image.fromarray(np.linspace(0, 65535, 60 * 90).reshape(60, 90).astype(np.uint16))
    deep.save(tmp_path / "deep.png")
    gray = read_pixels(tmp_path / "deep.png")
    assert gray.min() == 0 and gray.max() == 255 and 120 < gray.mean() < 135
    for mode in ("L", "P", "1", "LA"):
        picture.convert(mode).save(tmp_path / f"{mode}.png")
        assert read_pixels(tmp_path / f"{mode}.png").shape == (60, 90, 3)
    clear = picture.convert("RGBA")
    clear.putalpha(0)
    clear.save(tmp_path / "clear.png")
    assert (read_pixels(tmp_path / "clear.png") == 255).all()


def test_large_pictures_are_scaled_and_never_stretched(tmp_path):
    Image.fromarray(draw_image(400, 600)).save(tmp_path / "large.jpg")
    assert read_pixels(tmp_path / "large.jpg", 150).shape == (100, 150, 3)
    assert read_pixels(tmp_path / "large.jpg").shape == (400, 600, 3)


def test_what_cannot_be_read_says_why(tmp_path):
    Image.fromarray(draw_image()).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    Image.new("1", (20000, 20000)).save(tmp_path / "bomb.png")
    for name, said in (
        ("cut.png", "read"),
        ("text.png", "read"),
        ("empty.jpg", "read"),
        ("bomb.png", "pixels|exceeds"),
    ):
        with pytest.raises(RethinkError, match=said):
            read_pixels(tmp_path / name)


def test_a_mask_that_lies_on_its_side_is_named(tmp_path):
    Image.fromarray(np.eye(60, 90, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", (120, 180)).any() and read_mask(tmp_path / "mask.png", (100, 100)).any()
    with pytest.raises(RethinkError, match="lies on its side: 90×60 pixels for 120×180"):
        read_mask(tmp_path / "mask.png", (180, 120))


def test_a_full_disk_leaves_no_torn_file(tmp_path, monkeypatch):
    def full(self, data):
        with open(self, "wb") as file:
            file.write(data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError):
        write_atomically(tmp_path / "a.png", b"123456")
    assert not list(tmp_path.iterdir())


def test_a_photograph_with_a_preview_in_it_is_one_picture(tmp_path):
    frames = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "camera.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert read_pixels(tmp_path / "camera.jpg")[0, 0, 0] > 240


def test_a_file_that_is_being_read_where_none_can_be_replaced_stays(tmp_path, monkeypatch):
    def refuse(passing, path):
        raise PermissionError(13, "in use")

    write_atomically(tmp_path / "a.png", b"whole")
    monkeypatch.setattr(os, "replace", refuse)
    write_atomically(tmp_path / "a.png", b"whole")
    with pytest.raises(PermissionError):
        write_atomically(tmp_path / "b.png", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
