"""Trains a small AutoencoderTiny by plain regression: flat drawings need no prior on the latents and no adversarial
loss."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ..training.train_loop import TrainConfig, train_loop


class Reconstruction(nn.Module):
    """`forward(batch)`: the distance of decoded images from a batch {"image"}."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, batch: dict) -> torch.Tensor:
        image = batch["image"].permute(0, 3, 1, 2) * 2 - 1
        return distance(self.vae.decode(self.vae.encode(image).latents).sample, image)


def distance(decoded: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """The distance between images [B, 3, H, W] in -1…1; edges and small things weigh more."""
    error = decoded.float() - image
    weight = 1 + 4 * detail(image)
    return (weight * (error.square() + 0.1 * error.abs())).mean()


def detail(image: torch.Tensor) -> torch.Tensor:
    """Where an image [B, 3, H, W] is not smooth: [B, 1, H, W] of 0 and 1, three pixels around every edge."""
    down = (image[:, :, 1:] - image[:, :, :-1]).abs().amax(1, keepdim=True)
    edge = nn.functional.pad((down > 0.06).float(), (0, 0, 1, 0))
    return nn.functional.max_pool2d(edge, 7, 1, 3)


def train(vae, dataset, plan: TrainConfig, out: Path, *, report=print) -> None:
    """Train `vae` on a dataset of {"image"}, and set its scaling factor so that latents have unit variance."""
    train_loop(Reconstruction(vae), dataset, plan, out, report=report)
    loader = torch.utils.data.DataLoader(dataset, 256)
    with torch.no_grad():
        image = next(iter(loader))["image"].to(vae.device).permute(0, 3, 1, 2) * 2 - 1
        vae.register_to_config(scaling_factor=round(1 / vae.encode(image).latents.std().item(), 4))
