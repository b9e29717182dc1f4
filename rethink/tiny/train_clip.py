"""Trains a small CLIPModel contrastively (Radford et al. 2021, arXiv 2103.00020, section 2.3).

A batch holds both images of every edit and both captions, so that it always has the hardest negatives: the same scene
with one thing changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..training.train_loop import TrainConfig, train_loop


class Contrast(nn.Module):
    """`forward(batch)`: the symmetric cross-entropy over a batch {"source", "edited", "tokens": [2·B, L], sources first}."""

    mean: torch.Tensor  # [3, 1, 1], as std: of the colors that CLIP is shown
    std: torch.Tensor

    def __init__(self, clip, render: Callable[[torch.Tensor], torch.Tensor], mean: list[float], std: list[float]):
        super().__init__()
        self.clip, self.render = clip, render
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, batch: dict) -> torch.Tensor:
        image = self.render(torch.cat([batch["source"], batch["edited"]])).permute(0, 3, 1, 2)
        tokens = batch["tokens"].flatten(0, 1)
        logits = self.clip(input_ids=tokens, pixel_values=(image - self.mean) / self.std).logits_per_text.float()
        match = torch.arange(len(logits), device=logits.device)
        return (nn.functional.cross_entropy(logits, match) + nn.functional.cross_entropy(logits.T, match)) / 2


@dataclass(frozen=True, eq=False)
class CaptionCollator:
    """Stacks samples {"source", "edited", "captions": (source's, edited's)}; tokens become [2, B, L]."""

    tokenizer: Any

    def __call__(self, samples: list[dict]) -> dict:
        words = [sample["captions"][side] for side in (0, 1) for sample in samples]
        length = self.tokenizer.model_max_length
        tokens = self.tokenizer(words, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        images = {name: torch.stack([sample[name] for sample in samples]) for name in ("source", "edited")}
        return {**images, "tokens": tokens.input_ids.unflatten(0, (2, -1))}


def train(model: Contrast, tokenizer, dataset, config: TrainConfig, out: Path, *, report=print) -> None:
    """Train the CLIP in `model` on a dataset of edits with captions."""
    train_loop(model, dataset, config, out, collate=CaptionCollator(tokenizer), report=report)
