"""How images are noised for training, and what a denoiser should predict: diffusion by a noise schedule, or rectified flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the training timesteps, at which the held-out loss is measured
FEW_STEPS = 8  # an editor that takes no more steps only visits few timesteps
VISITED_SHARE = 0.5  # share of such an editor's samples that are trained at exactly the timesteps it visits


def diffusion_target(prediction: str, clean: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """What a model with the prediction type "epsilon", "sample" or "v_prediction" should predict. alpha: ᾱ, broadcastable."""
    if prediction == "epsilon":
        return noise
    return clean if prediction == "sample" else alpha.sqrt() * noise - (1 - alpha).sqrt() * clean


@dataclass(frozen=True, eq=False)
class DiffusionNoise:
    """x_t = √ᾱ_t x + √(1 − ᾱ_t) ε (DDPM, arXiv 2006.11239). Timesteps are integers from 0.

    alphas: ᾱ_t [T]. prediction: the prediction type. visited: the timesteps that a few-step editor visits; () for one that takes
    many steps.
    """

    alphas: Tensor
    prediction: str
    visited: tuple[int, ...] = ()
    middle: bool = False  # logit-normal timesteps

    @classmethod
    def of(cls, scheduler: Any, visited: Sequence[int] = ()) -> DiffusionNoise:
        """The noise of a diffusers scheduler."""
        few = tuple(visited) if len(visited) <= FEW_STEPS else ()
        return cls(scheduler.alphas_cumprod.float().cpu(), scheduler.config.prediction_type, few)

    def draw_times(self, count: int, generator: torch.Generator, tokens: int) -> Tensor:
        """Timesteps [count] to train at: uniform, except for the share at those that are visited."""
        if self.middle:
            return (torch.randn(count, generator=generator).sigmoid() * len(self.alphas)).long()
        times = torch.randint(0, len(self.alphas), (count,), generator=generator)
        if not self.visited:
            return times
        chosen = torch.randint(0, len(self.visited), (count,), generator=generator)
        visits = torch.rand(count, generator=generator) < VISITED_SHARE
        return torch.where(visits, torch.tensor(self.visited)[chosen], times)

    def fixed_times(self, tokens: int) -> Tensor:
        """The timesteps at which the held-out loss is measured."""
        last = len(self.alphas) - 1
        return torch.tensor(self.visited or [round(q * last) for q in QUANTILES])

    def add_noise(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Latents [B, …] as they are at times [B]."""
        alpha = self._alpha(clean, times)
        return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise

    def target(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """What the model should predict."""
        return diffusion_target(self.prediction, clean, noise, self._alpha(clean, times))

    def _alpha(self, like: Tensor, times: Tensor) -> Tensor:
        return self.alphas[times.cpu()].to(like.device).view(-1, *(1,) * (like.ndim - 1))


@dataclass(frozen=True)
class FlowNoise:
    """x_t = (1 − t) x + t ε, and the model predicts ε − x (rectified flow, arXiv 2209.03003). Timesteps are 0…1.

    They are logit-normal (arXiv 2403.03206, section 3.1), shifted further toward noise the more tokens an image has: μ is on the
    line through (256, low) and (most, high). places: latent positions per token. shift: instead, a fixed factor on t / (1 − t);
    0: none. uniform: t is uniform before the shift.
    """

    low: float = 0.5
    most: int = 4096
    high: float = 1.15
    places: int = 1
    shift: float = 0.0
    uniform: bool = False

    def draw_times(self, count: int, generator: torch.Generator, tokens: int) -> Tensor:
        """Timesteps [count] to train at."""
        if self.uniform:
            drawn = torch.rand(count, generator=generator).logit(1e-6)
        else:
            drawn = torch.randn(count, generator=generator)
        return torch.sigmoid(drawn + self._mean(tokens))

    def fixed_times(self, tokens: int) -> Tensor:
        """The timesteps at which the held-out loss is measured: quantiles of the training timesteps."""
        quantiles = torch.tensor(QUANTILES, dtype=torch.float64)
        drawn = quantiles.logit() if self.uniform else torch.special.ndtri(quantiles)
        return torch.sigmoid(drawn.float() + self._mean(tokens))

    def add_noise(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Latents [B, …] as they are at times [B]."""
        times = times.to(clean).view(-1, *(1,) * (clean.ndim - 1))
        return (1 - times) * clean + times * noise

    def target(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """What the model should predict: the velocity."""
        return noise - clean

    def _mean(self, tokens: int) -> float:
        if self.shift or self.uniform:
            return math.log(self.shift or 1.0)
        return self.low + (self.high - self.low) * (tokens / self.places - 256) / (self.most - 256)


Noise = DiffusionNoise | FlowNoise


def choose_times(noise: Noise, timesteps: str, shift: float) -> Noise:
    """The noise with other timesteps to train at. timesteps: "family", "uniform" or "logit-normal"; shift: for flows, 0: its own."""
    if isinstance(noise, FlowNoise):
        uniform = noise.uniform if timesteps == "family" else timesteps == "uniform"
        return replace(noise, uniform=uniform, shift=shift or noise.shift)
    if timesteps == "family":
        return noise
    return replace(noise, visited=(), middle=timesteps == "logit-normal")
