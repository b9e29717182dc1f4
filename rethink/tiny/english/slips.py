"""How a request is typed: with or without capitals and punctuation, and with typos."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
VOWELS = "aeiou"


def _swap(rng: Random, word: str) -> str:
    at = rng.randrange(1, len(word) - 1)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _drop(rng: Random, word: str) -> str:
    at = rng.randrange(1, len(word))
    return word[:at] + word[at + 1 :]


def _double(rng: Random, word: str) -> str:
    at = rng.randrange(len(word))
    return word[:at] + word[at] + word[at:]


def _neighbor(rng: Random, word: str) -> str:
    at = rng.randrange(len(word))
    row = next((row for row in KEYS if word[at].lower() in row), word[at])
    column = row.find(word[at].lower())
    return (
        word[:at]
        + rng.choice(row[max(0, column - 1) : column + 2].replace(word[at].lower(), "") or "e")
        + word[at + 1 :]
    )


def _vowel(rng: Random, word: str) -> str:
    places = [at for at, letter in enumerate(word) if at and letter in VOWELS]
    if not places:
        return _double(rng, word)
    at = rng.choice(places)
    return word[:at] + rng.choice(VOWELS.replace(word[at], "")) + word[at + 1 :]


def _split(rng: Random, word: str) -> str:
    at = rng.randrange(2, len(word) - 1)
    return f"{word[:at]} {word[at:]}"


Slip = Callable[[Random, str], str]
SLIPS: tuple[tuple[Slip, ...], tuple[Slip, ...]] = ((_swap, _drop, _double, _neighbor), (_vowel, _split))


def misspell(rng: Random, text: str, slips: tuple[Slip, ...], times: int = 1, glue: float = 0.0) -> str:
    """The text with `times` words of at least four letters mistyped and, with chance `glue`, a missing space."""
    words = text.split(" ")
    long = [index for index, word in enumerate(words) if len(word) > 3 and word.isalpha()]
    for index in rng.sample(long, min(times, len(long))):
        words[index] = rng.choice(slips)(rng, words[index])
    if len(words) > 3 and rng.random() < glue:
        at = rng.randrange(1, len(words) - 1)
        words[at : at + 2] = [words[at] + words[at + 1]]
    return " ".join(words)


def retype(rng: Random, text: str) -> str:
    """The text in one of the ways people use capitals, apostrophes and punctuation."""
    draw = rng.random()
    if draw < 0.35:
        text = text.lower()
    elif draw < 0.65:
        text = re.sub(r"(^|[.!?] )(\w)", lambda found: found[1] + found[2].upper(), text)
    elif draw < 0.7:
        text = text.upper()
    elif draw < 0.72:
        text = text.title().replace("'S", "'s")
    if rng.random() < 0.1:
        text = text.replace("'", "")
    if rng.random() < 0.25:
        text = re.sub(r"[.,!?;](?= |$)", "", text)
    return text.strip()
