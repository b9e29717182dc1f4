"""Pairs on disk as training samples: stores, folders with `metadata.jsonl`, and batches (arXiv 2211.09800, section 3.2)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import RethinkError
from ..pairs.formats.imagefolder import REFERENCES
from ..pairs.store import MANIFEST, PairStore
from ..progress import format_count
from .lora_pairs import FEWEST, LoraPair, as_large_as, check_references_of, read_pairs
from .text_conditions import tokenize


class PairSamples(torch.utils.data.Dataset):
    """Pairs as squares of `resolution` pixels; for training, both images are cropped and flipped alike at random (section 3.2).

    A pair whose images are missing is replaced by the next one, and named in the sample's `skipped`.
    """

    def __init__(self, pairs: Sequence[LoraPair], resolution: int, at_random: bool = True):
        self.pairs, self.resolution, self.at_random = pairs, resolution, at_random

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict:
        skipped: list[str] = []
        for later in range(index, index + len(self.pairs)):
            pair = self.pairs[later % len(self.pairs)]
            try:
                images = pair.images()
            except RethinkError:
                skipped.append(pair.id)
                continue
            return {**self.sample(pair, images), "id": pair.id, "skipped": skipped}
        raise RethinkError("pairs: none of their images can be read anymore; check whether they were moved or deleted.")

    def sample(self, pair: LoraPair, opened: tuple[torch.Tensor, torch.Tensor]) -> dict:
        """The sample of a pair from its images, each an IMAGE [1, H, W, 3]."""
        try:
            images = [opened[0][0], as_large_as(*opened)[0]]
        except RethinkError as error:
            raise RethinkError(f"pairs: {pair.input} and {pair.target}: {error}") from error
        both = torch.stack(images).permute(0, 3, 1, 2)
        both = fill_square(both, self.resolution, self.at_random)
        if self.at_random and torch.rand(()) < 0.5:
            both = both.flip(-1)
        source, edited = both.permute(0, 2, 3, 1)
        return {"source": source, "edited": edited, "instruction": pair.instruction}


def read_pair_folder(folder: Path) -> list[LoraPair]:
    """The accepted pairs of a store, or those in `metadata.jsonl`, whose images are not opened yet since there may be many.

    Raises RethinkError for a folder that has neither, for pairs with references, which InstructPix2Pix does not take, and, for a
    store, with one list of everything that is wrong with its pairs.
    """
    if (folder / MANIFEST).is_file():
        store = PairStore.open_existing(folder)
        check_references_of(store, "InstructPix2Pix", 0)
        return read_pairs(store)
    return _listed_pairs(folder)


def _listed_pairs(folder: Path) -> list[LoraPair]:
    """A pair for every line in `metadata.jsonl`; its digest covers the line, not the files."""
    manifest = folder / "metadata.jsonl"
    if not manifest.is_file():
        raise RethinkError(
            f"{folder} is not a store of pairs and has no metadata.jsonl with an input and an edited image in each line."
        )
    lines = [line for line in manifest.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if len(lines) < FEWEST:
        raise RethinkError(
            f"pairs: {manifest} has {format_count(len(lines), 'pair')}; training needs at least {FEWEST}."
        )
    return [_listed_pair(folder, number, line) for number, line in enumerate(lines, 1)]


def _listed_pair(folder: Path, number: int, line: str) -> LoraPair:
    try:
        row = json.loads(line)
        input, target = (row[f"{name}_image_file_name"] for name in ("input", "edited"))
        instruction = row["edit_prompt"]
    except (ValueError, KeyError, TypeError) as error:
        raise RethinkError(
            f"pairs: line {number} of {folder / 'metadata.jsonl'} needs input_image_file_name, edited_image_file_name and "
            f"edit_prompt ({type(error).__name__}: {error})."
        ) from error
    if row.get(REFERENCES):
        raise RethinkError(
            f"pairs: line {number} of {folder / 'metadata.jsonl'} has references, but InstructPix2Pix takes none; leave such lines out."
        )
    digest = hashlib.blake2b(line.encode(), digest_size=16).hexdigest()
    return LoraPair(str(number), folder / input, folder / target, instruction, digest, input)


def fill_square(images: torch.Tensor, side: int, at_random: bool = True) -> torch.Tensor:
    """Scale [B, 3, H, W] to a short side of `side`, and crop a square, from the center or at random."""
    height, width = images.shape[-2:]
    scale = side / min(height, width)
    size = max(side, round(height * scale)), max(side, round(width * scale))
    images = nn.functional.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 1)
    room = size[0] - side, size[1] - side
    top, left = (int(torch.randint(0, free + 1, ())) if at_random else free // 2 for free in room)
    return images[..., top : top + side, left : left + side]


@dataclass(frozen=True, eq=False)
class PairCollator:
    """Stacks samples {"source", "edited", "instruction"} into batches for `InstructPix2PixLoss`, with the ids of the samples that
    have one and of those that were skipped, for a TrainWatch. Can be passed to the processes that read samples."""

    tokenizers: Sequence[Any]

    def __call__(self, samples: list[dict]) -> dict:
        images = {name: torch.stack([sample[name] for sample in samples]) for name in ("source", "edited")}
        ids = [sample["id"] for sample in samples if "id" in sample]
        skipped = [id for sample in samples for id in sample.get("skipped", ())]
        tokens = tokenize(self.tokenizers, [sample["instruction"] for sample in samples])
        return {**images, "tokens": tokens, "ids": ids, "skipped": skipped}
