"""Two edits in both orders: what is asked, and how an answer is read."""

from dataclasses import replace

import pytest
import torch

from rethink.steps import Critique, Preservation, Step
from rethink.thinkers.critique import Thinker
from rethink.thinkers.protocol import resize_for_vlm
from rethink.thinkers.side_by_side import can_compare, compare_edits, parse_choice
from tests.support.thinking import SOURCE, Says, gone

EARLIER = Step(
    1, 2, "a", "user", 3, Critique("ok", 6, 6), Preservation(0.2, 40.0, False), 6.0, 1.0, 1.0, image=SOURCE * 0
)
LATER = replace(EARLIER, turn=2, candidate=0, seed=9, image=SOURCE + 0.5)


def compare(*answers):
    chat = Says(*answers)
    return compare_edits(Thinker(chat), SOURCE, "make it red", EARLIER, LATER), chat.asked


def test_both_orders_are_shown_with_the_same_words():
    compared, (first, second) = compare("<answer>A</answer>", "<answer>B</answer>")
    assert first.text == second.text and "make it red" in first.text and first.text.count("[picture]") == 3
    shown = [resize_for_vlm(image) for image in (SOURCE, EARLIER.image, LATER.image)]
    assert all(map(torch.equal, first.images, shown)) and all(
        map(torch.equal, second.images, [shown[0], *shown[:0:-1]])
    )
    assert (compared.turn, compared.candidate, compared.answers) == (1, 2, ("earlier", "earlier"))


def test_letters_mean_another_edit_in_the_other_order():
    assert compare("<answer>B</answer>", "<answer>A</answer>")[0].kept == "later"
    assert compare("<answer>A</answer>")[0].answers == ("earlier", "later")
    assert compare("<answer>same</answer>")[0].kept == "earlier"


def test_no_answer_decides_nothing_and_says_why():
    compared, _ = compare(gone(), "<answer>A</answer>")
    assert (compared.answers, compared.kept, compared.note) == (("", "later"), "", "thinker: says is gone.")
    compared, _ = compare("I like both.")
    assert compared.kept == "" and compared.note == "The answer names neither of the two."


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        ("<think>A is red.</think><answer>B</answer>", "b"),
        ("<answer> **Picture A.** </answer>", "a"),
        ("<think>so</think>\nB", "b"),
        ("<answer>same</answer>", "same"),
        ("b", "b"),
        ("<answer>A</answer> or <answer>B</answer>", ""),
        ("<answer>A, B, or same</answer>", ""),
        ("<think>A", ""),
        ("A is better than B", ""),
        ("", ""),
        ("<answer>" * 20_000, ""),
    ],
)
def test_only_a_clear_choice_is_one(answer, choice):
    assert parse_choice(answer) == choice


def test_who_knows_the_critique_alone_is_not_asked():
    chat = Says("")
    assert can_compare(Thinker(chat)) and not can_compare(Thinker(chat, "{source} {edited} {instruction}"))
    chat.name = "built-in"
    assert not can_compare(Thinker(chat))
