"""Every rule of a task that is to be worked out can be asked in other words."""

from rethink.tiny.english.reasoning import REASONING_PHRASES
from rethink.tiny.phrasings import REASONING_WORDINGS


def test_every_rule_has_phrases():
    assert set(REASONING_PHRASES) == set(REASONING_WORDINGS)
    for name, (known, held_out) in REASONING_PHRASES.items():
        assert len(known) >= 3 and held_out
        assert ("{b}" in " ".join(known)) == ("{b}" in " ".join(REASONING_WORDINGS[name])), name
