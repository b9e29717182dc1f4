"""Sentences are there for every kind of edit, and none is there twice."""

from rethink.tiny.english import forms, verbs


def test_every_kind_has_known_and_held_out_sentences():
    assert set(forms.SENTENCES) == set(verbs.VERB_PHRASES) == set(verbs.STATES)
    for known, held_out in forms.SENTENCES.values():
        assert len(known) >= 10 and len(held_out) >= 4 and len(set(known) | set(held_out)) == len(known) + len(held_out)


def test_what_people_say_around_has_held_out_phrases():
    for known, held_out in (forms.OPENERS, forms.CLOSERS, forms.CHATTER):
        assert len(known.split("|")) >= 25 and len(held_out.split("|")) >= 5
