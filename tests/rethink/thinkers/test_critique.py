"""What a thinker is asked, in which order, and what becomes of its answers."""

import pytest
import torch

from rethink.errors import RethinkError
from rethink.steps import Region
from rethink.thinkers.critique import (
    TEMPLATE,
    Thinker,
    critique,
    critique_messages,
    polish_instruction,
    split_instruction,
)
from rethink.thinkers.protocol import chat_all, resize_for_vlm
from tests.support.thinking import SOURCE, Looks, Says, gone, said, thinker

EDITED = [torch.zeros(1, 16, 16, 3), torch.ones(1, 16, 16, 3)]


def ask(thinker, prompts=("be red",), **options):
    edited = EDITED[: len(prompts)]
    return critique(thinker, SOURCE, edited, "make it red", prompts, list(range(len(prompts))), **options)


def test_what_never_changes_comes_first_and_what_changes_every_turn_last():
    first, second = (
        critique_messages(TEMPLATE, instruction="make it red", prompt=p)[0]["content"] for p in ("a", "be blue")
    )
    assert [part["type"] for part in first] == ["text", "image", "text", "image", "text"]
    assert first[:4] == second[:4] and first[4] != second[4]
    assert "make it red" in first[2]["text"] and first[4]["text"].strip().endswith(": a")


def test_pictures_stand_where_the_template_wants_them():
    chat = Says(said(5, 5))
    turned = 'After: {edited} Before: {source} Asked: {instruction} Braces like {this} and {"json": 1} stay.'
    ask(Thinker(chat, turned))
    assert torch.equal(chat.asked[0].images[0], resize_for_vlm(EDITED[0])) and torch.equal(
        chat.asked[0].images[1], resize_for_vlm(SOURCE)
    )
    assert (
        chat.asked[0].text
        == 'After: [picture] Before: [picture] Asked: make it red Braces like {this} and {"json": 1} stay.'
    )


def test_an_instruction_cannot_fill_in_the_template():
    parts = critique_messages(TEMPLATE, instruction="show {edited} {source} {prompt}", prompt="p")[0]["content"]
    assert [part["type"] for part in parts].count("image") == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"template": "{source} {instruction}"}, r"template: does not say where \{edited\} goes"),
        ({"max_tokens": 0}, "max_tokens: expected"),
        ({"temperature": float("nan")}, "temperature: expected"),
    ],
)
def test_mistakes_are_one_sentence(options, sentence):
    with pytest.raises(RethinkError, match=sentence):
        Thinker(Says(""), **options)


def test_a_template_without_demands_cannot_check_any():
    with pytest.raises(RethinkError, match="checklist: "):
        ask(Thinker(Says(""), "{source} {edited} {instruction}"), checklist=("red",))


def test_an_answer_without_scores_is_asked_for_once_more():
    chat = Says("no verdict", said(5, 6, "next"))
    (found,) = ask(Thinker(chat))
    assert (found.status, found.semantic, found.next_prompt) == ("repaired", 5, "next") and "Asked twice" in found.note
    assert chat.asked[0].temperature == 0 < chat.asked[1].temperature
    first, second = (asked.seed for asked in chat.asked)
    assert all(first % 2**bits != second % 2**bits for bits in (31, 32, 63, 64)), "backends take so many"
    chat = Says("no verdict")
    assert ask(Thinker(chat))[0].status == "unparsed" and len(chat.asked) == 2


def test_one_that_fails_takes_no_other_with_it():
    found = ask(thinker(gone(), said(5, 6)), prompts=("a", "b"))
    assert [c.status for c in found] == ["failed", "ok"] and found[0].note == "thinker: says is gone."


def test_several_are_asked_at_once_where_the_backend_can():
    looks = Looks()
    assert len(ask(Thinker(looks), prompts=("a", "b"))) == 2 and looks.batches == [2]
    assert len(chat_all(Says("x"), [], max_tokens=1, temperature=0)) == 0


def test_polishing_and_splitting_fall_back_on_the_instruction():
    assert (
        polish_instruction(thinker("<think>.</think><answer> make the\n star red </answer>"), SOURCE, "do", 0)
        == "make the star red"
    )
    assert polish_instruction(thinker("<answer>cut off"), SOURCE, "do", 0) == "do"
    listed = "<checklist>\n1. the star is red\n- the sky is blue\n\n</checklist>"
    assert split_instruction(thinker(listed), SOURCE, "do", 0) == ("the star is red", "the sky is blue")
    assert split_instruction(thinker("1. the star is red"), SOURCE, "do", 0) == ("do",)
    many = "<checklist>" + "\n".join(f"{i}. thing {i}" for i in range(99)) + "</checklist>"
    assert len(split_instruction(thinker(many), SOURCE, "do", 0)) == 12


def test_boxes_are_asked_for_last_and_only_where_they_are_wanted():
    chat = Says(said(5, 5, "next") + '\n<boxes>[{"bbox_2d": [0, 0, 500, 500], "kind": "place"}]</boxes>')
    (plain,), (found,) = ask(Thinker(chat)), ask(Thinker(chat), regions=True)
    without, wanted = (asked.text for asked in chat.asked[-2:])
    assert wanted.startswith(without) and "<boxes>" in wanted[len(without) :] and "<boxes>" not in without
    assert (found.status, found.next_prompt, found.regions) == ("ok", "next", (Region("place", (0, 0, 0.5, 0.5)),))
    assert plain.regions == ()
    (bad,) = ask(Thinker(Says(said(5, 5) + "<boxes>there, and <score>[9, 9]</score>")), regions=True)
    assert (bad.status, bad.semantic, bad.regions) == ("ok", 5, ()), "what is wrong with boxes spoils nothing else"


@pytest.mark.parametrize("form", ["\n```json\n{}\n```", "<regions>{}</regions>", "\n{}"])
def test_boxes_in_a_form_of_the_models_own_cost_no_scores(form):
    boxes = form.format('[{"bbox_2d": [0, 0, 500, 500], "label": "the hat"}]')
    (found,) = ask(Thinker(Says(said(5, 5, "next") + boxes)), regions=True)
    assert (found.status, found.semantic, found.next_prompt) == ("ok", 5, "next")
    assert found.regions == (Region("wrong", (0, 0, 0.5, 0.5), "the hat"),)


@pytest.mark.parametrize("words", ["I shall list it in <boxes> then.", "I end with <boxes>", "<boxes>[]</boxes>"])
@pytest.mark.parametrize("end", ["", "<boxes>[]</boxes>", "\n<boxes>[[1, 2"])
def test_reasoning_that_speaks_of_boxes_costs_no_scores(words, end):
    verdict = '</think><score>{"semantic": 8, "quality": 7}</score><answer>make it redder</answer>'
    (found,) = ask(Thinker(Says(f"<think>The hat is red. {words}{verdict}{end}")), regions=True)
    assert (found.status, found.semantic, found.next_prompt) == ("ok", 8, "make it redder")
