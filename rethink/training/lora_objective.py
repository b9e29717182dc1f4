"""What a LoRA is trained towards: the denoiser's answer to noisy targets, and to other edits the answer that it gave before."""

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

READING = 2.0  # the weight of how a text is read, where a text encoder learns


class LoraObjective:
    """The losses of a LoRA over a model. The LoRA is attached, and the editor's pipeline open, wherever one is computed.

    change_weight: of places that the edit changes, against 1 elsewhere. hold_outside: the weight of how far the answers
    elsewhere are from those without the LoRA.
    """

    def __init__(self, model: EditModel, lora: TrainableLora, change_weight: float = 1.0, hold_outside: float = 0.0):
        self._model, self._lora = model, lora
        self._change_weight, self._hold_outside = change_weight, hold_outside
        self._reading = Reading(model.denoiser)
        self._text_alone = all(name.startswith(TEXT_PART) for name in lora.names)

    def loss(self, batch: Example, generator: torch.Generator) -> Tensor:
        """The mean squared error of the denoiser's answers, in float32; where a text encoder learns, also how it reads the user's
        words, and that alone where nothing else learns and the words that have made the targets are known."""
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
        """How far the denoiser's answers are from those without the LoRA, mean squared; and how far what it reads is, where a text
        encoder learns.

        Those that have lost their text or source are held too: guidance multiplies what differs from them.
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
        """How far what the denoiser takes in of the text is from what it takes in, without the LoRA, with other inputs."""
        with self._reading.recorded():
            self._base(noisy, times, replace(seen, inputs=inputs))
        return self._reading.distance(self._model.encoded(seen.inputs, noisy)[TEXT], rows)

    @torch.no_grad()
    def held_out_losses(self, examples: LoraExamples, batch: int) -> list[float]:
        """Of the held-out pairs, each at the same times with the same noise every time, `batch` of them at once."""
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
        """What the denoiser says without the LoRA."""
        with self._lora.off():
            return self._model.predict(noisy, times, batch)

    def _add_noise(self, batch: Example, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(noisy targets, their times, the noise in them), drawn on the CPU, so that every device draws the same."""
        noise = self._model.noise
        times = noise.draw_times(len(batch.target), generator, batch.tokens)
        epsilon = torch.randn(batch.target.shape, generator=generator).to(batch.target.device)
        return noise.add_noise(batch.target, epsilon, times), times, epsilon
