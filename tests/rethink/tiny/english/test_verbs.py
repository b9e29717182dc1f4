"""What is done to things: verbs for every kind of edit."""

import re

from rethink.tiny.english.verbs import STATES, VERB_PHRASES
from rethink.tiny.tasks import KINDS


def test_there_are_verbs_for_every_kind():
    kinds = set(KINDS) - {"resize"} | {"bigger", "smaller"}
    assert set(VERB_PHRASES) == set(STATES) == kinds
    for known, held_out in VERB_PHRASES.values():
        assert len(first_words(known)) >= 10 and first_words(held_out) - first_words(known)


def first_words(phrases):
    """The verbs: what a phrase or its first choice begins with."""
    starts = (re.match(r"\[([^\]]*)\]|(\w+)", phrase) for phrase in phrases)
    return {text.split()[0] for start in starts if start for text in (start[1] or start[2]).split("|") if text}
