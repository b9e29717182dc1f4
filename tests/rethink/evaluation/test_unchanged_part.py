"""What an edit left alone, against skimage and by hand."""

import numpy as np
import pytest
import torch

from rethink.errors import RethinkError
from rethink.evaluation.unchanged_part import find_unchanged_part, ssim_map


@pytest.fixture
def photo():
    smooth = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.interpolate(smooth, (48, 64), mode="bicubic").clamp(0, 1).movedim(1, -1)


def noisy(image, strength=0.05):
    return (image + strength * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


def test_structural_similarity_is_skimages(photo):
    metrics = pytest.importorskip("skimage.metrics")
    edited = noisy(photo)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0, "full": True}
    arrays = (image[0].double().numpy() for image in (photo, edited))
    _, expected = metrics.structural_similarity(*arrays, channel_axis=-1, **options)
    inside = (slice(6, -6), slice(6, -6))
    assert np.abs(ssim_map(photo, edited).numpy() - expected.mean(-1))[inside].max() < 1e-6


def test_equal_images_are_equal(photo):
    found = find_unchanged_part(photo, photo)
    assert (found.psnr, found.share) == (99.0, 1.0) and found.ssim == pytest.approx(1)


def test_the_change_itself_costs_nothing_and_all_else_does(photo):
    edited = photo.clone()
    edited[:, 8:24, 8:24] = 1 - edited[:, 8:24, 8:24]
    found = find_unchanged_part(photo, edited)
    assert found.psnr == 99.0 and found.ssim == pytest.approx(1) and found.share < 1
    grainy = edited.clone()
    grainy[:, 30:] = noisy(photo, 0.02)[:, 30:]
    worse = find_unchanged_part(photo, grainy)
    assert worse.psnr < 45 and worse.ssim < 0.99


def test_a_mask_says_what_may_change(photo):
    edited, mask = photo.clone(), torch.zeros(1, 48, 64)
    edited[:, :, 32:] = 0
    mask[:, :, 32:] = 1
    assert find_unchanged_part(photo, edited, mask).psnr == 99.0
    mask[:, :, 48:] = 0
    error = (photo[:, :, 48:] ** 2).mean() * 16 / 48
    assert find_unchanged_part(photo, edited, mask).psnr == pytest.approx(float(-10 * torch.log10(error)), abs=1e-3)


@pytest.mark.parametrize(("mask", "why"), [(None, "the whole image has changed"), (torch.ones(1, 48, 64), "the mask")])
def test_where_nothing_is_left_there_is_no_number(photo, mask, why):
    with pytest.raises(RethinkError, match=why):
        find_unchanged_part(photo * 0, photo * 0 + 1, mask)
