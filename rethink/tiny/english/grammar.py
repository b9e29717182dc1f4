"""Grows sentences from rules: rules have alternatives to choose from, and slots that others fill."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from ..scene import Scene, SceneObject

PLAIN_WORD = 0.4  # chance that a thing has its plain name
PHRASE = 0.12  # chance of a phrase ("the color of a carrot") where one may stand
_LONG = re.compile(r"\b(color of|like|as|between|warm|darkest|dark navy)\b")
STARTS = ("gl", "br", "sn", "fl", "tr", "z", "m", "v", "qu", "sp", "w", "k", "d", "pl")
MIDDLES = ("oo", "i", "a", "e", "u", "or")
ENDINGS = ("rp", "mf", "nk", "zz", "ggle", "bble", "x", "st", "lk", "ft", "rt", "ngle", "pify", "ndle", "sh")


class UnfitError(LookupError):
    """A rule does not fit this sentence."""


@dataclass(frozen=True)
class Edit:
    """What to ask for. kind: one of `tasks.KINDS`. accepted: the accepted scenes. rule: of a task that has to be worked
    out from the image, else ""; named: its {a} and {b} in plain words, things or a color."""

    kind: str
    source: Scene
    accepted: tuple[Scene, ...]
    rule: str = ""
    named: dict[str, str] = field(default_factory=dict)

    @property
    def old(self) -> SceneObject | None:
        """The changing thing as it is now."""
        return next((t for t in self.source.things if t not in self.accepted[0].things), None)

    @property
    def new(self) -> SceneObject | None:
        """The changing thing as it will be."""
        return next((t for t in self.accepted[0].things if t not in self.source.things), None)

    @property
    def verbs(self) -> str:
        """The kind, and for a change of size its direction."""
        old, new = self.old, self.new
        if self.kind == "resize" and old and new:
            return "bigger" if new.size > old.size else "smaller"
        return self.kind


@dataclass
class Grammar:
    """Grows text from rules; a method `say_…` fills the slot of that name. held_out: kinds of rules ("forms", "verbs",
    "names") of which held-out ones are taken; used_held_out: whether one was."""

    rng: Random
    edit: Edit
    held_out: frozenset[str]
    used_held_out: bool = False
    by_pronoun: bool = False  # whether the thing was named already

    def choose(self, options: Sequence[str]) -> str:
        return self.rng.choice(options)

    def pick(self, table: tuple[Sequence[str], Sequence[str]], rules: str) -> str:
        """An entry of a table (known, held out)."""
        if rules in self.held_out and table[1]:
            self.used_held_out = True
            return self.choose(table[1])
        return self.choose(table[0])

    def grow(self, text: str) -> str:
        while "[" in text:
            text = re.sub(r"\[([^\[\]]*)\]", lambda found: self.choose(found[1].split("|")), text)
        return re.sub(r"[{<](\w+)[}>]", lambda found: self.fill(found[1]), text)

    def fill(self, slot: str) -> str:
        return getattr(self, f"say_{slot}")()

    def invent(self) -> str:
        """A word that does not exist."""
        return "".join(self.rng.choice(part) for part in (STARTS, MIDDLES, ENDINGS))

    def word(self, table: tuple[str, str], phrases: bool = False) -> str:
        """A known word for it, mostly the plain one. phrases: whether "the color of a carrot" is allowed."""
        known = table[0].split("|")
        if self.rng.random() < PLAIN_WORD:
            return known[0]
        short = [text for text in known if not _LONG.search(text)]
        long = [text for text in known if text not in short]
        return self.choose(long if phrases and long and self.rng.random() < PHRASE else short)

    def unmet(self, table: tuple[str, str]) -> str:
        """A held-out word for it."""
        self.used_held_out = True
        return self.choose(table[1].split("|"))
