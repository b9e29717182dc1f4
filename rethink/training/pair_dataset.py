"""Pairs on disk as training samples: stores, folders with `metadata.jsonl`, and batches of them (arXiv 2211.09800, section 3.2)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ..errors import RethinkError
from ..images import load_image
from ..pairs.store import MANIFEST, PairStore
from .lora_pairs import read_pairs


class PairFolder(torch.utils.data.Dataset):
    """Pairs of a folder, cropped and flipped alike in both images (section 3.2): the accepted ones of a store of pairs, or those
    of `metadata.jsonl`."""

    def __init__(self, folder: Path, resolution: int):
        self.resolution = resolution
        if (folder / MANIFEST).is_file():
            pairs = read_pairs(PairStore.open_existing(folder))
            self.rows = [(pair.input, pair.target, pair.instruction) for pair in pairs]
        else:
            self.rows = _listed_pairs(folder)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        input, target, instruction = self.rows[index]
        images = [load_image(path)[0] for path in (input, target)]
        if images[0].shape != images[1].shape:
            raise RethinkError(f"Pair {index + 1}: {input} and {target} differ in size.")
        both = torch.stack(images).permute(0, 3, 1, 2)
        both = fill_square(both, self.resolution)
        if torch.rand(()) < 0.5:
            both = both.flip(-1)
        source, edited = both.permute(0, 2, 3, 1)
        return {"source": source, "edited": edited, "instruction": instruction}


def _listed_pairs(folder: Path) -> list[tuple[Path, Path, str]]:
    """(input, edited image, instruction) of every line of `metadata.jsonl`."""
    manifest = folder / "metadata.jsonl"
    if not manifest.is_file():
        raise RethinkError(
            f"{folder} is no store of pairs and has no metadata.jsonl; each of its lines names an input and an edited image."
        )
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = [tuple(row[f"{name}_image_file_name"] for name in ("input", "edited")) for row in rows]
    return [(folder / input, folder / edited, row["edit_prompt"]) for (input, edited), row in zip(names, rows)]


def fill_square(images: torch.Tensor, side: int) -> torch.Tensor:
    """[B, 3, H, W] scaled so that the short side is `side`, and one random square of it."""
    height, width = images.shape[-2:]
    scale = side / min(height, width)
    size = max(side, round(height * scale)), max(side, round(width * scale))
    images = nn.functional.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 1)
    top = int(torch.randint(0, size[0] - side + 1, ()))
    left = int(torch.randint(0, size[1] - side + 1, ()))
    return images[..., top : top + side, left : left + side]


def make_collate_fn(tokenizer) -> Callable[[list[dict]], dict]:
    """Stacks samples {"source", "edited", "instruction"} into what `InstructPix2PixLoss` takes."""

    def collate(samples: list[dict]) -> dict:
        words = [sample["instruction"] for sample in samples]
        tokens = tokenizer(
            words, padding="max_length", truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt"
        )
        images = {name: torch.stack([sample[name] for sample in samples]) for name in ("source", "edited")}
        return {**images, "tokens": tokens.input_ids}

    return collate
