"""Rules grow: parts are chosen, slots are filled, and a held-out rule is remembered."""

from random import Random

from rethink.tiny.english.grammar import Edit, Grammar
from rethink.tiny.tasks import sample_task


def grammar(seed=0, held_out=(), kind="resize"):
    task = sample_task(3, split="train", kind=kind)
    return Grammar(Random(seed), Edit(task.kind, task.source, task.accepted), frozenset(held_out))


def test_parts_are_chosen_inside_others_too():
    grown = {grammar(seed).grow("a[ b| [c|d]|]") for seed in range(40)}
    assert grown == {"a b", "a c", "a d", "a"}


def test_a_held_out_rule_is_taken_where_it_is_asked_for_and_remembered():
    rules = ("known",), ("held out",)
    plain, other = grammar(), grammar(held_out=("forms",))
    assert plain.pick(rules, "forms") == "known" and not plain.used_held_out
    assert other.pick(rules, "verbs") == "known" and not other.used_held_out
    assert other.pick(rules, "forms") == "held out" and other.used_held_out
    assert plain.unmet(("red", "vermilion")) == "vermilion" and plain.used_held_out


def test_long_phrases_stand_where_they_may():
    table = "red|scarlet|the color of blood", ""
    assert {grammar(seed).word(table) for seed in range(60)} == {"red", "scarlet"}
    assert "the color of blood" in {grammar(seed).word(table, phrases=True) for seed in range(120)}


def test_an_edit_knows_what_changes():
    edit = grammar().edit
    assert edit.old.cell == edit.new.cell and edit.old.size != edit.new.size
    assert edit.verbs == ("bigger" if edit.new.size > edit.old.size else "smaller")
    assert grammar(kind="remove").edit.new is None and grammar(kind="add").edit.old is None


def test_invented_words_are_many():
    assert len({grammar(seed).invent() for seed in range(100)}) > 80
