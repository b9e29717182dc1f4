"""Record which seeds a store was filled with. A stopped run resumes only with its own seed. Another seed starts over,
and the user should be told that the pairs of the first one are still there."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

from .store import EditPair, PairStore


def record_seed(store: PairStore, recipe: str, seed: int) -> list[int]:
    """Record that work with this seed was started in a store, which is held for writing. Returns its other seeds.

    recipe: everything the pairs depend on except the seed.
    """
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    seeds = list(dict.fromkeys(record["seed"] for record in store.seeds if record["recipe"] == digest))
    if seed not in seeds:
        store.seeds.append({"recipe": digest, "seed": seed})
    return [other for other in seeds if other != seed]


def describe_stray_seeds(store: PairStore, seeds: Sequence[int], is_from: Callable[[EditPair, int], bool]) -> list[str]:
    """A line for every other seed that left pairs in the store. is_from: whether a pair was made with a seed."""
    if not seeds:
        return []
    counts = Counter(seed for pair in store for seed in seeds if is_from(pair, seed))
    return [
        f"{count} {'pair' if count == 1 else 'pairs'} of the same kind {'was' if count == 1 else 'were'} made with seed "
        f"{seed}; to continue with {'it' if count == 1 else 'them'}, use that seed."
        for seed, count in counts.items()
    ]
