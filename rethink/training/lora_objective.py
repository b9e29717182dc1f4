"""The objective of LoRA training: the denoiser's predictions for noisy targets, and for other edits its original predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .edit_model import EditModel
from .example import TEXT, Example, changed_places, join_examples
from .lora_examples import LoraExamples
from .lora_families import TEXT_PART
from .lora_pairs import generator_of
from .text_learning import Reading, by_prompts
from .trainable_lora import TrainableLora

READING = 2.0  # the loss weight of how a text is read, if a text encoder learns


class LoraObjective:
    """The losses of a LoRA over a model. Computing one requires the LoRA to be attached and the editor's pipeline to be open.

    change_weight: weight of positions that the edit changes, against 1 elsewhere. hold_outside: weight of how far the predictions
    elsewhere are from those without the LoRA.
    """

    def __init__(self, model: EditModel, lora: TrainableLora, change_weight: float = 1.0, hold_outside: float = 0.0):
        self._model, self._lora = model, lora
        self._change_weight, self._hold_outside = change_weight, hold_outside
        self._reading = Reading(model.denoiser)
        self._text_alone = all(name.startswith(TEXT_PART) for name in lora.names)

    def loss(self, batch: Example, generator: torch.Generator) -> Tensor:
        """The mean squared error of the denoiser's predictions, in float32. If a text encoder learns, the loss includes how it reads
        the instructions; it is that alone if nothing else learns and the prompts that made the targets are known."""
        noisy, times, epsilon = self._add_noise(batch, generator)
        seen = self._model.drop_conditions(batch, generator)
        misread: Tensor | float = 0.0
        if self._model.text:
            inputs, known = by_prompts(seen.inputs)
            misread = self._misread(noisy, times, seen, inputs, known)
            if self._text_alone and known.all():
                return misread
        answer = self._model.predict(noisy, times, seen)
        error = (answer - self._model.noise.target(batch.target, epsilon, times)).square()
        if self._change_weight == 1 and not self._hold_outside:
            return error.mean() + READING * misread
        changed = changed_places(batch)
        loss = (error * (1 + (self._change_weight - 1) * changed)).mean()
        if self._hold_outside:
            outside = (answer - self._base(noisy, times, seen)).square() * (1 - changed)
            loss = loss + self._hold_outside * outside.mean()
        return loss + READING * misread

    def drift(self, batch: Example, generator: torch.Generator) -> Tensor:
        """The mean squared distance of the denoiser's predictions from those without the LoRA; if a text encoder learns, also the
        distance in how it reads the text.

        Predictions without text or source are held too, since guidance multiplies the difference from them.
        """
        noisy, times, _ = self._add_noise(batch, generator)
        seen = self._model.drop_conditions(batch, generator)
        misread: Tensor | float = 0.0
        if self._model.text:
            everywhere = torch.ones(len(noisy), dtype=torch.bool, device=noisy.device)
            misread = self._misread(noisy, times, seen, seen.inputs, everywhere)
            if self._text_alone:
                return misread
        error = (self._model.predict(noisy, times, seen) - self._base(noisy, times, seen)).square().mean()
        return error + READING * misread

    def _misread(self, noisy: Tensor, times: Tensor, seen: Example, inputs: dict[str, Any], rows: Tensor) -> Tensor:
        """How far the denoiser's reading of the text is from its reading of other inputs without the LoRA."""
        with self._reading.recorded():
            self._base(noisy, times, replace(seen, inputs=inputs))
        return self._reading.distance(self._model.encoded(seen.inputs, noisy)[TEXT], rows)

    @torch.no_grad()
    def held_out_losses(self, examples: LoraExamples, batch: int) -> list[float]:
        """The losses of the held-out pairs, always at the same timesteps with the same noise; `batch` are computed at once."""
        losses = []
        for pair, key in zip(examples.held_out, examples.held_out_keys):
            losses += self._fixed_losses(examples.load([key]), generator_of("held out", pair.digest), batch)
        return losses

    def _fixed_losses(self, one: Example, generator: torch.Generator, batch: int) -> list[float]:
        noise, losses = self._model.noise, []
        times = noise.fixed_times(one.tokens)
        epsilon = torch.randn((len(times), *one.target.shape[1:]), generator=generator).to(one.target.device)
        for index in range(0, len(times), batch):
            part = slice(index, index + batch)
            rows = join_examples([one] * len(times[part]))
            noisy = noise.add_noise(rows.target, epsilon[part], times[part])
            answer = self._model.predict(noisy, times[part], rows)
            target = noise.target(rows.target, epsilon[part], times[part])
            losses += (answer - target).square().flatten(1).mean(1).tolist()
        return losses

    @torch.no_grad()
    def _base(self, noisy: Tensor, times: Tensor, batch: Example) -> Tensor:
        """The denoiser's prediction without the LoRA."""
        with self._lora.off():
            return self._model.predict(noisy, times, batch)

    def _add_noise(self, batch: Example, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(noisy targets, their timesteps, their noise), drawn on the CPU so that every device draws the same."""
        noise = self._model.noise
        times = noise.draw_times(len(batch.target), generator, batch.tokens)
        epsilon = torch.randn(batch.target.shape, generator=generator).to(batch.target.device)
        return noise.add_noise(batch.target, epsilon, times), times, epsilon
