"""KRIS's replies are read as its scripts read them, but for what they guess, and pooled as its summary pools them."""

import pytest

from rethink.evaluation.benchmarks.core import Item, UnreadableReply
from rethink.evaluation.benchmarks.kris_scores import (
    CATEGORIES,
    CONSISTENCY,
    INSTRUCTION,
    KNOWLEDGE,
    NO_TEMPORAL,
    POOLED,
    QUALITY,
    item_score,
    measures_of,
    read_reply,
    summarize,
)


def item(category, number=1):
    return Item(f"{category}/{number}", category, "x")


COLOR, PHYSICS, MULTI, TIME = (
    item(name) for name in ("color_change", "physics", "multi-element_composition", "temporal_prediction")
)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ('{"consistency_score": 4, "reasoning": "fine"}', 4),
        ('```json\n{\n "consistency_score": "3"\n}\n```', 3),
        ('{"consistency_score": 4.7}', 4),
        ('{"consistency_score": 7}', 7),
        ('{"consistency_score": "4/5"}', 4),
        ("**Consistency score: 5**", 5),
        ("consistency_score：2", 2),
        ("I give it 3 / 5.", 3),
        ("4 out of 5", 4),
        ("4", 4),
        ("**4**", 4),
    ],
)
@pytest.mark.parametrize("asked", [COLOR, PHYSICS])
def test_replies_that_its_scripts_read(asked, reply, score):
    assert read_reply(asked, CONSISTENCY, reply) == {CONSISTENCY: score}


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "1. The hat is gone.",
        "12/10",
        "8",
        "一致性得分:四",
        "It is good.",
        '{"quality_score": 4}',
        '{"consistency_score": {"value": 4}}',
        '{"consistency_score": null}',
    ],
)
@pytest.mark.parametrize("asked", [COLOR, PHYSICS])
def test_replies_that_they_guess_or_cannot_read(asked, reply):
    with pytest.raises(UnreadableReply):
        read_reply(asked, CONSISTENCY, reply)


def test_its_scripts_differ():
    assert read_reply(COLOR, QUALITY, "Quality score 4") == {QUALITY: 4}
    for strict in (PHYSICS, MULTI, TIME):  # a colon is needed; these two know no label at all
        with pytest.raises(UnreadableReply):
            read_reply(strict, QUALITY, "Quality score 4")
    with pytest.raises(UnreadableReply):
        read_reply(TIME, QUALITY, "Quality score: 4")
    later = '{"consistency_score": null} 4/5'
    assert read_reply(COLOR, CONSISTENCY, later) == {CONSISTENCY: 4}
    with pytest.raises(UnreadableReply):
        read_reply(PHYSICS, CONSISTENCY, later)


def test_two_scores_in_one_reply():
    assert read_reply(PHYSICS, "dual", '{"instruction_score": 4, "knowledge_score": 2}') == {
        INSTRUCTION: 4,
        KNOWLEDGE: 2,
    }
    assert read_reply(PHYSICS, "dual", '{"instruction_score": 4}') == {INSTRUCTION: 4, KNOWLEDGE: None}
    words = '{"instruction_score": "x"} Instruction Score: 3, knowledge_score: 5'
    assert read_reply(PHYSICS, "dual", words) == {INSTRUCTION: 3, KNOWLEDGE: 5}
    for reply in ("4", "4/5", "1. Good. 2. Bad.", ""):  # no guess here
        with pytest.raises(UnreadableReply):
            read_reply(PHYSICS, "dual", reply)


def test_numbers_are_pooled():
    judged = {
        COLOR.id: {CONSISTENCY: 5, QUALITY: 5, INSTRUCTION: 2},
        PHYSICS.id: {CONSISTENCY: 1, QUALITY: 1, INSTRUCTION: 1, KNOWLEDGE: None},
        TIME.id: {CONSISTENCY: 5, QUALITY: 5, INSTRUCTION: 5},
        MULTI.id: None,
    }
    summary = summarize([COLOR, PHYSICS, TIME, MULTI, item("biology")], judged)
    assert summary.value("overall", "average", POOLED) == pytest.approx((100 + 100 + 25 + 300) / 9)
    assert summary.value("overall", "average", NO_TEMPORAL) == pytest.approx(225 / 6)
    assert summary.value("Factual Knowledge", "average") == pytest.approx(525 / 6)
    assert summary.value("Attribute Perception", INSTRUCTION) == 25
    assert summary.value("physics", "average") == 0
    assert (summary.judged, summary.read, summary.missing) == (4, 2, 1)
    assert item_score(COLOR, judged[COLOR.id]) == 75 and item_score(PHYSICS, judged[PHYSICS.id]) is None


def test_there_are_twenty_categories_of_which_ten_need_knowledge():
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 20
    assert sum(KNOWLEDGE in measures_of(category) for category in CATEGORIES) == 10
