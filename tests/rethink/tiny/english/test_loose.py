"""Requests in no construction: all that must be named is, in any order, with words between that mean nothing."""

from random import Random

import pytest

from rethink.tiny.english import words
from rethink.tiny.english.loose import EVERYDAY, PARTS, say_loosely
from rethink.tiny.english.writer import Writer
from tests.support.english import edits, mentions


def sentences(kind, count=120):
    for number, edit in enumerate(edits(count, kind)):
        yield edit, say_loosely(Writer(Random(number), edit, frozenset()))


def test_there_are_parts_for_every_kind_of_edit():
    assert {edit.verbs for edit in edits(300)} == set(PARTS)


@pytest.mark.parametrize("kind", ["recolor", "add"])
def test_the_color_to_come_is_named(kind):
    for edit, text in sentences(kind):
        if len(edit.accepted) == 1:
            assert mentions(text, words.COLOR_WORDS[edit.new.color]), text


def test_the_black_square_is_named_and_what_is_beneath_it():
    for edit, text in sentences("uncover"):
        assert mentions(text, words.BLACK_SQUARES) and mentions(text, words.COLOR_WORDS[edit.new.color]), text


def test_parts_come_in_every_order():
    shapes = {"it has the shape first": 0, "the thing first": 0}
    for edit, text in sentences("background"):
        of_background = [text.find(word) for half in words.BACKDROPS for word in half.split("|") if word in text]
        named = [
            text.find(word)
            for word in words.BACKGROUND_WORDS[edit.accepted[0].background][0].split("|")
            if word in text
        ]
        if of_background and named:
            shapes["it has the shape first" if min(named) < min(of_background) else "the thing first"] += 1
    assert min(shapes.values()) > 10


def test_everyday_words_say_nothing_of_colors_and_shapes():
    meaning = {
        word
        for table in (words.COLOR_WORDS, words.SHAPE_WORDS, words.BACKGROUND_WORDS)
        for name in table
        for word in name.split()
    }
    assert not meaning & set(EVERYDAY) and len(EVERYDAY) > 300
