"""The image convention: what is accepted, what is refused, and the one size rule."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from rethink.errors import RethinkError
from rethink.images import (
    as_edit_mask,
    as_image,
    as_mask,
    check_image_target,
    fit,
    from_pil,
    load_image,
    plan_fit,
    save_image,
    to_pil,
    unfit,
)


def picture(height=5, width=7, channels=3):
    return torch.rand(height, width, channels, generator=torch.Generator().manual_seed(0))


def test_an_image_is_taken_as_it_is():
    image = picture()[None]
    assert as_image(image) is image


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_one_three_and_four_channels_become_three(channels):
    image = as_image(picture(channels=channels))
    assert image.shape == (1, 5, 7, 3) and image.dtype == torch.float32
    assert torch.equal(image[..., 0], picture(channels=channels)[None, ..., 0])


def test_bytes_halves_doubles_and_numpy_arrays():
    assert torch.equal(as_image(torch.full((2, 2, 3), 255, dtype=torch.uint8)), torch.ones(1, 2, 2, 3))
    assert as_image(picture().double()).dtype == as_image(picture().half()).dtype == torch.float32
    assert as_image(np.ones((2, 2, 3))).dtype == torch.float32


def test_values_outside_the_range_are_clamped():
    assert torch.equal(as_image(torch.tensor([[[-1.0, 0.5, 2.0]]])), torch.tensor([[[[0.0, 0.5, 1.0]]]]))


@pytest.mark.parametrize(
    "value, complaint",
    [
        (torch.full((2, 2, 3), float("nan")), "NaN"),
        (torch.full((2, 2, 3), float("inf")), "infinite"),
        (torch.zeros(0, 2, 2, 3), "empty"),
        (torch.zeros(2, 2), "expected"),
        (torch.zeros(2, 2, 2), "channels"),
        (torch.zeros(2, 2, 3, dtype=torch.int64), "int64"),
        ("an image", "str"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_image_is_refused_by_name(value, complaint):
    with pytest.raises(RethinkError, match=f"portrait: .*{complaint}"):
        as_image(value, "portrait")


def test_masks_come_to_the_images_size():
    image = torch.zeros(2, 8, 8, 3)
    mask = torch.zeros(4, 4)
    mask[:, 2:] = 1
    resized = as_mask(mask, image)
    assert resized.shape == (1, 8, 8) and resized[0, 0, 0] == 0 and resized[0, 0, -1] == 1
    assert torch.equal(as_mask(torch.ones(2, 8, 8), image), torch.ones(2, 8, 8))


@pytest.mark.parametrize("mask", [torch.full((8, 8), float("nan")), torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8)])
def test_bad_masks_are_refused(mask):
    with pytest.raises(RethinkError, match="mask: "):
        as_mask(mask, torch.zeros(2, 8, 8, 3))


@pytest.mark.parametrize(
    "height, width", [(512, 512), (64, 64), (1, 1), (8000, 200), (200, 8000), (1, 100000), (513, 511), (480, 640)]
)
def test_the_size_rule(height, width):
    area, multiple = 512 * 512, 64
    plan = plan_fit(height, width, area=area, multiple=multiple)
    assert all(side % multiple == 0 for side in plan.padded)
    assert all(0 <= padded - scaled < multiple for padded, scaled in zip(plan.padded, plan.scaled))
    assert plan.padded[0] * plan.padded[1] <= area * 1.7
    if min(height, width) >= 200 and max(height, width) < 1000:  # elsewhere whole pixels cannot keep the aspect
        assert plan.scaled[0] * plan.scaled[1] == pytest.approx(area, rel=0.01)
        assert plan.scaled[0] / plan.scaled[1] == pytest.approx(height / width, rel=0.01)
    image = torch.rand(1, height, width, 3)
    fitted = fit(image, plan)
    assert fitted.shape == (1, *plan.padded, 3)
    back = unfit(fitted, plan)
    assert back.shape == image.shape and back.min() >= 0 and back.max() <= 1


def test_what_fits_already_is_not_touched():
    image = picture(64, 64)[None]
    plan = plan_fit(64, 64, area=64 * 64, multiple=32)
    assert torch.equal(fit(image, plan), image) and torch.equal(unfit(image, plan), image)


def test_there_and_back_keeps_a_smooth_picture_in_place():
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 90), torch.linspace(0, 1, 130), indexing="ij")
    image = torch.stack([rows, columns, rows * columns], -1)[None]
    plan = plan_fit(90, 130, area=128 * 128, multiple=32)
    assert (unfit(fit(image, plan), plan) - image).abs().max() < 0.02


def test_padding_repeats_the_edge():
    image = picture(40, 32)[None]
    plan = plan_fit(40, 32, area=40 * 32, multiple=16)
    assert plan.scaled == (40, 32) and plan.padded == (48, 32)
    assert torch.equal(fit(image, plan)[:, 40:], image[:, -1:].expand(-1, 8, -1, -1))


def test_pil_and_back_is_exact():
    pixels = (picture() * 255).round() / 255
    assert torch.equal(from_pil(to_pil(pixels)), pixels[None])
    with pytest.raises(RethinkError, match="the same size"):
        from_pil([Image.new("RGB", (2, 2)), Image.new("RGB", (2, 3))])
    with pytest.raises(RethinkError, match="no image"):
        from_pil([])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F"])
def test_files_of_every_mode(tmp_path, mode):
    file = tmp_path / ("image.tif" if mode in ("CMYK", "F") else "image.png")
    if mode == "I;16":
        Image.fromarray(np.full((4, 6), 32768, dtype=np.uint16)).save(file)
    else:
        Image.new("L", (6, 4), 128).convert(mode).save(file)
    image = load_image(file)
    assert image.shape == (1, 4, 6, 3)
    if mode == "I;16":
        assert image[0, 0, 0, 0] == pytest.approx(32768 / 65535)


def test_exif_rotation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert load_image(tmp_path / "turned.jpg").shape == (1, 6, 4, 3)


def test_unreadable_files(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray((picture(64, 64) * 255).byte().numpy()).save(buffer, format="PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:300])
    (tmp_path / "text.png").write_text("no image")
    for name in ("cut.png", "text.png", "missing.png"):
        with pytest.raises(RethinkError, match=f"image: cannot read .*{name}"):
            load_image(tmp_path / name)


def test_saving(tmp_path):
    pixels = (picture() * 255).round() / 255
    save_image(pixels, tmp_path / "saved")
    assert torch.equal(load_image(tmp_path / "saved")[0], pixels)
    with pytest.raises(RethinkError, match="one image"):
        save_image(torch.zeros(2, 2, 2, 3), tmp_path / "two.png")


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.png", "PNG"),
        ("a.JPG", "JPEG"),
        ("a.jfif", "JPEG"),
        ("a.webp", "WEBP"),
        ("a.tiff", "TIFF"),
        ("a.bmp", "BMP"),
        ("a.avif", "AVIF"),
        ("a.jp2", "JPEG2000"),
        ("a.tga", "TGA"),
        ("a.ppm", "PPM"),
    ],
)
def test_a_file_holds_what_its_ending_says(tmp_path, name, format):
    image = torch.linspace(0, 1, 32 * 48).reshape(1, 32, 48, 1).expand(-1, -1, -1, 3)
    save_image(image, tmp_path / "new" / name)
    assert Image.open(tmp_path / "new" / name).format == format
    assert (load_image(tmp_path / "new" / name) - image).abs().mean() < 0.02
    assert [file.name for file in (tmp_path / "new").iterdir()] == [name]


def test_where_no_image_can_be_written_is_said_before_it_is_made(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    for path, size, why in (
        (tmp_path / "a.psd", (8, 8), "extension"),
        (tmp_path / "a.gif", (8, 8), "extension"),
        (tmp_path / "folder.png", (8, 8), "a folder"),
        (tmp_path / "file" / "a.png", (8, 8), "cannot be written"),
        (tmp_path / f"{'a' * 300}.png", (8, 8), "cannot be written"),
        (tmp_path / "a\0.png", (8, 8), "not a file name"),
        (tmp_path / "a.jpg", (1, 70000), "cannot store 70000×1"),
        (tmp_path / "a.webp", (20000, 8), "cannot store"),
        ("/dev/null", (8, 8), "not a file"),
    ):
        with pytest.raises(RethinkError, match=f"^-o: .*{why}"):
            check_image_target(path, *size, "-o")
    check_image_target(tmp_path / "new" / "a.png", 1, 70000, "-o")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder.png", "new"]


def test_a_mask_that_selects_nothing_is_no_mask_for_an_edit():
    image = torch.zeros(2, 8, 8, 3)
    assert as_edit_mask(None, image) is None
    for empty in (torch.zeros(64, 64), torch.zeros(2, 8, 8), torch.full((8, 8), 0.001)):
        with pytest.raises(RethinkError, match="^--mask: is empty"):
            as_edit_mask(empty, image, "--mask")
    one = torch.zeros(2, 8, 8)
    one[1, 3, 3] = 1
    assert torch.equal(as_edit_mask(one, image), one)  # the other image is left alone
