"""The pairs that a LoRA is trained on: checking them, holding some out, and their order."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import RethinkError
from ..images import load_image
from ..pairs.review.duplicates import THINKING
from ..pairs.store import EditPair, PairStore
from ..progress import format_count

FEWEST = 2  # pairs
FEWEST_TO_HOLD_OUT = 6  # pairs: with fewer, none can be spared
LISTED = 12  # errors per message
OFF_ASPECT = 0.02  # the share by which a target's aspect ratio may differ from its input's
LESS_DETAIL = frozenset({"blur", "cover", "flat_background", "pixelate"})  # operations that leave less detail


@dataclass(frozen=True)
class LoraPair:
    """A pair of a store by its files. digest: of the bytes of all files and the instruction; source: the image it was made from;
    prompt: the prompt that made the target from the input, if a run has found one."""

    id: str
    input: Path
    target: Path
    instruction: str
    digest: str
    source: str
    references: tuple[Path, ...] = ()
    prompt: str = ""

    def images(self) -> tuple[Tensor, Tensor]:
        """(input, target), each an IMAGE [1, H, W, 3]. Raises RethinkError naming the file."""
        input, target = (load_image(path, "pairs") for path in (self.input, self.target))
        return input, target

    def load_references(self) -> tuple[Tensor, ...]:
        """Each an IMAGE [1, H, W, 3] of its own size. Raises RethinkError naming the file."""
        return tuple(load_image(path, "pairs") for path in self.references)


def check_references_of(store: PairStore, family: str, most: int) -> None:
    """Raise RethinkError naming the first pair with more references than a family of editors takes; only reads the manifest."""
    for pair in store.accepted():
        if (count := len(pair.references)) > most:
            takes = f"at most {most} besides the input" if most else "none"
            raise RethinkError(
                f"pairs: {pair.id} (“{pair.instruction[:60]}”) has {count} reference{'s' * (count > 1)}, but {family} takes {takes}; "
                "choose another editor, or reject such pairs."
            )


def read_pairs(store: PairStore) -> list[LoraPair]:
    """The accepted pairs of a store, in order. Raises RethinkError with one list of everything that is wrong, by file."""
    faults: list[str] = []
    found: list[LoraPair] = []
    with_less: list[bool] = []
    seen: dict[tuple[str, ...], str] = {}  # (input, target, instruction, *references) → the pair
    for pair in store.accepted():
        try:
            files = [store.file(path) for path in (pair.input, pair.target, *pair.references)]
            images = [store.read_image(path) for path in (pair.input, pair.target, *pair.references)][:2]
            digests = [hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest() for file in files]
        except (RethinkError, OSError) as error:
            faults.append(str(error))
            continue
        if fault := _fault_of(pair, files, images, digests):
            faults.append(f"pairs: {fault}")
            continue
        parts = [*digests[:2], pair.instruction, *digests[2:]]
        digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
        input, target, *references = files
        source = pair.source or digests[1]
        found.append(
            LoraPair(pair.id, input, target, pair.instruction, digest, source, tuple(references), _prompt_of(pair))
        )
        asked = " ".join(pair.instruction.split()).casefold(), *digests[2:]
        seen[(*digests[:2], *asked)] = pair.id
        if opposite := seen.get((digests[1], digests[0], *asked)):
            faults.append(
                f"pairs: {opposite} and {pair.id} are the same two images in opposite directions, with the same instruction; reject "
                "one of them, or give each an instruction that says what it does."
            )
        if _hides_detail(pair) and images[0].shape == images[1].shape:
            with_less.append(_target_has_less_detail(*images))
    if len(with_less) > 1 and sum(with_less) > len(with_less) / 2:
        faults.append(
            f"pairs: in {sum(with_less)} of {len(with_less)} pairs made by covering, blurring and the like, the target is the "
            "damaged image; input and target seem to be swapped."
        )
    if faults:
        more = [f"… and {len(faults) - LISTED} more"] if len(faults) > LISTED else []
        raise RethinkError("\n".join([*faults[:LISTED], *more]))
    if len(found) < FEWEST:
        raise RethinkError(
            f"pairs: {store.folder} has {format_count(len(found), 'accepted pair')}; a LoRA needs at least {FEWEST}."
        )
    return found


def _prompt_of(pair: EditPair) -> str:
    """The pair's prompt; "" if a turn edited the previous turn's image, since its prompt only says what was still missing."""
    known = pair.parameters
    whole = pair.operation == THINKING and (known.get("turn") == 1 or known.get("base") == "source")
    return str(known.get("prompt", "")).strip() if whole else ""


def _fault_of(pair: EditPair, files: Sequence[Path], images: Sequence[np.ndarray], digests: Sequence[str]) -> str:
    """What is wrong with a pair whose files can be read, "" if nothing. The lists have the input's first, then the target's."""
    if digests[0] == digests[1]:
        return f"{files[0]} and {files[1]}, input and target of {pair.id}, are the same image."
    if digests[1] in digests[2:]:
        return f"{files[digests.index(digests[1], 2)]}, a reference of {pair.id}, is its target, which would just be copied."
    if not _are_alike(images[0].shape, images[1].shape):
        sizes = [_size(image) for image in images]
        return f"{files[0]} is {sizes[0]} pixels, but its target {files[1]} is {sizes[1]}: a different aspect ratio."
    return "" if pair.instruction.strip() else f"{pair.id} has no instruction."


def as_large_as(input: Tensor, target: Tensor) -> Tensor:
    """A target, IMAGE [1, H, W, 3], at the size of its input. Raises RethinkError if their aspect ratios differ."""
    size, other = input.shape[1:], target.shape[1:]
    if size == other:
        return target
    if not _are_alike(size, other):
        raise RethinkError(
            f"its input has {size[1]} × {size[0]} pixels, but its target {other[1]} × {other[0]}: a different aspect ratio."
        )
    resized = nn.functional.interpolate(target.movedim(-1, 1), tuple(size[:2]), mode="bicubic", antialias=True)
    return resized.clamp(0, 1).movedim(1, -1)


def digest_of(pairs: Iterable[LoraPair]) -> str:
    """A digest that is the same for the same pairs, whatever their order."""
    return hashlib.blake2b("".join(sorted(pair.digest for pair in pairs)).encode(), digest_size=8).hexdigest()


def split_pairs(pairs: Sequence[LoraPair], share: float) -> tuple[list[LoraPair], list[LoraPair]]:
    """(pairs to train on, held-out pairs). About `share` of the pairs are held out, at least 2 if there are enough. Pairs of one
    image are never on both sides, unless all pairs are of one or two images. The choice and the order depend on the content alone,
    so that a store made again in another order leads to the same LoRA."""
    pairs = sorted(pairs, key=lambda pair: pair.digest)
    if share <= 0 or len(pairs) < FEWEST_TO_HOLD_OUT:
        return pairs, []
    by_source: dict[str, list[LoraPair]] = defaultdict(list)
    for pair in pairs:
        by_source[pair.source].append(pair)
    wanted, held_out = max(2, round(share * len(pairs))), set()
    for group in sorted(by_source.values(), key=lambda group: min(pair.digest for pair in group)):
        if len(held_out) < wanted and len(held_out) + len(group) <= len(pairs) // 2:
            held_out |= {pair.digest for pair in group}
    held_out = held_out or {pair.digest for pair in pairs[:wanted]}  # of the same image: better than none
    kept = [pair for pair in pairs if pair.digest not in held_out]
    return kept, [pair for pair in pairs if pair.digest in held_out]


class BatchOrder:
    """The endless order of examples in batches, which depends only on the seed and the batch number.

    sizes: one per example; the examples of a batch all have the same. Too few for a batch make a smaller one, and every example
    comes once per epoch.
    """

    def __init__(self, sizes: Sequence[Hashable], batch: int, seed: int):
        buckets: dict[Hashable, list[int]] = defaultdict(list)
        for index, size in enumerate(sizes):
            buckets[size].append(index)
        self._buckets, self._batch, self._seed = list(buckets.values()), batch, seed
        self._epoch = lru_cache(2)(self._draw_epoch)

    @cached_property
    def per_epoch(self) -> int:
        """The number of batches per epoch."""
        return sum(-(-len(bucket) // self._batch) for bucket in self._buckets)

    def batch(self, number: int) -> list[int]:
        """The indices of the examples in batch `number`."""
        epoch, place = divmod(number, self.per_epoch)
        return self._epoch(epoch)[place]

    def _draw_epoch(self, epoch: int) -> list[list[int]]:
        generator = generator_of("order", self._seed, epoch)
        batches = []
        for bucket in self._buckets:
            order = torch.randperm(len(bucket), generator=generator)
            parts = order.tensor_split(-(-len(bucket) // self._batch))
            batches += [[bucket[index] for index in part.tolist()] for part in parts]
        return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


def generator_of(*names: object) -> torch.Generator:
    """A CPU generator seeded by `names` alone."""
    digest = hashlib.blake2b(json.dumps(names).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


def _are_alike(size: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two sizes (height, width, …) have the same aspect ratio."""
    return abs(size[1] * other[0] / (size[0] * other[1]) - 1) <= OFF_ASPECT


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} × {image.shape[0]}"


def _hides_detail(pair: EditPair) -> bool:
    return pair.operation in LESS_DETAIL and pair.parameters.get("fill") != "noise"


def _target_has_less_detail(input: np.ndarray, target: np.ndarray) -> bool:
    """Whether the target varies less than the input from pixel to pixel where the two differ. Only inside those areas: something
    that covers a flat object has edges too, which say nothing."""
    differs = (input != target).any(-1)
    where = differs[1:, 1:] & differs[:-1, 1:] & differs[1:, :-1]
    detail = [_detail(image)[where].mean() for image in (input, target)] if where.any() else [0, 0]
    return bool(detail[1] < detail[0])


def _detail(image: np.ndarray) -> np.ndarray:
    gray = image.astype(np.float32).mean(-1)
    return abs(np.diff(gray, axis=0))[:, 1:] + abs(np.diff(gray, axis=1))[1:]
