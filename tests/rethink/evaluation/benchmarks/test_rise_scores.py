"""RISE's replies, weights and both rules of its accuracy are as in its script."""

import pytest

from rethink.evaluation.benchmarks.core import Item, UnreadableReply
from rethink.evaluation.benchmarks.rise_scores import (
    AS_RUN,
    AS_WRITTEN,
    NEW_RULE,
    OLD_RULE,
    READ_ONLY,
    item_score,
    measures_of,
    read_reply,
    read_score,
    summarize,
)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Reasons: 1, 2.\n**Final Score**: **4**", 4),
        ("**Final Score:** 5", 5),
        ("final score 3", 3),
        ("Final Score: 4/5", 4),
        ("Final Score: 4.5", 4),
        ("Final Score: 12/10", 12),
        ("The Final Score is given below.\nFinal Score: 2", 2),
        ("**Final Scores**: 3", 3),
        ("理由很好。Final Score: 4", 4),
    ],
)
def test_numbers_after_final_score(reply, score):
    assert read_score(reply) == score


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "4",
        "Score: 4",
        "Final Score (1-5): 3",
        "Final Score：4",
        "最终得分: 4",
        "Final Score: 4, 5",
        "Final Score: 5\n\n1. The hat is gone.",
        "Failed to obtain answer via API. ",
    ],
)
def test_replies_that_fail_or_break_a_run_of_the_script(reply):
    with pytest.raises(UnreadableReply):
        read_score(reply)


def item(number, category, **tags):
    return Item(str(number), category, "x", tags=tags)


PLAIN = item(0, "causal_reasoning", subtask="State Transition")
FREE = item(1, "temporal_reasoning", consistency_free="True", subtask="Life Progression")
LOGIC = item(2, "logical_reasoning", subtask="Puzzle Solving")
LOST = item(3, "spatial_reasoning", subtask="Object Arrangement")


def test_what_is_asked_and_what_zero_and_one_are():
    assert measures_of(PLAIN) == ("consistency", "reasoning", "plausibility")
    assert measures_of(FREE) == ("reasoning", "plausibility") and measures_of(LOGIC) == ("consistency", "reasoning")
    assert read_reply(LOGIC, "reasoning", "Final Score: 1") == {"reasoning": 5}
    assert read_reply(LOGIC, "consistency", "Final Score: 0") == {"consistency": 1}
    assert read_reply(PLAIN, "reasoning", "Final Score: 1") == {"reasoning": 1}


def test_weights_and_the_penalty():
    assert item_score(PLAIN, {"consistency": 4.0, "reasoning": 3.0, "plausibility": 5.0}) == pytest.approx(3.7)
    assert item_score(PLAIN, {"consistency": 5.0, "reasoning": 1.0, "plausibility": 5.0}) == pytest.approx(1.5)
    assert item_score(PLAIN, {"consistency": 1.0, "reasoning": 1.0, "plausibility": 1.0}) == 1
    assert item_score(FREE, {"reasoning": 4.0, "plausibility": 5.0}) == pytest.approx(4.2)
    assert item_score(LOGIC, {"consistency": 5.0, "reasoning": 5.0}) == 5
    assert item_score(PLAIN, {"reasoning": 4.0, "plausibility": 5.0}) is None


def test_both_rules_of_accuracy_and_both_weights():
    judged = {
        "0": {"consistency": 4.0, "reasoning": 3.0, "plausibility": 5.0},
        "1": {"reasoning": 5.0, "plausibility": 5.0},
        "2": {"consistency": 5.0, "reasoning": 5.0},
        "3": None,
    }
    summary = summarize([PLAIN, FREE, LOGIC, LOST], judged)
    assert summary.value("overall", "accuracy", NEW_RULE) == 50
    assert summary.value("overall", "accuracy", OLD_RULE) == 25
    assert summary.value("overall", "accuracy", READ_ONLY) == pytest.approx(200 / 3)
    assert summary.value("overall", "score", AS_WRITTEN) == pytest.approx((3.7 + 5 + 5) / 3)
    assert summary.value("overall", "score", AS_RUN) == pytest.approx((0.2 * 5 + 0.8 * 3 + 5 + 5) / 3)
    assert summary.value("causal_reasoning", "score in percent", AS_RUN) == pytest.approx(60)
    assert summary.value("overall", "consistency") == 4.5
    assert summary.value("Object Arrangement", "score", AS_RUN) is None
    assert (summary.judged, summary.read, summary.coverage) == (4, 3, 0.75)
    assert [
        note.endswith("count as wrong in the accuracy, as in the benchmark's script: 1.") for note in summary.notes
    ] == [True]
    alone = summarize([PLAIN], {"0": judged["0"]})  # no item has the flag: the script weighs as it is written
    assert alone.value("overall", "score", AS_RUN) == alone.value("overall", "score", AS_WRITTEN) and not alone.notes
