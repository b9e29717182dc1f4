"""The data rules of ThinkEdit, from what was read of the runs."""

from collections import Counter
from dataclasses import replace

import pytest

from rethink.collect.rules import CollectRules, apply_rules, drop_reason
from rethink.collect.runs import RunFacts, TurnFacts
from rethink.errors import RethinkError

ALL = CollectRules(sft_share=1, balance=0)


def run(number, *scores, stopped="turns", kind="color", why=""):
    turns = tuple(TurnFacts(index, score, score, score) for index, score in enumerate(scores))
    return RunFacts(str(number), f"runs/{number}", why, f"{number:016x}", "", kind, stopped, turns)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (run(0, 3, 8), ""),
        (run(0, 5, 5), ""),
        (run(0, 8, 3, 2), "harm"),
        (run(0, 9), "single"),
        (run(0, 9, stopped="accepted"), ""),
        (run(0, why="newer"), "newer"),
    ],
)
def test_a_run_is_kept_when_thinking_did_no_harm(facts, why):
    assert drop_reason(facts) == why


def test_who_scores_in_place_of_a_run_accepts_in_its_place():
    judged = {"0": (9, 9)}
    assert drop_reason(replace(run(0, 9, stopped="accepted"), scores=judged)) == "single"
    assert drop_reason(replace(run(0, 9), scores=judged, accepted=True)) == ""


def test_every_run_counts_at_its_rule():
    choice = apply_rules([run(0, 3, 8), run(1, 9, 1), run(2, 9, 2), run(3, why="image")], ALL)
    assert (choice.runs, choice.kept, choice.dropped) == (4, 1, {"harm": 2, "image": 1})


def test_a_run_is_cut_at_its_best_turn():
    runs = [run(0, 2, 5, 9, 4), run(1, 3, 7, 7)]
    assert [places for _, _, places in apply_rules(runs, ALL).choose(runs)] == [[0, 1, 2], [0, 1]]


def test_the_calmest_are_for_supervised_learning():
    runs = [run(number, 0, number) for number in range(10)][::-1]
    choice = apply_rules(runs, CollectRules(sft_share=0.8, balance=0))
    parts = [(part, int(facts.id)) for part, facts, _ in choice.choose(runs)]
    assert parts == [("rl", 9), ("rl", 8), *(("sft", number) for number in range(7, -1, -1))]
    assert apply_rules(runs, CollectRules(sft_share=0)).chosen["sft"] == 0


def test_no_kind_of_task_and_score_prevails_in_either_part():
    counts = {"a": 2, "b": 3, "c": 40}
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    runs = [run(number, 5, 5, kind=kind) for number, kind in enumerate(kinds)]
    choice = apply_rules(runs, CollectRules(sft_share=1))
    left = Counter(facts.kind for _, facts, places in choice.choose(runs) for _ in places)
    assert left == {"a": 2, "b": 3, "c": 6} and choice.chosen["sft"] == 11 and choice.steps["sft"] == 45
    again = [facts.id for _, facts, _ in choice.choose(runs)]
    assert again == [facts.id for _, facts, _ in apply_rules(runs, CollectRules(sft_share=1)).choose(runs)]
    other = apply_rules(runs, CollectRules(sft_share=1, seed=1))
    assert again != [facts.id for _, facts, _ in other.choose(runs)]


def test_no_runs_are_no_error():
    choice = apply_rules([], CollectRules())
    assert choice.runs == choice.kept == choice.chosen.total() == 0


def test_limits_are_checked():
    with pytest.raises(RethinkError, match="^sft_share: expected 0 to 1"):
        CollectRules(sft_share=2)
