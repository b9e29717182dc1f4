"""Which pairs are as good as another one: targets and edits that look the same, found by their hashes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations, pairwise

from ..store import EditPair

FARTHEST = 3  # bits; see NearDuplicates
PARTS = [((1 << end) - 1) ^ ((1 << start) - 1) for start, end in pairwise((0, 12, 24, 36, 48, 64))]  # of a hash's bits
TWO_PARTS = [one | other for one, other in combinations(PARTS, 2)]


def hamming_distance(hash: str, other: str) -> int:
    """In how many bits two hashes differ, each 16 hexadecimal digits."""
    return (int(hash, 16) ^ int(other, 16)).bit_count()


class NearDuplicates:
    """Finds an earlier hash within `distance` bits, at most 3.

    With at most 3 bits apart, two of five parts are equal: only the hashes that share two parts are compared, which are
    few also where all have one part in common, as images on white paper do.
    """

    def __init__(self, distance: int):
        self.distance = min(distance, FARTHEST)
        self._by_parts: list[dict[int, list[tuple[str, str]]]] = [{} for _ in TWO_PARTS]

    def find(self, hash: str) -> str | None:
        """The id of an earlier item near `hash`, or None."""
        for alike, bits in zip(self._by_parts, TWO_PARTS):
            for other, id in alike.get(int(hash, 16) & bits, ()):
                if hamming_distance(hash, other) <= self.distance:
                    return id
        return None

    def add(self, hash: str, id: str) -> None:
        """Remember an item's id by its hash, 16 hexadecimal digits."""
        for alike, bits in zip(self._by_parts, TWO_PARTS):
            alike.setdefault(int(hash, 16) & bits, []).append((hash, id))


class DuplicateFinder:
    """Finds, among pairs that come one after another, those whose target another source has too, or that are as good as
    another pair of the same target, operation and instruction.

    Where few pixels changed, the hashes of the changes are nearly all alike: only pairs that agree in everything else are
    compared by them.
    """

    def __init__(self, distance: int):
        self.distance = distance
        self._near_targets = NearDuplicates(distance)
        self._targets: set[str] = set()
        self._edits: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)

    def reject_reasons(self, scores: Mapping, pair: EditPair) -> list[str]:
        """The reason to reject a pair; empty: none, and it is remembered."""
        if self.distance < 0:
            return []
        edits = self._edits[pair.target, pair.operation, pair.instruction]
        twin = None if pair.target in self._targets else self._near_targets.find(scores["hash_target"])
        near = (id for hash, id in edits if hamming_distance(hash, scores["hash_edit"]) <= self.distance)
        if twin := twin or next(near, None):
            return [f"nearly the same as another pair ({twin})"]
        if pair.target not in self._targets:
            self._targets.add(pair.target)
            self._near_targets.add(scores["hash_target"], pair.id)
        edits.append((scores["hash_edit"], pair.id))
        return []
