"""Which seeds a store was worked on with. A run that was stopped goes on with its own seed alone; with another one all is
made anew, and what the first has made would lie beside it without a word."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

from .store import EditPair, PairStore


def record_seed(store: PairStore, recipe: str, seed: int) -> list[int]:
    """The other seeds that the same work was begun with in a store, which is held for writing; this one is noted.

    recipe: all that the pairs depend on but the seed.
    """
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    seeds = list(dict.fromkeys(record["seed"] for record in store.seeds if record["recipe"] == digest))
    if seed not in seeds:
        store.seeds.append({"recipe": digest, "seed": seed})
    return [other for other in seeds if other != seed]


def describe_stray_seeds(store: PairStore, seeds: Sequence[int], is_from: Callable[[EditPair, int], bool]) -> list[str]:
    """A line about every seed that has left pairs beside those of this run. is_from: whether a seed makes a pair."""
    if not seeds:
        return []
    counts = Counter(seed for pair in store for seed in seeds if is_from(pair, seed))
    return [
        f"{count} {'pair' if count == 1 else 'pairs'} of the same kind {'was' if count == 1 else 'were'} made with seed "
        f"{seed}; to go on with {'it' if count == 1 else 'them'}, give that seed."
        for seed, count in counts.items()
    ]
