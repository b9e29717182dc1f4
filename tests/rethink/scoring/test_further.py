"""Measures of other packages, each beside what fails."""

import torch

from rethink.evaluation import learned_measures
from rethink.evaluation.learned_measures import LearnedMeasure
from rethink.evaluation.measures import Measure
from rethink.scoring.edited_part import EditedPart
from rethink.scoring.further import NO_FURTHER, FurtherMeasures

NEAR, LIKED = (Measure(name, "reward models", name, name, "0 to 1", "") for name in ("near", "liked"))


def test_each_sees_what_it_is_made_for(source, edited, monkeypatch):
    shown = {}

    def row(measure, kind):
        def compare(a, b, instruction):
            shown[measure] = b
            return 0.5

        return LearnedMeasure(measure, kind, "", lambda folder, device: compare)

    monkeypatch.setattr(learned_measures, "MEASURES", (row(NEAR, "perceptual"), row(LIKED, "reward")))
    assert not NO_FURTHER.rows() and [row.measure for row in FurtherMeasures("perceptual").rows()] == [NEAR]
    further, part = FurtherMeasures("all"), EditedPart.of(source, edited, None)
    found = [further.open(row)(source, part, "x") for row in further.rows()]
    assert [(each.measure, each.value) for each in found] == [(NEAR, 0.5), (LIKED, 0.5)]
    assert torch.equal(shown[NEAR], source), "the change itself is the source's"
    assert torch.equal(shown[LIKED], edited)


def test_what_fails_is_the_reason(source, edited):
    def fail(*_):
        raise ImportError("half installed")

    part = EditedPart.of(source, edited, None)
    (broken, failing) = (LearnedMeasure(NEAR, "perceptual", "", open) for open in (fail, lambda *_: fail))
    assert FurtherMeasures().open(broken)(source, part, "x").why == "it cannot be opened: ImportError: half installed"
    assert FurtherMeasures().open(failing)(source, part, "x").why == "it failed: ImportError: half installed"
    all_of_it = EditedPart.of(source * 0, source * 0 + 1, None)
    assert FurtherMeasures().open(failing)(source, all_of_it, "x").why == all_of_it.why
