"""A word with one meaning has the plain word for it; one with two, or a held-out one, has none."""

from rethink.tiny.english.meanings import PLAIN_VERBS, word_meanings
from rethink.tiny.english.verbs import VERB_PHRASES


def test_words_of_one_meaning_have_the_plain_word_for_it():
    found = word_meanings()
    assert {word: found[word] for word in ("amethyst", "globe", "tiny", "enlarge", "discard", "pistachio")} == {
        "amethyst": "purple",
        "globe": "circle",
        "tiny": "small",
        "enlarge": "bigger",
        "discard": "remove",
        "pistachio": "mint",
    }
    assert not {"light", "vermilion", "mauve", "banish", "the"} & set(found)


def test_every_kind_has_a_plain_word():
    assert set(PLAIN_VERBS) == set(VERB_PHRASES)
