"""Words with a single meaning, which a model need not learn letter by letter."""

from __future__ import annotations

import re
from collections import defaultdict

from . import verbs, words

SHORTEST = 4  # letters of a word that is worth a token
# What the verbs of a kind of edit come to, as a word of plain requests.
PLAIN_VERBS = {
    "recolor": "paint",
    "reshape": "into",
    "bigger": "bigger",
    "smaller": "smaller",
    "move": "move",
    "add": "add",
    "remove": "remove",
    "background": "background",
    "cover": "cover",
    "uncover": "uncover",
}


def word_meanings() -> dict[str, str]:
    """The known words of wide English that only occur with one meaning, each with its plain word."""
    found: dict[str, set[str]] = defaultdict(set)
    named = (words.COLOR_WORDS, words.SHAPE_WORDS, words.SIZE_WORDS, words.CHANGED_SIZES, words.BACKGROUND_WORDS)
    for table in named:
        for name, (known, _) in table.items():
            _collect(found, known, name)
    for table in (verbs.VERB_PHRASES, verbs.STATES):
        for kind, (phrases, _) in table.items():
            _collect(found, re.sub(r"\{\w+\}", " ", " ".join(phrases)), PLAIN_VERBS[kind])
    return {word: next(iter(meanings)) for word, meanings in found.items() if len(meanings) == 1}


def _collect(found: dict[str, set[str]], text: str, meaning: str) -> None:
    for word in re.findall(r"[a-z]+", text.lower()):
        if len(word) >= SHORTEST:
            found[word].add(meaning)
