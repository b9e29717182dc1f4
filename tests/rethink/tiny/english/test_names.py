"""A name fits one thing of the scene alone."""

import re
from random import Random

from rethink.tiny.english import words
from rethink.tiny.english.grammar import Edit
from rethink.tiny.english.writer import Writer
from rethink.tiny.scene import PLACES, SIZES
from rethink.tiny.tasks import sample_task


def says(text, pair):
    return any(re.search(rf"\b{re.escape(word)}\b", text) for half in pair for word in half.split("|") if word)


def fits(text, thing, scene):
    """Whether nothing that the name says of color, shape, place and size rules this thing out."""
    for table, value in (
        (words.COLOR_WORDS, thing.color),
        (words.SHAPE_WORDS, thing.shape),
        (words.CORNERS, PLACES[thing.cell]),
        (words.SIZE_WORDS, SIZES[thing.size]),
    ):
        said = [name for name in table if says(text, table[name])]
        if said and value not in said:
            return False
    return True


def test_a_name_fits_no_other_thing():
    described = 0
    for seed in range(250):
        task = sample_task(seed, split="train", kind="remove")
        (thing,) = set(task.source.things) - set(task.target.things)
        for held_out in (frozenset(), frozenset({"names"})):
            writer = Writer(Random(seed), Edit("remove", task.source, task.accepted), held_out)
            text = writer.refer(thing)
            assert writer.used_held_out == bool(held_out)
            if re.search(
                r"isn't|not|than|est\b|of the|\b(above|over|below|under|beneath|beside|next|across|opposite|top of)",
                text,
            ):
                continue  # by others, not by itself
            described += 1
            assert fits(text, thing, task.source), text
            if held_out:
                continue
            others = [other for other in task.source.things if other != thing and fits(text, other, task.source)]
            assert not others or "only" in text, (text, others)
    assert described > 300


def test_a_thing_named_before_is_it():
    task = sample_task(3, split="train", kind="remove")
    writer = Writer(Random(0), Edit("remove", task.source, task.accepted), frozenset())
    assert writer.grow("{x}") != "it" or len(task.source.things) == 1
    assert "it" in writer.grow("<it>").split()
    assert writer.grow("{x}") == "it"
