"""The record of an edit's scores."""

import pytest

from rethink.evaluation.measures import IMAGE_SIMILARITY, OVERALL, PSNR
from rethink.scoring.record import EditScores, Measurement, summarize_passes


def test_passes_have_a_mean_and_a_spread():
    found = summarize_passes(OVERALL, [6.0, 8.0, 10.0], "")
    assert (found.value, found.spread, found.text) == (8.0, 2.0, "8.00 ± 2.00")
    assert summarize_passes(OVERALL, [6.0], "").spread is None


def test_what_was_not_measured_is_no_number():
    found = summarize_passes(OVERALL, [], "it was silent")
    assert (found.value, found.spread, found.text, found.why) == (None, None, "not measured", "it was silent")


def test_as_a_table_as_lines_and_as_json():
    scores = EditScores(
        (
            Measurement(OVERALL, 7.5, 0.5),
            Measurement(IMAGE_SIMILARITY, None, why="no CLIP model given"),
        ),
        "It snows.",
        ("A note.",),
    )
    assert str(scores).splitlines() == [
        "judge:",
        "  overall            7.50 ± 0.50  0 to 10, higher is better",
        "CLIP:",
        "  image similarity  not measured  no CLIP model given",
        "A note.",
        "The judge: It snows.",
    ]
    assert scores.brief.splitlines()[:2] == [
        "judge: overall 7.50 ± 0.50",
        "not measured: image similarity (no CLIP model given)",
    ]
    assert scores.as_dict()["measurements"][1]["value"] is None and scores.value(OVERALL) == 7.5
    with pytest.raises(KeyError):
        scores.value(PSNR)
