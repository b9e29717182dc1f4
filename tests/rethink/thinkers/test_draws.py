"""Scores as the means of several answers."""

import pytest

from rethink.steps import ChecklistItem, Critique
from rethink.thinkers.critique import Thinker
from rethink.thinkers.draws import critique_draws, mean_critique
from tests.support.thinking import SOURCE, Looks, Says, gone, said


def ask(chat, draws, images=1, seeds=(3, 4)):
    return critique_draws(
        Thinker(chat), SOURCE, [SOURCE] * images, "make it red", ["p"] * images, seeds[:images], draws
    )


def test_once_is_what_it_was():
    chat = Says(said(6, 5, "next"))
    (found,) = ask(chat, 1)
    assert (found.semantic, found.draws, chat.asked[0].temperature, chat.asked[0].seed) == (6, (), 0, 3)


def test_the_scores_are_means_and_the_words_those_of_the_answer_that_is_nearest():
    chat = Says(said(2, 6, "a"), said(6, 6, "b"), said(7, 6, "c"))
    (found,) = ask(chat, 3)
    assert (found.status, found.semantic, found.quality, found.next_prompt) == ("ok", 5, 6, "b")
    assert found.draws == ((2, 6), (6, 6), (7, 6))
    assert {asked.temperature for asked in chat.asked} == {0.7}
    assert len({asked.seed % 2**31 for asked in chat.asked}) == 3, "each is another answer"


def test_no_draw_shares_its_seed_with_another_candidate_and_all_are_asked_at_once():
    chat = Says(said(5, 5))
    ask(chat, 64, images=2)
    assert len({asked.seed for asked in chat.asked}) == 128
    looks = Looks()
    assert len(ask(looks, 3, images=2)) == 2 and looks.batches == [6]
    looks.batches.clear()
    ask(looks, 64)
    assert looks.batches == [8] * 8, "a model here would run out of memory"


def test_an_answer_without_scores_is_no_part_of_the_mean():
    (found,) = ask(Says(said(4, 4), gone(), said(6, 6)), 3)
    assert (found.status, found.semantic, found.note) == ("repaired", 5, "1 of 3 answers had no scores.")
    assert len(found.draws) == 2
    assert ask(Says(gone()), 2)[0].status == "failed"
    assert mean_critique([Critique("failed"), Critique("unparsed", note="x")]).status == "unparsed"


@pytest.mark.parametrize(
    ("votes", "passed"), [((True, True, False), True), ((True, False), None), ((False, None), False)]
)
def test_a_checklist_is_verified_by_most(votes, passed):
    found = [Critique("ok", 5, 5, checklist=(ChecklistItem("a", vote),)) for vote in votes]
    assert mean_critique(found).checklist == (ChecklistItem("a", passed),)
