"""What has changed in an edit, and what has not."""

import pytest
import torch

from rethink.evaluation.measures import CHANGED, DIRECTION, IMAGE_SIMILARITY, PSNR, SSIM
from rethink.scoring.edited_part import EditedPart, measure_by_clip, without_clip


def values(measurements):
    return {each.measure: each.value for each in measurements}


def test_an_edit_of_another_size_is_compared_at_the_sources(source):
    part = EditedPart.of(source, source[:, ::2, ::2], None)
    assert part.edited.shape == source.shape
    assert part.notes[0] == "The edit has 24 × 16 pixels and was compared at the source's 48 × 32."


def test_where_everything_has_changed_nothing_is_left_to_compare(source):
    part = EditedPart.of(source * 0, source * 0 + 1, None)
    assert values(part.measurements()) == {CHANGED: 1, PSNR: None, SSIM: None} and not part.unchanged
    assert part.measurements()[1].why == "the whole image has changed: nothing is outside it"


def test_what_nobody_would_see_is_no_change(source):
    part = EditedPart.of(source, source, None)
    assert part.unchanged and part.notes == ("There is no visible change.",)
    assert values(part.measurements()) == {CHANGED: 0, PSNR: 99, SSIM: pytest.approx(1)}


def test_clip_compares_every_edit_with_the_source(source):
    class Bright:
        def images(self, pixels):
            return torch.tensor([[float(each.mean()) / 255, 1.0] for each in pixels])

        def texts(self, captions):
            return torch.tensor([[float(len(text)), 1.0] for text in captions])

    brighter, same = measure_by_clip(Bright(), source, [source / 2 + 0.5, source], ("dim", "bright"))
    assert values(brighter)[DIRECTION] == pytest.approx(1) and values(brighter)[IMAGE_SIMILARITY] < 1
    assert values(same) == {IMAGE_SIMILARITY: pytest.approx(1), DIRECTION: None}
    assert same[1].why == "nothing changed, so there is no direction"
    ((_, direction),) = measure_by_clip(Bright(), source, [source / 2], None)
    assert direction.why == "needs both captions"
    assert {each.why for each in without_clip("there is none")} == {"there is none"}
