"""Mistakes of the fingers leave a word that can be guessed."""

from difflib import SequenceMatcher
from random import Random

import pytest

from rethink.tiny.english.slips import SLIPS, misspell, retype


@pytest.mark.parametrize("slip", [*SLIPS[0], *SLIPS[1]], ids=lambda slip: slip.__name__)
def test_a_slip_changes_one_or_two_letters(slip):
    for word in ("paint", "star", "Triangle", "rhythm", "background"):
        for seed in range(20):
            typed = slip(Random(seed), word)
            assert abs(len(typed) - len(word)) <= 1
            assert SequenceMatcher(None, typed.lower(), word.lower()).ratio() >= 0.7, (word, typed)


def test_only_words_of_four_letters_and_more_are_mistyped():
    text = "put the red one at the top"
    assert misspell(Random(0), text, SLIPS[0], 3) == text
    wrong = misspell(Random(1), "paint the small star blue", SLIPS[0], 2)
    assert sum(a != b for a, b in zip(wrong.split(), ["paint", "the", "small", "star", "blue"])) == 2


def test_a_space_is_left_out():
    assert misspell(Random(0), "put the red one in", SLIPS[0], 0, glue=1).count(" ") == 3


def test_people_type_in_many_ways():
    text = "don't paint it red. make it blue, please!"
    found = {retype(Random(seed), text) for seed in range(200)}
    assert text.upper() in found and "Don't paint it red. Make it blue, please!" in found
    assert "dont paint it red make it blue please" in {each.lower() for each in found}
    assert len(found) > 8
