"""Checking for swapped inputs and targets: a thinker looks at some pairs in both directions."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import RethinkError
from ..thinkers.critique import Thinker, critique
from .lora_pairs import LoraPair

LOOKED_AT = 4  # pairs, evenly spread
CLEARLY = 1.0  # how many of 10 points better the reverse direction must be


def check_sides(pairs: Sequence[LoraPair], thinker: Thinker) -> None:
    """Raise RethinkError if most of the checked pairs show their edit in the reverse direction."""
    looked = [pairs[place * len(pairs) // LOOKED_AT] for place in range(LOOKED_AT)] if len(pairs) > LOOKED_AT else pairs
    gains = [gain for pair in looked if (gain := _gain_of_swapping(pair, thinker)) is not None]
    swapped = sum(gain >= CLEARLY for gain in gains)
    if len(gains) > 1 and swapped > len(gains) / 2:
        raise RethinkError(
            f"pairs: in {swapped} of {len(gains)} pairs that {thinker.chat.name} looked at, “{looked[0].instruction}” leads from "
            "the target to the input; input and target seem to be swapped. Swap them back, or train without the thinker."
        )


def _gain_of_swapping(pair: LoraPair, thinker: Thinker) -> float | None:
    """How much better the instruction fits the way from target to input; None if the thinker gives no score."""
    input, target = pair.images()
    scores = []
    for source, edited in ((input, target), (target, input)):
        found = critique(thinker, source, [edited], pair.instruction, [pair.instruction], [0])[0]
        if found.semantic is None:
            return None
        scores.append(found.semantic)
    return scores[1] - scores[0]
