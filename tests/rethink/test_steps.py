"""A step and its critique: what they may hold, which is the best, and how they stand in a record."""

import pytest

from rethink.steps import (
    ChecklistItem,
    Continue,
    Critique,
    Preservation,
    Step,
    best_of,
    read_step,
    step_record,
)


def step(score, changed=True):
    return Step(1, 0, "a", "user", 0, Critique("unparsed"), Preservation(0.5, 30.0, not changed), score, 1.0, 1.0)


def test_scores_go_with_their_status():
    for status, semantic, quality in (
        ("ok", None, None),
        ("ok", 3, None),
        ("failed", 3, 3),
        ("unparsed", 0, 0),
        ("x", 1, 1),
    ):
        with pytest.raises(ValueError, match="cannot score"):
            Critique(status, semantic, quality)


def test_overall_is_bounded_by_the_checked_items_that_passed():
    assert Critique("ok", 9, 4).overall == 6
    assert Critique(
        "ok", 9, 4, checklist=(ChecklistItem("a", True), ChecklistItem("b", False))
    ).overall == pytest.approx(20**0.5)
    assert Critique("ok", 9, 4, checklist=(ChecklistItem("a"), ChecklistItem("b"))).overall == 6
    assert Critique("unparsed").overall is None


def test_the_best_is_the_highest_score_the_earlier_of_two_and_changes_something():
    assert best_of([step(2), step(5), step(5)]) == 1
    assert best_of([step(0.0, changed=False), step(None), step(0.0)]) == 2
    assert best_of([step(None, changed=False), step(None)]) == 1
    with pytest.raises(ValueError, match="no step"):
        best_of([])


def test_a_step_is_read_back_from_its_record():
    critique = Critique("ok", 3.5, 9, "Red.", "make it blue", (ChecklistItem("blue", False), ChecklistItem("sky")))
    made = Step(2, 1, "a", "human", 7, critique, Preservation(0.5, 30.0, False), 4.0, 1.0, 2.0, Critique("failed"))
    record = step_record(made)
    assert record["critique"]["checklist"] == [{"text": "blue", "met": False}, {"text": "sky", "met": None}]
    assert "image" not in record and vars(read_step(record)) == vars(made)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt_by": "nobody"},
        {"prompt": 5},
        {"turn": True},
        {"turn": 0},
        {"seed": -1},
        {"score": "high"},
        {"critique": {"status": "fine", "checklist": []}},
        {"critique": {"status": "failed", "checklist": [{"text": "a", "met": "yes"}]}},
    ],
)
def test_a_record_that_holds_something_else_is_refused(change):
    with pytest.raises((TypeError, ValueError)):
        read_step({**step_record(step(4.0)), **change})


def test_half_a_character_reaches_no_editor():
    assert Continue("paint \ud83d it", "user").prompt.encode()
