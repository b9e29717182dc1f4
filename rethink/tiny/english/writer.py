"""Sentences: a speech act around a verb phrase or a wanted state, or one of its own; then what people say around it, and
how they type."""

from __future__ import annotations

import re
from random import Random

from .forms import ACTS, CHATTER, CLOSERS, OPENERS, SENTENCES, STATE_ACTS
from .grammar import Edit, UnfitError
from .loose import say_loosely
from .names import Names
from .reasoning import REASONING_PHRASES
from .slips import SLIPS, misspell, retype
from .verbs import STATES, VERB_PHRASES

GROUPS = ("forms", "words", "mixed")
LOOSE = 0.15  # chance of a sentence in no construction


def write_request(rng: Random, edit: Edit, group: str = "") -> str:
    """One way to ask for the edit. group: "" for training, else one of `GROUPS`."""
    while True:
        writer = Writer(rng, edit, _held_out(rng, group, edit))
        try:
            text = writer.sentence()
        except UnfitError:
            continue
        if bool(group) == writer.used_held_out:
            return _type(rng, writer.surround(_tidy(text), wordy=group == "mixed"), group)


def _held_out(rng: Random, group: str, edit: Edit) -> frozenset[str]:
    """The kinds of rules to take held-out ones from."""
    if not group:
        return frozenset()
    if group == "forms":
        return frozenset({"forms"})
    if group == "mixed" or rng.random() < 0.6 or edit.rule:
        return frozenset({"verbs"})
    return frozenset({"names"})


def _type(rng: Random, text: str, group: str) -> str:
    chance = {"": 0.35, "mixed": 0.6}.get(group, 0.0)
    if rng.random() < chance:
        slips = SLIPS[1] if group and rng.random() < 0.5 else SLIPS[0]
        text = misspell(rng, text, slips, rng.choice((1, 1, 1, 2)), glue=0.15)
    return retype(rng, text)


class Writer(Names):
    """Grows one sentence."""

    def sentence(self) -> str:
        edit, draw = self.edit, self.rng.random()
        if not (self.held_out or edit.rule) and self.rng.random() < LOOSE:
            return say_loosely(self)
        wanted = "verbs" in self.held_out
        if edit.rule or draw < (0.7 if wanted else 0.42):
            return self.grow(self.pick(ACTS, "forms"))
        if draw < (1 if wanted else 0.62):
            return self.grow(self.pick(STATE_ACTS, "forms"))
        return self.grow(self.pick(SENTENCES[edit.verbs], "forms"))

    def surround(self, text: str, wordy: bool) -> str:
        """The sentence with what people say before and after it."""
        often = 0.45 if wordy or self.rng.random() < 0.2 else 0.14
        unmet = wordy and self.rng.random() < 0.5  # whether by phrases that are held out
        if self.rng.random() < often:
            text = f"{self.choose(OPENERS[unmet].split('|'))} {text}"
        if self.rng.random() < often:
            text = text.rstrip(".!") + self.choose(CLOSERS[unmet].split("|")) if not text.endswith("?") else text
        if self.rng.random() < often / 2:
            chat = self.choose(CHATTER[unmet].split("|"))
            first = self.rng.random() < 0.5
            stop = self.rng.choice((". ", ", so ")) if first else self.rng.choice((". ", ", "))
            text = f"{chat}{stop}{text}" if first else f"{text.rstrip('.!?')}{stop}{chat}"
        return _tidy(text)

    def say_vp(self) -> str:
        table = REASONING_PHRASES[self.edit.rule] if self.edit.rule else VERB_PHRASES[self.edit.verbs]
        return self.grow(self.pick(table, "verbs"))

    def say_ving(self) -> str:
        first, *rest = self.say_vp().split(" ")
        return " ".join([gerund(first), *rest])

    def say_it(self) -> str:
        self.by_pronoun = True
        text = re.sub(r"\b(up|down|out|away|off) it\b", r"it \1", self.say_vp())
        return re.sub(r"\bit's (?=color|place)", "its ", text)

    def say_be(self) -> str:
        return self.grow(self.pick(STATES[self.edit.verbs], "verbs"))

    def say_verb(self) -> str:
        return self.invent()

    def say_subject(self) -> str:
        kind = self.edit.kind
        if self.edit.rule:
            raise UnfitError
        return {"background": self.say_bg, "add": self.say_new, "uncover": self.say_thenew}.get(kind, self.say_x)()

    def say_present(self) -> str:
        if self.edit.kind in ("add", "uncover"):
            raise UnfitError
        return self.say_subject()


def gerund(verb: str) -> str:
    """paint → painting, make → making, put → putting."""
    if re.fullmatch(r"[^aeiou]*[aeiou][bdgmnprt]", verb):
        return f"{verb}{verb[-1]}ing"
    if verb.endswith("e") and not verb.endswith(("ee", "ye", "be")):
        return f"{verb[:-1]}ing"
    return f"{verb}ing"


def _tidy(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip(" ,;-")
    text = re.sub(r" (?=[,.!?;:](?: |$))", "", text)
    text = re.sub(r"\ba (?=[aeiou])(?!one\b|eu|uni)", "an ", text, flags=re.IGNORECASE)
    text = re.sub(r"\ban (?=new\b)", "a ", text)
    return re.sub(r"([.,!?])[.,]+(?= |$)", r"\1", text)
