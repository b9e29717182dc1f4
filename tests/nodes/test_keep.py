"""What Keep Unchanged Pixels gives out, and that it can be stopped."""

import pytest
import torch
from comfy import model_management, utils

from tests.support.photographs import disc, displace, make_photograph


@pytest.fixture
def keep(classes):
    return classes["RethinkKeepUnchangedPixels"].execute


@pytest.fixture(scope="module")
def source():
    return make_photograph(0, 96, 128)


def test_every_output_is_a_list_with_one_entry_an_edit(keep, source):
    area = disc((96, 128), 80, 40, 16)
    edits = torch.cat([torch.where(area[..., None], 1 - source, source), displace(source, 3, -2, 1.02)])
    images, masks, right, down, zooms, shares, reports = keep(source=source, edited=edits).result
    assert [image.shape for image in images] == [source.shape] * 2
    assert [mask.shape for mask in masks] == [source.shape[:3]] * 2
    assert (right[1], down[1]) == (pytest.approx(3, abs=0.25), pytest.approx(-2, abs=0.25))
    assert zooms[1] == pytest.approx(1.02, abs=0.0005)
    assert shares[0] == pytest.approx(masks[0].gt(0).float().mean().item())
    assert all(isinstance(report, str) and "\n" not in report for report in reports)


def test_an_edit_left_alone_keeps_its_own_size_beside_the_others(keep, source):
    images, masks, *_, reports = keep(source=source, edited=make_photograph(9, 80, 80)).result
    assert images[0].shape == (1, 80, 80, 3) and masks[0].shape == (1, 80, 80)
    assert reports[0].startswith("Nothing in common")


def test_the_mask_holds_all_else_to_the_source(keep, source):
    area = disc((96, 128), 80, 40, 16)
    (image,), *_ = keep(source=source, edited=(source * 0.5), mask=area[None].float()).result
    assert torch.equal(image[0][~area], source[0][~area]) and not torch.equal(image, source)


def test_cancel_stops_after_the_picture_in_work(keep, source, monkeypatch):
    assert keep(source=source, edited=source.repeat(2, 1, 1, 1)).result
    assert [(value, total) for value, total, _ in utils.reports] == [(1, 2), (2, 2)]
    utils.reports.clear()
    model_management.interrupt_current_processing()
    with pytest.raises(model_management.InterruptProcessingException):
        keep(source=source, edited=source.repeat(2, 1, 1, 1))
    assert not utils.reports


def test_what_does_not_go_together_is_one_sentence(keep, source, RethinkError):
    with pytest.raises(RethinkError, match="^edited: got 3 edit[^\n]*$"):
        keep(source=source.repeat(2, 1, 1, 1), edited=source.repeat(3, 1, 1, 1))
    with pytest.raises(RethinkError, match="^mask: is empty[^\n]*$"):
        keep(source=source, edited=source, mask=torch.zeros(1, 64, 64))
    with pytest.raises(RethinkError, match="^mask: 3 masks[^\n]*$"):
        keep(source=source, edited=source, mask=torch.ones(3, 96, 128))
