"""Requests without any construction: what an edit is about, in any order, with any words in between.

What is meant follows from what is named and from the image. Who learns from these too leans less on constructions that were met.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .forms import ACTS, CHATTER, CLOSERS, OPENERS, STATE_ACTS

if TYPE_CHECKING:
    from .grammar import Grammar

# What must be named for each kind of edit; one of them is drawn.
PARTS = {
    "recolor": ("{x}|{color}", "{x}|{color}", "{bare}|{color}"),
    "reshape": ("{x}|{shape}", "{x}|{shape}", "{bare}|{shape}", "{ax}|{shape}"),
    "bigger": ("{x}|{size}", "{bare}|{size}"),
    "smaller": ("{x}|{size}", "{bare}|{size}"),
    "move": ("{x}|{corner}", "{x}|{where}", "{ax}|{corner}", "{bare}|{place}"),
    "add": ("{new}{at}", "{new}{at}", "{newthere}{at}"),
    "remove": ("{x}", "{x}", "{ax}", "{bare}"),
    "background": ("{bg}|{background}", "{abg}", "{background}|{bg}"),
    "cover": ("{x}|{black}", "{x}|{bareblack}", "{black}|{ax}"),
    "uncover": ("{blacksq}|{new}", "{blacksq}|{thenew}", "{bareblack}|{new}"),
}
STOPS = ("", "", "", "", "", ",", ",", ".", ":", "?", "!", ";", " -", "...")
FEWEST, MOST = 0, 6  # words between two parts

# Words that say nothing of what is to be done.
_EVERYDAY = (
    "I you he she we they me him her us them my your his our their mine yours this that these those who what which when where why how"
    " whose here there now then today yesterday tomorrow tonight soon always never ever once again already still yet just only even"
    " also too very quite rather really almost about maybe perhaps surely certainly clearly somehow anyway though although because"
    " since until while if unless whether as than like so such both either each every some any many much few more less most"
    " all another other same own of in on at by for from with within to into onto over under through across around between among"
    " against along after before during be is are was were been being am do does did done doing have has had having will would shall"
    " should can could may might must ought need dare used going get gets got getting go goes went gone come comes came see sees saw"
    " seen look looks looked think thinks thought know knows knew known feel feels felt hope hopes hoped wish wishes wished believe"
    " guess suppose expect imagine pretend dream wonder say says said tell tells told ask asks asked talk speak call call it read write"
    " hear heard listen wait waiting try tries tried begin begins start end ends finish mean means meant happen happens matter matters"
    " seem seems become becomes turn out find finds found show shows give gives gave given take takes took taken let lets allow order"
    " ordered prefer prefers love loves like likes want wants wanted deserve deserves belong belongs fit fits suit suits please thank"
    " thanks sorry fine good better best right wrong nice perfect true sure happy glad ready able free easy hard new old first last"
    " next long short time times day week year morning evening moment minute hour world life people person man woman child kid friend"
    " boss client mother father brother sister team house work job thing idea reason way point fact case problem question answer"
    " word story plan deal rule law name part kind sort lot bit one two three nobody everybody somebody anybody nothing everything"
    " something anything picture image photo drawing eye eyes mind memory hand hands near away together apart well badly quickly"
    " slowly exactly simply finally honestly frankly obviously suddenly actually instead of it it's that's there's I'd I've I'm you'd"
    " you're we'd we're they'd who's what's let's doesn't isn't"
)
EVERYDAY = _EVERYDAY.split()


def say_loosely(grammar: Grammar) -> str:
    """A sentence in which the parts stand anyhow, in the words of a `Writer`. Raises UnfitError where a part has no name."""
    parts = [grammar.grow(part) for part in grammar.choose(PARTS[grammar.edit.verbs]).split("|")]
    grammar.rng.shuffle(parts)
    pieces = [_chatter(grammar)]
    for part in parts:
        pieces += [part, _chatter(grammar)]
    return " ".join(filter(None, pieces))


def _chatter(grammar: Grammar) -> str:
    """Words that belong nowhere: everyday ones, or a run of those that people say."""
    rng, count = grammar.rng, grammar.rng.randint(FEWEST, MOST)
    if rng.random() < 0.4:
        said = grammar.choose(_SAID).split()
        begin = rng.randrange(len(said))
        text = " ".join(said[begin : begin + count])
    else:
        text = " ".join(grammar.choose(EVERYDAY) if rng.random() < 0.93 else grammar.invent() for _ in range(count))
    return text + grammar.choose(STOPS) if text else ""


def _sayings() -> tuple[str, ...]:
    lines = [*ACTS[0], *STATE_ACTS[0], *OPENERS[0].split("|"), *CLOSERS[0].split("|"), *CHATTER[0].split("|")]
    texts = [re.sub(r"[{<]\w+[}>]|\[|\]", " ", line).replace("|", " ") for line in lines if "another" not in line]
    return tuple(text for text in texts if text.split())


_SAID = _sayings()
