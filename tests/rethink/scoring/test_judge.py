"""What a judge is asked, and what its answers become."""

import json
from dataclasses import replace

import pytest
import torch

from rethink.evaluation.measures import ARTIFACTS, FOLLOWING, NATURALNESS, OVERALL, QUALITY, RESTRAINT, SEMANTIC
from rethink.scoring.judge import COMPARE, LOOK, judge_edits, read_scores
from rethink.thinkers.critique import Thinker
from rethink.thinkers.openai_chat import OpenAIChat
from rethink.thinkers.protocol import ThinkerError
from tests.support.servers import completion, openai_server
from tests.support.thinking import SOURCE, Says, said

EDITED = torch.rand(1, 24, 24, 3)
KEYS = {"following": FOLLOWING, "restraint": RESTRAINT}


def compared(following, restraint, words="It is red."):
    return f'{words}\n{{"following": {following}, "restraint": {restraint}}}'


def looked(natural, clean):
    return f'Fine.\n{{"natural": {natural}, "clean": {clean}}}'


def ask(*answers, passes=1, chat=None, seed=0):
    chat = chat or Says(*answers)
    return chat, judge_edits(Thinker(chat), SOURCE, [EDITED], " make it red ", passes, seed)[0]


def test_the_lower_scores_count():
    chat, found = ask(compared(9, 4), looked(8, 9))
    expected = {FOLLOWING: 9, RESTRAINT: 4, NATURALNESS: 8, ARTIFACTS: 9, SEMANTIC: 4, QUALITY: 8, OVERALL: 32**0.5}
    assert {m.measure: m.value for m in found.measurements} == expected
    assert found.reasoning == "It is red. Fine." and not found.notes
    first, second = chat.asked
    assert first.text == f"{COMPARE}[picture]The instruction: make it red\nThe edited picture:\n[picture]"
    assert second.text == f"{LOOK}[picture]" and [len(asked.images) for asked in chat.asked] == [2, 1]
    assert {asked.temperature for asked in chat.asked} == {0.0}


def test_passes_are_averaged_each_with_a_seed_of_its_own():
    chat, found = ask(compared(10, 10), looked(10, 10), compared(4, 6), looked(9, 9), passes=2, seed=7)
    by_measure = {m.measure: m for m in found.measurements}
    assert (by_measure[FOLLOWING].value, by_measure[RESTRAINT].value) == (7, 8)
    assert by_measure[OVERALL].value == (10 + 6) / 2 and by_measure[OVERALL].spread == pytest.approx(8**0.5)
    assert [asked.seed for asked in chat.asked] == [7, 7, 8, 8]
    assert {asked.temperature for asked in chat.asked} == {0.7}, "at 0 all would be the same"


@pytest.mark.parametrize(
    "answer",
    [
        "It is quite good.",
        "这张图很好，给九分。",
        compared(11, 10),
        compared('"11/10"', 9),
        compared("null", 9),
        compared("true", 9),
        compared(-1, 9),
        '{"following": 9}',
        "I'm sorry, I can't help with that.",
        "<think>" + compared(9, 9),
        ThinkerError("thinker: no answer within 120 s"),
        "",
    ],
)
def test_an_answer_without_scores_is_asked_for_again(answer):
    chat, found = ask(answer, looked(8, 8), compared(9, 9))
    assert (found.value(FOLLOWING), found.value(OVERALL)) == (9, 72**0.5) and len(chat.asked) == 3
    assert chat.asked[2].temperature == 0.7 and chat.asked[2].seed != chat.asked[0].seed


@pytest.mark.parametrize("score", ["8.5", '"8.5"', '"8.5/10"', '"**8.5**"'])
def test_numbers_may_be_written_in_several_ways(score):
    assert read_scores(compared(score, 7), KEYS).scores == {FOLLOWING: 8.5, RESTRAINT: 7}


