"""Colors brought to sRGB, by whatever a file says of them."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from rethink.color_profiles import coded_profile, convert_to_srgb, gray_curve, measured_profile
from rethink.images import load_image
from rethink.pairs.pixels import read_pixels
from tests.support.image_data import photograph, png_with, saved

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ADOBE = measured_profile(2.19921875, [0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06])
WIDE = measured_profile(1.8, [0.3457, 0.3585, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001])  # ProPhoto
LINEAR = measured_profile(1.0, None)
P3 = coded_profile(12, 13)


def encoded(linear):
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def adobe_to_srgb(pixels):
    """By the matrices of the two standards."""
    to_xyz = np.array([[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]])
    from_xyz = np.array([[3.24045, -1.53714, -0.49853], [-0.96927, 1.87601, 0.04156], [0.05564, -0.20403, 1.05723]])
    linear = (pixels / 255) ** 2.19921875 @ (from_xyz @ to_xyz).T
    return encoded(linear.clip(0, 1)) * 255


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_adobe_rgb_looks_as_it_was_meant_in_every_format(tmp_path, format):
    photo, lossy = photograph(), {"quality": 100} if format in ("JPEG", "WEBP", "AVIF") else {}
    data = saved(photo, format, icc_profile=ADOBE, **lossy)
    stored = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)
    wanted = adobe_to_srgb(stored)
    (tmp_path / "photo").write_bytes(data)
    for pixels in (read_pixels(tmp_path / "photo"), load_image(tmp_path / "photo")[0].numpy() * 255):
        assert np.abs(pixels - wanted).max() < 3 and np.abs(pixels - wanted).mean() < 1
        assert np.abs(pixels - stored).max() > 20


def test_p3_and_prophoto():
    red = Image.new("RGB", (1, 1), (234, 51, 35))
    assert convert_to_srgb(red, P3).getpixel((0, 0)) == pytest.approx((255, 0, 0), abs=1)  # sRGB's red in P3
    gray = Image.new("RGB", (1, 1), (128, 128, 128))
    assert convert_to_srgb(gray, WIDE).getpixel((0, 0)) == pytest.approx(
        [encoded((128 / 255) ** 1.8) * 255] * 3, abs=1.5
    )


@pytest.mark.parametrize("profile", [SRGB, coded_profile(1, 13), b"", b"no profile", SRGB[:200], bytes(4096)])
def test_srgb_and_what_is_no_profile_change_nothing(profile):
    photo = photograph()
    assert (read_pixels(io.BytesIO(saved(photo, "PNG", icc_profile=profile))) == np.asarray(photo)).all()


def test_without_littlecms_the_numbers_are_taken_as_they_are(monkeypatch):
    photo, another = photograph(), measured_profile(1.9, None)

    def missing(*_):
        raise ImportError("The _imagingcms C module is not installed")

    monkeypatch.setattr(ImageCms, "ImageCmsProfile", missing)
    assert (read_pixels(io.BytesIO(saved(photo, "PNG", icc_profile=another))) == np.asarray(photo)).all()


def test_a_profile_of_another_kind_of_image_is_left_aside():
    photo = photograph()
    assert (
        read_pixels(io.BytesIO(saved(photo.convert("CMYK"), "TIFF", icc_profile=ADOBE)))
        == np.asarray(photo.convert("CMYK").convert("RGB"))
    ).all()


def test_gray_with_a_profile_keeps_its_depth(tmp_path):
    levels = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    (tmp_path / "deep.png").write_bytes(saved(Image.fromarray(levels), "PNG", icc_profile=LINEAR))
    found = load_image(tmp_path / "deep.png")[0, ..., 0].numpy()
    assert np.abs(found - encoded(levels / 65535)).max() < 1 / 255
    assert len(np.unique(found)) > 2000
    assert np.abs(gray_curve(LINEAR) - encoded(np.arange(256) / 255)).max() < 1 / 255
    eight = np.arange(256, dtype=np.uint8)[None]
    found = read_pixels(io.BytesIO(saved(Image.fromarray(eight), "PNG", icc_profile=LINEAR)))[0, :, 0]
    assert np.abs(found - encoded(eight[0] / 255) * 255).max() <= 1


def test_transparent_gray_has_its_own_profile():
    gray = Image.merge("LA", (Image.new("L", (4, 4), 100), Image.new("L", (4, 4), 255)))
    found = read_pixels(io.BytesIO(saved(gray, "PNG", icc_profile=LINEAR)))
    assert np.abs(found - encoded(np.float64(100 / 255)) * 255).max() <= 1


def test_transparency_lies_on_white_after_the_colors_are_right():
    photo = photograph().convert("RGBA")
    photo.putalpha(0)
    assert (read_pixels(io.BytesIO(saved(photo, "PNG", icc_profile=ADOBE))) == 255).all()
    photo.putalpha(255)
    opaque = read_pixels(io.BytesIO(saved(photo, "PNG", icc_profile=ADOBE)))
    assert (opaque == read_pixels(io.BytesIO(saved(photo.convert("RGB"), "PNG", icc_profile=ADOBE)))).all()


def test_a_scaled_jpeg_is_converted_too():
    large = photograph(640, 480)
    small = read_pixels(io.BytesIO(saved(large, "JPEG", icc_profile=ADOBE, quality=95)), 64)
    plain = read_pixels(io.BytesIO(saved(large, "JPEG", quality=95)), 64)
    assert np.abs(small - adobe_to_srgb(plain.astype(float))).mean() < 1 < np.abs(small - plain.astype(float)).mean()


def places(*xy):
    return struct.pack(">8I", *(round(value * 100000) for value in xy))


def test_what_png_says_of_colors_without_a_profile():
    photo = photograph()
    plain = np.asarray(photo)

    def read(*chunks):
        data = None
        for kind, value in reversed(chunks):
            data = png_with(kind, value, data)
        return read_pixels(io.BytesIO(data))

    adobe = (b"cHRM", places(0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06))
    gamma = (b"gAMA", struct.pack(">I", 45455))
    assert (read(gamma) == plain).all()
    assert (read(gamma, (b"cHRM", places(0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06))) == plain).all()
    assert (read((b"sRGB", b"\0"), adobe) == plain).all()  # which goes first
    assert (read((b"cICP", bytes([1, 13, 0, 1])), adobe) == plain).all()
    assert (read((b"cHRM", bytes(32)), gamma) == plain).all()
    for nonsense in (0, 1, 2**32 - 1):
        assert (read((b"gAMA", struct.pack(">I", nonsense))) == plain).all()
    assert (read((b"cICP", bytes([9, 16, 0, 1]))) == plain).all()  # brighter than a screen: nothing is known of it here
    assert np.abs(read(adobe, gamma) - plain.astype(int)).max() > 20
    assert np.abs(read((b"gAMA", struct.pack(">I", 100000))) - encoded(plain / 255) * 255).max() <= 1.5
    p3 = np.asarray(convert_to_srgb(photo, P3))
    assert (read((b"cICP", bytes([12, 13, 0, 1]))) == p3).all() and (p3 != plain).any()
