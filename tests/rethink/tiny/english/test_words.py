"""Words for all that the built-in world has, each for one thing alone."""

import pytest

from rethink.tiny.english import words
from rethink.tiny.scene import BACKGROUNDS, COLORS, PLACES, SHAPES, SIZES


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (words.COLOR_WORDS, COLORS),
        (words.SHAPE_WORDS, SHAPES),
        (words.SIZE_WORDS, SIZES),
        (words.BACKGROUND_WORDS, BACKGROUNDS),
        (words.CORNERS, PLACES),
    ],
)
def test_everything_has_words_and_no_word_means_two(table, names):
    assert list(table) == list(names)
    said = [word for pair in table.values() for half in pair for word in half.split("|") if word]
    assert len(said) == len(set(said)), sorted(word for word in said if said.count(word) > 1)
    assert all(pair[0].split("|")[0] == name for name, pair in table.items())