def test_the_last_scores_count_and_the_reasoning_stands_before_them():
    reply = '<think>{"following": 1, "restraint": 1}</think>Like {"following": 0, "restraint": 0}? No.\n```json\n'
    found = read_scores(f"{reply}{compared(6, 5, '')}\n```", KEYS)
    assert found.scores == {FOLLOWING: 6, RESTRAINT: 5} and found.reasoning.endswith("No.")


def test_a_judge_that_never_says_anything_of_use_has_no_scores():
    chat, found = ask("no", looked(8, 8), "no")
    assert (found.value(SEMANTIC), found.value(QUALITY), found.value(OVERALL)) == (None, 8, None)
    assert len(chat.asked) == 4, "the question that was answered is not asked again"


def test_scores_that_were_not_read_are_left_out_of_the_mean():
    answers = [compared(9, 9), looked(9, 9), "no", looked(5, 5), "no", "no"]
    _, found = ask(*answers, passes=2)
    by_measure = {m.measure: m for m in found.measurements}
    assert by_measure[FOLLOWING].value == 9 and by_measure[NATURALNESS].value == 7 and by_measure[OVERALL].value == 9
    assert found.notes == ("Only 1 of 2 passes have all scores: its answer contains no scores ('no').",)


def test_a_judge_that_is_gone_is_the_reason():
    _, found = ask(ThinkerError("thinker: it is gone"))
    assert {m.value for m in found.measurements} == {None}
    assert {m.why for m in found.measurements} == {"thinker: it is gone"}


@pytest.mark.parametrize("kind", ["built-in", "template"])
def test_a_thinker_that_knows_only_the_critique_is_asked_for_that(kind):
    chat = Says(said(8, 5), said(6, 5))
    thinker = Thinker(chat)
    if kind == "built-in":
        chat.name = "built-in"
    else:
        thinker = replace(thinker, template="Look: {source} {edited} {instruction}")
    (found,) = judge_edits(thinker, SOURCE, [EDITED], "make it red", 2, 3)
    by_measure = {m.measure: m for m in found.measurements}
    assert (by_measure[SEMANTIC].value, by_measure[QUALITY].value) == (7, 5) and by_measure[SEMANTIC].spread == 2**0.5
    assert by_measure[FOLLOWING].value is None and "two joint scores" in by_measure[FOLLOWING].why
    assert [asked.seed for asked in chat.asked] == [3, 4]


def test_over_a_real_connection_several_at_once():
    def reply(request):
        text = json.dumps(request["messages"])
        return 200, completion(compared(8, 6) if "following" in text else looked(9, 7)), {}

    with openai_server() as server:
        server.replies = [reply]
        chat = OpenAIChat(server.url, "judge", concurrency=4)
        _, found = ask(chat=chat, passes=3)
    assert found.value(OVERALL) == pytest.approx(42**0.5) and len(server.requests) == 6


@pytest.mark.parametrize("name", ["says", "built-in"])
def test_several_edits_are_asked_about_at_once(name):
    answers = (
        [said(8, 5), said(6, 5)] if name == "built-in" else [compared(8, 9), looked(5, 9), compared(6, 7), looked(5, 5)]
    )
    chat = Says(*answers)
    chat.name = name
    found = judge_edits(Thinker(chat), SOURCE, [EDITED, 1 - EDITED], "make it red", 1, 3)
    assert [each.value(SEMANTIC) for each in found] == [8, 6] and not any(each.unanswered for each in found)
    assert not chat.asked[-1].images[-1].equal(chat.asked[0].images[-1]) and len(chat.asked) == len(answers)


@pytest.mark.parametrize("name", ["says", "built-in"])
def test_a_judge_that_is_gone_is_not_asked_on_and_on(name):
    chat = Says(ThinkerError("thinker: it is gone"))
    chat.name = name
    (found,) = judge_edits(Thinker(chat), SOURCE, [EDITED], "make it red", 1, 3)
    assert found.unanswered and len(chat.asked) <= 2
    (found,) = judge_edits(Thinker(Says("no")), SOURCE, [EDITED], "make it red", 1, 3)
    assert not found.unanswered, "it answers, if nothing of use"
