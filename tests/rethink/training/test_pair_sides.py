"""A thinker that looks at pairs both ways round."""

import pytest

from rethink.errors import RethinkError
from rethink.training.lora_pairs import read_pairs
from rethink.training.pair_sides import check_sides
from tests.support.lora_training import write_pairs
from tests.support.thinking import gone, said, thinker


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return read_pairs(write_pairs(tmp_path_factory.mktemp("pairs"), 6))


def test_pairs_that_show_their_edit_are_fine(pairs):
    judge = thinker(*[said(9, 8), said(1, 8)] * 4)
    check_sides(pairs, judge)
    assert len(judge.chat.asked) == 8 and "make it red" in judge.chat.asked[0].text


def test_swapped_ones_are_said(pairs):
    with pytest.raises(RethinkError, match="^pairs: in 4 of 4 pairs that says looked at, “make it red” leads from"):
        check_sides(pairs, thinker(*[said(1, 8), said(9, 8)] * 4))


@pytest.mark.parametrize("answers", [[said(5, 5)], [gone()], ["no scores"], [said(5, 5), said(5.5, 5)] * 4])
def test_a_thinker_that_cannot_tell_stops_nothing(pairs, answers):
    check_sides(pairs, thinker(*answers))


def test_one_pair_is_no_majority(pairs):
    check_sides(pairs[:1], thinker(said(1, 8), said(9, 8)))
