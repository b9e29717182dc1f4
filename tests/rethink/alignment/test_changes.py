"""Which cells of an edit that lies on its source were truly changed."""

import torch

from rethink.alignment.changes import cell_size, dilate, find_changes, surviving_detail
from tests.support.photographs import disc, make_photograph

EVERYWHERE = (slice(0, 240), slice(0, 320))


def channels_first(image: torch.Tensor) -> torch.Tensor:
    return image[0].movedim(-1, 0)


def test_cells_grow_with_the_image():
    sizes = [cell_size(size) for size in ((64, 64), (512, 512), (1024, 1024), (2048, 2048))]
    assert sizes == sorted(sizes) and sizes[0] == 1 and sizes[2] == 4 and sizes[3] > 4


def test_a_new_thing_is_found_and_noise_is_not():
    source, area = make_photograph(), disc((240, 320), 200, 100, 40)
    noise = 0.01 * torch.randn(source.shape, generator=torch.Generator().manual_seed(0))
    assert not find_changes(channels_first(source), channels_first(source + noise), EVERYWHERE).any()
    edit = torch.where(area[..., None], make_photograph(1), source) + noise
    cell = cell_size((240, 320))
    cells = find_changes(channels_first(source), channels_first(edit), EVERYWHERE)
    pixels = cells.repeat_interleave(cell, 0).repeat_interleave(cell, 1)[:240, :320]
    assert pixels[area].float().mean() > 0.95 and not pixels[~disc((240, 320), 200, 100, 56)].any()


def test_beyond_what_is_visible_the_nearest_cells_decide():
    source = channels_first(make_photograph())
    edit = source.clone()
    edit[:, :, 160:] = 1 - edit[:, :, 160:]
    cells = find_changes(source, edit, (slice(0, 240), slice(0, 240)))
    assert cells[:, -10:].all() and not cells[:, : cells.shape[1] // 4].any()


def test_detail_survives_in_a_copy_and_not_in_another_image():
    source, other = channels_first(make_photograph()), channels_first(make_photograph(7))
    none = torch.zeros(*(-(-side // cell_size((240, 320))) for side in (240, 320)), dtype=torch.bool)
    trusted = torch.ones(1, 240, 320)
    assert surviving_detail(source, source, none, trusted) > 0.8
    assert surviving_detail(source, other, none, trusted) < 0.3
    assert surviving_detail(source, source, ~none, trusted) == 0


def test_dilating_reaches_every_side():
    cells = torch.zeros(7, 7, dtype=torch.bool)
    cells[3, 3] = True
    assert dilate(cells, 2).sum() == 25 and dilate(cells, 2).dtype == torch.bool
