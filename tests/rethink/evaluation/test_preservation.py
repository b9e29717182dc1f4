"""What counts as a change: things, colors and light do; grain, softness and rounding do not."""

import pytest
import torch
import torch.nn.functional as F

from rethink.evaluation.preservation import TOP, measure


def photo(height=128, width=192):
    """Smooth shapes with fine grain, always the same."""
    noise = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 6, 8, generator=noise)
    smooth = F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1).movedim(1, -1)
    return (smooth * 0.8 + 0.1 + torch.randn(smooth.shape, generator=noise) * 0.01).clamp(0, 1)


def one(source, edited, mask=None):
    (found,) = measure(source, edited, mask)
    return found


def soft(image):
    small = F.interpolate(image.movedim(-1, 1), scale_factor=0.5, mode="area")
    return F.interpolate(small, image.shape[1:3], mode="bilinear").movedim(1, -1)


@pytest.mark.parametrize("size", [(128, 192), (16, 16), (1, 1), (40, 700), (600, 33)])
def test_the_same_picture_is_unchanged(size):
    source = photo(*size)
    found = one(source, source.clone())
    assert (found.changed, found.outside_psnr, found.unchanged) == (0, TOP, True)


@pytest.mark.parametrize(
    "change",
    [
        soft,
        lambda image: image + torch.randn(image.shape, generator=torch.Generator().manual_seed(1)) * 0.03,
        lambda image: (image * 255).round() / 255,
        lambda image: image + 0.008,
    ],
    ids=["softer", "grain", "rounded", "a shade brighter"],
)
def test_what_nobody_sees_is_no_change(change):
    assert one(photo(), change(photo()).clamp(0, 1)).unchanged


def test_a_new_thing_is_a_change_of_its_own_size_and_the_rest_is_kept():
    source = photo()
    edited = source.clone()
    edited[:, 32:64, 48:96] = torch.tensor([1.0, 0.0, 0.0])
    found = one(source, edited)
    assert not found.unchanged and found.outside_psnr == TOP
    assert found.changed == pytest.approx(32 * 48 / (128 * 192), rel=0.1)


def test_a_small_thing_is_seen():
    source = photo(1024, 1024)
    edited = source.clone()
    edited[:, 500:520, 500:520] = 0
    assert not one(source, edited).unchanged


def test_light_over_all_is_a_change():
    found = one(photo(), (photo() + 0.03).clamp(0, 1))
    assert not found.unchanged and found.changed == 0


def test_over_editing_shows_in_what_should_have_been_kept():
    source = photo()
    edited = source.clone()
    edited[:, 32:64, 48:96] = 1.0
    careless = soft(edited)
    assert one(source, careless).outside_psnr < one(source, edited).outside_psnr


def test_with_a_mask_everything_it_leaves_out_counts():
    source, mask = photo(), torch.zeros(1, 128, 192)
    mask[:, :, :96] = 1
    edited = source.clone()
    edited[:, :, :96] = 0
    assert one(source, edited, mask).outside_psnr == TOP
    edited[:, 32:64, 120:150] = 0
    assert one(source, edited, mask).outside_psnr < 30


def test_pictures_of_a_batch_are_measured_each_and_at_the_sources_size():
    source = photo()
    found = measure(source, torch.cat([source, 1 - source]))
    assert [each.unchanged for each in found] == [True, False] and found[1].changed > 0.8
    assert one(source, F.interpolate(source.movedim(-1, 1), scale_factor=2).movedim(1, -1)).unchanged
