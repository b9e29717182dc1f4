"""Find pairs that are nearly equal to another one: targets and edits that look the same, by their hashes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations, pairwise

from ..store import EditPair

THINKING = "thinking"  # the operation of pairs from runs, whose target is an edit
MAX_DISTANCE = 3  # bits; see NearDuplicates
PARTS = [((1 << end) - 1) ^ ((1 << start) - 1) for start, end in pairwise((0, 12, 24, 36, 48, 64))]  # of a hash's bits
TWO_PARTS = [one | other for one, other in combinations(PARTS, 2)]


def hamming_distance(hash: str, other: str) -> int:
    """The number of bits in which two hashes differ, each 16 hexadecimal digits."""
    return (int(hash, 16) ^ int(other, 16)).bit_count()


class NearDuplicates:
    """Finds an earlier hash within `distance` bits, at most 3.

    If two hashes differ in at most 3 bits, two of five parts are equal, so only hashes that share two parts are
    compared. These are few even where all share one part, as images on a white background do.
    """

    def __init__(self, distance: int):
        self.distance = min(distance, MAX_DISTANCE)
        self._by_parts: list[dict[int, list[tuple[str, str]]]] = [{} for _ in TWO_PARTS]

    def find(self, hash: str) -> str | None:
        """The id of an earlier item near `hash`, or None."""
        for bucket, bits in zip(self._by_parts, TWO_PARTS):
            for other, id in bucket.get(int(hash, 16) & bits, ()):
                if hamming_distance(hash, other) <= self.distance:
                    return id
        return None

    def add(self, hash: str, id: str) -> None:
        """Remember an item's id by its hash of 16 hexadecimal digits."""
        for bucket, bits in zip(self._by_parts, TWO_PARTS):
            bucket.setdefault(int(hash, 16) & bits, []).append((hash, id))


class DuplicateFinder:
    """Finds, in a stream of pairs, those whose target nearly equals another source's, and those whose edit nearly equals
    that of another pair with the same target, operation and instruction.

    Where few pixels changed, nearly all hashes of edits are similar, so they are compared only for pairs that agree in
    everything else. For the same reason, targets that are edits are compared only where the instruction is the same.
    """

    def __init__(self, distance: int):
        self.distance = distance
        self._near_targets: dict[str, NearDuplicates] = defaultdict(lambda: NearDuplicates(distance))
        self._targets: set[str] = set()
        self._edits: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)

    def reject_reasons(self, scores: Mapping, pair: EditPair) -> list[str]:
        """The reason to reject a pair; empty where there is none, and the pair is remembered."""
        if self.distance < 0:
            return []
        edits = self._edits[pair.target, pair.operation, pair.instruction]
        targets = self._near_targets[pair.instruction if pair.operation == THINKING else ""]
        duplicate = None if pair.target in self._targets else targets.find(scores["hash_target"])
        near = (id for hash, id in edits if hamming_distance(hash, scores["hash_edit"]) <= self.distance)
        if duplicate := duplicate or next(near, None):
            return [f"nearly the same as another pair ({duplicate})"]
        if pair.target not in self._targets:
            self._targets.add(pair.target)
            targets.add(scores["hash_target"], pair.id)
        edits.append((scores["hash_edit"], pair.id))
        return []
