"""How images are noised for training, and what a denoiser is to answer: diffusion by a scheduler's table, or rectified flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the times trained at, at which the held-out loss is measured
FEW_STEPS = 8  # an editor that takes no more visits few times only
VISITED_SHARE = 0.5  # of the samples of such an editor that are trained at the very times it visits


def diffusion_target(prediction: str, clean: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """What a model of the prediction type "epsilon", "sample" or "v_prediction" is to say. alpha: ᾱ, as it broadcasts."""
    if prediction == "epsilon":
        return noise
    return clean if prediction == "sample" else alpha.sqrt() * noise - (1 - alpha).sqrt() * clean


@dataclass(frozen=True, eq=False)
class DiffusionNoise:
    """x_t = √ᾱ_t x + √(1 − ᾱ_t) ε (DDPM, arXiv 2006.11239). Times are whole numbers from 0.

    alphas: ᾱ_t [T]. prediction: what the model predicts. visited: the times that an editor of few steps visits; () where
    it takes many.
    """

    alphas: Tensor
    prediction: str
    visited: tuple[int, ...] = ()
    middle: bool = False  # logit-normal times

    @classmethod
    def of(cls, scheduler: Any, visited: Sequence[int] = ()) -> DiffusionNoise:
        """That of a diffusers scheduler."""
        few = tuple(visited) if len(visited) <= FEW_STEPS else ()
        return cls(scheduler.alphas_cumprod.float().cpu(), scheduler.config.prediction_type, few)

    def draw_times(self, count: int, generator: torch.Generator, tokens: int) -> Tensor:
        """Times [count] to train at: uniform, but for the share of those that are visited."""
        if self.middle:
            return (torch.randn(count, generator=generator).sigmoid() * len(self.alphas)).long()
        times = torch.randint(0, len(self.alphas), (count,), generator=generator)
        if not self.visited:
            return times
        chosen = torch.randint(0, len(self.visited), (count,), generator=generator)
        visits = torch.rand(count, generator=generator) < VISITED_SHARE
        return torch.where(visits, torch.tensor(self.visited)[chosen], times)

    def fixed_times(self, tokens: int) -> Tensor:
        """The times at which the held-out loss is measured."""
        last = len(self.alphas) - 1
        return torch.tensor(self.visited or [round(q * last) for q in QUANTILES])

    def add_noise(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Latents [B, …] as they are at times [B]."""
        alpha = self._alpha(clean, times)
        return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise

    def target(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """What the model is to say."""
        return diffusion_target(self.prediction, clean, noise, self._alpha(clean, times))

    def _alpha(self, like: Tensor, times: Tensor) -> Tensor:
        return self.alphas[times.cpu()].to(like.device).view(-1, *(1,) * (like.ndim - 1))


@dataclass(frozen=True)
class FlowNoise:
    """x_t = (1 − t) x + t ε, and the model says ε − x (rectified flow, arXiv 2209.03003). Times are 0…1.

    They are logit-normal (arXiv 2403.03206, section 3.1), shifted towards noise the more tokens an image has: μ lies on the
    line through (256, low) and (most, high). places: of the latents, that make up one token. shift: the factor
    t / (1 − t) grows by instead, 0: none. uniform: t is uniform before it is shifted.
    """

    low: float = 0.5
    most: int = 4096
    high: float = 1.15
    places: int = 1
    shift: float = 0.0
    uniform: bool = False

    def draw_times(self, count: int, generator: torch.Generator, tokens: int) -> Tensor:
        """Times [count] to train at."""
        if self.uniform:
            drawn = torch.rand(count, generator=generator).logit(1e-6)
        else:
            drawn = torch.randn(count, generator=generator)
        return torch.sigmoid(drawn + self._mean(tokens))

    def fixed_times(self, tokens: int) -> Tensor:
        """The times at which the held-out loss is measured: quantiles of those trained at."""
        quantiles = torch.tensor(QUANTILES, dtype=torch.float64)
        drawn = quantiles.logit() if self.uniform else torch.special.ndtri(quantiles)
        return torch.sigmoid(drawn.float() + self._mean(tokens))

    def add_noise(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Latents [B, …] as they are at times [B]."""
        times = times.to(clean).view(-1, *(1,) * (clean.ndim - 1))
        return (1 - times) * clean + times * noise

    def target(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """What the model is to say: the velocity."""
        return noise - clean

    def _mean(self, tokens: int) -> float:
        if self.shift or self.uniform:
            return math.log(self.shift or 1.0)
        return self.low + (self.high - self.low) * (tokens / self.places - 256) / (self.most - 256)


Noise = DiffusionNoise | FlowNoise


def choose_times(noise: Noise, timesteps: str, shift: float) -> Noise:
    """The noise with other times to train at. timesteps: "family", "uniform" or "logit-normal"; shift: of a flow, 0: its own."""
    if isinstance(noise, FlowNoise):
        uniform = noise.uniform if timesteps == "family" else timesteps == "uniform"
        return replace(noise, uniform=uniform, shift=shift or noise.shift)
    if timesteps == "family":
        return noise
    return replace(noise, visited=(), middle=timesteps == "logit-normal")
