"""Wide English: very many ways to ask, which repeat from their seed, and whose held-out rules training never sees."""

import re
from random import Random

import pytest

from rethink.tiny.english import GROUPS, forms, reasoning, verbs, words, write_request
from rethink.tiny.english.grammar import UnfitError
from rethink.tiny.english.loose import EVERYDAY
from rethink.tiny.english.writer import Writer, gerund
from rethink.tiny.tasks import KINDS, WIDE, sample_task
from tests.support.english import edits, mentions


def tables():
    """Every (known, held out) of sentences and phrases, and of words."""
    rules = [forms.ACTS, forms.STATE_ACTS]
    for table in (forms.SENTENCES, verbs.VERB_PHRASES, verbs.STATES, reasoning.REASONING_PHRASES):
        rules += table.values()
    named = (words.COLOR_WORDS, words.SHAPE_WORDS, words.SIZE_WORDS, words.CORNERS)
    found = [each for table in named for each in table.values()] + [words.NOUNS, words.ADJECTIVES, words.BACKDROPS]
    found += [words.BLACK_SQUARES, forms.OPENERS, forms.CLOSERS, forms.CHATTER]
    return rules, [tuple(text.split("|") for text in pair) for pair in found]


def phrases():
    """Every (known, held out) of what is done to things."""
    return [
        pair for table in (verbs.VERB_PHRASES, verbs.STATES, reasoning.REASONING_PHRASES) for pair in table.values()
    ]


def spoken(texts):
    return {word for text in texts for word in re.findall(r"[a-z'-]+", re.sub(r"[{<]\w+[}>]", " ", text).lower())}


def test_no_rule_is_both_known_and_held_out():
    rules, named = tables()
    more_often = forms.ACTS[0], verbs.VERB_PHRASES["remove"][0]  # by what stands there more than once
    for known, held_out in rules + named:
        assert known and held_out and not set(known) & set(held_out)
        assert len(set(known)) == len(known) or known in more_often


def test_training_never_meets_a_held_out_word():
    rules, named = tables()
    known, held_out = (spoken(text for pair in rules + named for text in pair[half]) for half in (0, 1))
    only_held_out = held_out - known - {"colors", "picture"}
    unmet = spoken(text for table in [*phrases(), *named[:-3]] for text in table[1]) - known
    assert not unmet & set(EVERYDAY)  # which new constructions, and what people say around, may be made of
    only_held_out -= set(EVERYDAY)
    assert len(only_held_out) > 150
    asked = edits(100)
    texts = [write_request(Random(seed), edit) for seed in range(30) for edit in asked]
    assert not spoken(texts) & {word for word in only_held_out if len(word) > 5}


def test_a_held_out_sentence_has_a_rule_that_training_never_saw():
    rules, named = tables()
    known, held_out = (spoken(text for pair in rules + named for text in pair[half]) for half in (0, 1))
    new = held_out - known
    for group in ("words", "mixed"):
        texts = [write_request(Random(seed), edit, group) for seed, edit in enumerate(edits(150))]
        met = sum(bool(spoken([text]) & new) for text in texts)
        assert met > (0.75 if group == "words" else 0.4) * len(texts)  # the others have known words in a new place
    for group in GROUPS:
        writer = Writer(Random(0), edits(1)[0], frozenset({"forms"}))
        writer.sentence()
        assert writer.used_held_out, group


def test_a_request_repeats_from_its_seed_and_hardly_ever_from_another():
    (edit,) = edits(1, "recolor")
    assert write_request(Random(7), edit) == write_request(Random(7), edit)
    asked = edits(250)
    texts = [write_request(Random(f"{seed}-{number}"), edit) for seed in range(20) for number, edit in enumerate(asked)]
    assert len(texts) == 5000 and len(set(texts)) > 0.97 * len(texts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sentence_says_what_is_needed(kind):
    """Before anybody mistypes it: the new value by a word for it, and a thing to be added or shown by its shape."""
    for seed, edit in enumerate(edits(60, kind)):
        text = _sentence(seed, edit)
        after, new = edit.accepted[0], edit.new
        if kind == "background":
            assert mentions(text, words.BACKGROUND_WORDS[after.background]), text
        if kind == "recolor":
            assert mentions(text, words.COLOR_WORDS[new.color]), text
        if kind in ("reshape", "add", "uncover"):
            assert mentions(text, words.SHAPE_WORDS[new.shape]), text
        if kind == "uncover":
            assert mentions(text, words.COLOR_WORDS[new.color]), text
        if kind == "cover":
            assert mentions(text, words.BLACK_SQUARES) or re.search(_HIDE, text, re.IGNORECASE), text


_HIDE = r"hid|cover|censor|black|redact|mask|obscur|conceal|block|blank|screen|shield|blot"


def _sentence(seed, edit):
    while True:
        try:
            return Writer(Random(seed), edit, frozenset()).sentence()
        except UnfitError:
            seed += 1000


def test_every_slot_of_every_rule_is_filled():
    """Each rule that fits some edit grows without a slot or a choice left open."""
    samples = {kind: edits(12, kind) for kind in KINDS}
    for table, acts in ((verbs.VERB_PHRASES, "<vp>"), (verbs.STATES, "<be>"), (forms.SENTENCES, "")):
        for name, pair in table.items():
            kind = "resize" if name in ("bigger", "smaller") else name
            for rule in (*pair[0], *pair[1]):
                assert _grows(rule, samples[kind]), (acts, rule)
    for rule in (*forms.ACTS[0], *forms.ACTS[1], *forms.STATE_ACTS[0], *forms.STATE_ACTS[1]):
        assert _grows(rule, samples["recolor"]), rule


def _grows(rule, asked):
    assert rule.count("[") == rule.count("]") and rule.count("{") == rule.count("}"), rule
    grown = []
    for seed, edit in enumerate(asked):
        try:
            grown.append(Writer(Random(seed), edit, frozenset()).grow(rule))
        except UnfitError:
            continue
    return grown and not any(re.search(r"[\[\]{}<|]", text) for text in grown)


def test_what_is_to_be_worked_out_is_asked_in_other_words_too():
    asked = [sample_task(seed, WIDE, split="train") for seed in range(400)]
    texts = {task.instruction for task in asked if re.search(r"biggest|largest|hugest", task.instruction)}
    assert len(texts) > 8


def test_verbs_with_ing():
    verbs_with_ing = {"paint": "painting", "make": "making", "put": "putting", "dye": "dyeing", "draw": "drawing"}
    assert {verb: gerund(verb) for verb in verbs_with_ing} == verbs_with_ing
    assert gerund("see") == "seeing" and gerund("swap") == "swapping"
