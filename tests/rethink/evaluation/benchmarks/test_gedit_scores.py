"""GEdit's replies and means are read as its script reads them, but for what that guesses."""

import pytest

from rethink.evaluation.benchmarks.core import Item, UnreadableReply
from rethink.evaluation.benchmarks.gedit_scores import (
    INTERSECTION,
    TASKS,
    item_score,
    read_reply,
    read_scores,
    summarize,
)


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ('{"score": [8, 7], "reasoning": "good"}', [8, 7]),
        ('```json\n{"score" : [6,\n 9], "reasoning" : "ok"}\n```', [6, 9]),
        ('||V^=^V||\n{"score": 4, "reasoning": "{"}\n||V^=^V||', None),
        ('||V^=^V||{"score": [3, 5], "reasoning": "x"}||V^=^V|| and {more}', [3, 5]),
        ('{"score": 5, "reasoning": "one number"}', [5]),
        ('{"score": [12, 10], "reasoning": "12 of 10"}', [12, 10]),
        ('{"score": [8.5, 9]}', [8.5, 9]),
        ("My scores are [8, 7].", [8, 7]),
        ("[12,7]", [12, 7]),
        ('{"score": [8, 7], "reasoning": "cut o', [8, 7]),
        (" 7\n", [7]),
        ('{"score": 8, "reasoning": all is well}', [8]),
        ('{"score": [6, 7], "reasoning": "帽子没有了"}', [6, 7]),
    ],
)
def test_replies_that_its_script_reads(reply, scores):
    if scores is None:  # a brace within the text, between fences, is JSON all the same
        scores = [4]
    assert read_scores(reply) == scores


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I'm sorry, I can't help with that.",
        "12",
        "8/10",
        "[8, 7, 6]",
        "[08, 7]",
        "8 and 7",
        '{"score": []}',
        '{"score": ["8", "7"]}',
        '{"score": null}',
        '{"score": [NaN, 3]}',
        '{"reasoning": "no score"}',
        '{"score": [8, 7], "reasoning": "the "hat" is gone"}',
        '{"score": [8, 7]} {"score": [1, 2]}',
        "分数:八分",
        "} {",
    ],
)
def test_replies_for_which_it_guesses_or_never_ends(reply):
    with pytest.raises(UnreadableReply):
        read_scores(reply)


def item(number, task, shared=False):
    return Item(str(number), task, "make it red", tags={"intersection": shared})


def test_the_lowest_score_counts_and_tasks_weigh_alike():
    assert read_reply(item(0, "color_alter"), "semantics", '{"score": [8, 5]}') == {"semantics": 5}
    items = [item(0, "color_alter", "True"), item(1, "color_alter"), item(2, "ps_human"), item(3, "ps_human")]
    judged = {
        "0": {"semantics": 4.0, "quality": 9.0},
        "1": {"semantics": 0.0, "quality": 9.0},
        "2": {"semantics": 1.0, "quality": 1.0},
        "3": None,
    }
    summary = summarize(items, judged)
    assert summary.value("color_alter", "overall") == 3.0  # √36 and √0
    assert summary.value("mean of tasks", "overall") == 2.0
    assert summary.value("mean of tasks", "semantics") == 1.5
    assert summary.value("mean of tasks", "overall", INTERSECTION) == 6.0
    assert (summary.judged, summary.read, summary.missing) == (4, 3, 0)
    assert "background_change" in summary.notes[0] and "color_alter" not in summary.notes[0]
    assert item_score(items[0], {"semantics": 4.0, "quality": None}) is None


def test_nothing_judged_has_no_number():
    summary = summarize([item(0, TASKS[0])], {})
    assert summary.value("mean of tasks", "overall") is None and summary.coverage == 0
