"""A step and its critique: what they may hold, which is the best, and how they stand in a record."""

import json
from dataclasses import replace

import pytest

from rethink.steps import (
    MAX_REGIONS,
    ChecklistItem,
    Comparison,
    Continue,
    Critique,
    Preservation,
    Region,
    Step,
    best_of,
    read_step,
    step_record,
)

NO_REGIONS = [
    5,
    {"kind": "nice", "box": [0, 0, 1, 1], "label": ""},
    {"kind": "wrong", "box": [0, 0, 1, 2], "label": ""},
    {"kind": "wrong", "box": [1, 0, 0, 1], "label": ""},
    {"kind": "wrong", "box": [0.5, 0, 0.5, 1], "label": ""},
    {"kind": "wrong", "box": [0, 0, 1], "label": ""},
    {"kind": "wrong", "box": [0, 0, 10**400, 1], "label": ""},
    {"kind": "wrong", "box": None, "label": ""},
    {"kind": "wrong", "label": ""},
    {"kind": "wrong", "box": [0, 0, 1, 1], "label": "", "note": "unknown"},
    {"kind": "wrong", "box": [0, 0, 1, 1], "label": 5},
]
SCORED = {"status": "ok", "semantic": 1.5, "quality": 2, "checklist": []}


def step(score, changed=True, turn=1, **more):
    preserved = Preservation(0.5, 30.0, not changed)
    return Step(turn, 0, "a", "user", 0, Critique("unparsed"), preserved, score, 1.0, 1.0, **more)


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
        {"critique": {"status": "unparsed", "checklist": [], "draws": [[1, 2]]}},
        *({"critique": {**SCORED, "draws": draws}} for draws in ([[1]], [[1, 11]], [["1", 2]], [5], [[1, 2]] * 65)),
        *({"focus": focus} for focus in ([[0, 0, 1]], [[0.5, 0, 0.1, 1]], [5])),
        {"comparison": 5},
        {"comparison": {"turn": 1, "candidate": 0, "answers": ["earlier"]}},
        {"comparison": {"turn": 1, "candidate": 0, "answers": ["earlier", "former"]}},
        {"comparison": {"turn": "1", "candidate": 0, "answers": ["earlier", "later"]}},
    ],
)
def test_a_record_that_holds_something_else_is_refused(change):
    with pytest.raises((TypeError, ValueError)):
        read_step({**step_record(step(4.0)), **change})


def test_half_a_character_reaches_no_editor():
    assert Continue("paint \ud83d it", "user").prompt.encode()


@pytest.mark.parametrize(
    ("answers", "kept", "best"),
    [
        (("later", "later"), "later", 1),
        (("earlier", "earlier"), "earlier", 0),
        (("later", "earlier"), "earlier", 0),  # the place decided, not the edit
        (("same", "later"), "earlier", 0),
        (("", "later"), "", 1),  # no answer: the scores decide
    ],
)
def test_a_comparison_decides_between_the_best_of_a_turn_and_the_best_before(answers, kept, best):
    compared = Comparison(1, 0, answers)
    assert compared.kept == kept and best_of([step(5.0), step(5.2, turn=2, comparison=compared)]) == best
    assert best_of([step(5.0), step(7.0, turn=2), step(7.2, turn=3, comparison=compared)]) == 2, "of another step"


def test_a_lower_score_wins_if_it_is_preferred_and_its_sibling_does_not_if_it_is_not():
    later, earlier = (Comparison(1, 0, (answer, answer)) for answer in ("later", "earlier"))
    assert best_of([step(5.0), step(4.8, turn=2, comparison=later)]) == 1
    assert best_of([step(5.0), step(5.1, turn=2), step(5.2, turn=2, comparison=earlier)]) == 0
    assert best_of([step(5.0), step(4.8, turn=2, comparison=later), step(4.9, turn=3)]) == 2


def test_an_accepted_edit_comes_before_a_higher_score_and_a_preferred_one():
    preferred = Comparison(1, 0, ("later", "later"))
    assert best_of([step(8.9), step(8.0, accepted=True)]) == 1
    assert best_of([step(8.0, accepted=True), step(8.1, turn=2, comparison=preferred)]) == 0
    assert best_of([step(8.0, accepted=True), step(8.1, turn=2, accepted=True, comparison=preferred)]) == 1
    assert best_of([step(9.0, accepted=True), step(8.1, turn=2, accepted=True)]) == 0


def test_that_an_edit_was_accepted_stands_in_its_record():
    assert "accepted" not in step_record(step(4.0))
    assert read_step(json.loads(json.dumps(step_record(step(4.0, accepted=True))))).accepted


def test_draws_and_comparisons_stand_in_a_record_only_where_there_are_some():
    assert "comparison" not in step_record(step(4.0)) and "draws" not in step_record(step(4.0))["critique"]
    critique = Critique("ok", 6.0, 7.0, draws=((5.0, 7.0), (7.0, 7.0)))
    full = replace(step(4.0, comparison=Comparison(1, 0, ("later", "same"), "why")), critique=critique)
    record = json.loads(json.dumps(step_record(full)))
    assert record["critique"]["draws"] == [[5, 7], [7, 7]] and record["comparison"]["kept"] == "earlier"
    assert vars(read_step(record)) == vars(full)


def test_the_spread_is_that_of_the_joint_scores():
    assert Critique("ok", 6, 4, draws=((4, 4), (9, 4))).spread == pytest.approx(2**0.5)
    assert Critique("ok", 6, 4).spread is None and Critique("ok", 6, 4, draws=((6, 4),)).spread is None


def test_regions_and_what_a_turn_was_held_to_stand_in_a_record():
    box = (0.0, 0.25, 0.5, 1.0)
    critique = Critique("ok", 6.0, 7.0, regions=(Region("place", box, "the hat"), Region("wrong", box)))
    full = replace(step(4.0, focus=(box,)), critique=critique)
    record = json.loads(json.dumps(step_record(full)))
    assert record["critique"]["regions"][0] == {"kind": "place", "box": list(box), "label": "the hat"}
    assert record["focus"] == [list(box)] and vars(read_step(record)) == vars(full)
    assert "focus" not in step_record(step(4.0)) and "regions" not in step_record(step(4.0))["critique"]
    record["critique"]["regions"] *= 500
    assert len(read_step(record).critique.regions) == MAX_REGIONS, "a record may come from anyone"


@pytest.mark.parametrize("regions", [None, "abc", 5, {}, *([region] for region in NO_REGIONS)])
def test_a_region_that_cannot_be_read_costs_only_itself(regions):
    readable = {"kind": "wrong", "box": [0, 0, 1, 1], "label": "all"}
    record = step_record(step(4.0))
    record["critique"] = {**SCORED, "regions": regions}
    assert read_step(record).critique.regions == ()
    record["critique"]["regions"] = [*(regions if isinstance(regions, list) else ()), readable] * MAX_REGIONS
    assert read_step(record).critique.regions == (Region("wrong", (0, 0, 1, 1), "all"),) * MAX_REGIONS
