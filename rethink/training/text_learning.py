"""Training the text encoder of an InstructPix2Pix editor along with the denoiser, on words that it does not understand yet.

The usual loss, the noise in a few images, says little about a word. A pair from a recorded run says more, since the thinker put the
instruction in other words, and that prompt made the target. So the denoiser should read the instruction as it reads the prompt: the
outputs of the layers that take in text are compared, with and without the LoRA. This is context distillation (arXiv 2209.15189) of
an editor by itself, where text enters it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .example import TEXT
from .lora_families import TEXT_PART
from .text_conditions import TextConditions, tokenize, tokenizers_of
from .trainable_lora import ALL_LAYERS, target_layers

TOKENS, PROMPT = "tokens", "prompt"  # tokens in an example: of its instruction, and of the prompt that made its target
NO_PROMPT = -1  # in place of a token


class TextLearning:
    """The text encoder of an open pipeline; examples then have tokens instead of hidden states."""

    def __init__(self, pipeline: Any):
        self._conditions, self._tokenizers = TextConditions(pipeline), tokenizers_of(pipeline)
        self.encoder: Any = pipeline.text_encoder

    def layers(self, rank: int) -> dict[str, nn.Module]:
        """The layers that learn, by their names in the pipeline. Raises RethinkError for a rank larger than all of them."""
        return {f"{TEXT_PART}{name}": layer for name, layer in target_layers(self.encoder, ALL_LAYERS, rank).items()}

    def inputs(self, instruction: str, prompt: str = "") -> dict[str, Tensor]:
        """Tokens of an instruction and of the prompt that made the target, int [1, 1, L] each; prompt "": not known."""
        tokens = tokenize(self._tokenizers, [instruction])
        known = tokenize(self._tokenizers, [prompt]) if prompt else torch.full_like(tokens, NO_PROMPT)
        return {TOKENS: tokens, PROMPT: known}

    def encoded(self, inputs: Mapping[str, Any], latents: Tensor) -> dict[str, Any]:
        """The denoiser's inputs, with hidden states in place of tokens."""
        others = {name: value for name, value in inputs.items() if name not in (TOKENS, PROMPT)}
        return others | self._conditions(inputs[TOKENS], latents)


def by_prompts(inputs: Mapping[str, Any]) -> tuple[dict[str, Any], Tensor]:
    """(the inputs of a batch with the prompts that made its targets, where known; bool [B], the rows where they are)."""
    known = inputs[PROMPT].flatten(1)[:, 0] != NO_PROMPT
    return {**inputs, TOKENS: torch.where(known[:, None, None], inputs[PROMPT], inputs[TOKENS])}, known


class Reading:
    """How the layers of a U-Net read its text: those of cross-attention, and the one that turns it into a vector."""

    def __init__(self, denoiser: nn.Module):
        self._layers = {name: layer for name, layer in denoiser.named_modules() if name.endswith(".attn2")}
        if (pooling := getattr(denoiser, "add_embedding", None)) is not None:
            self._layers["add_embedding"] = pooling
        self._calls: dict[str, tuple[tuple, dict[str, Any]]] = {}
        self._answers: dict[str, Tensor] = {}

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Within this context, run the denoiser once; the inputs and the output of each layer are kept."""

        def keep(name: str) -> Any:
            def hook(layer: nn.Module, args: tuple, options: dict[str, Any], answer: Tensor) -> None:
                self._calls[name], self._answers[name] = (args, options), answer

            return hook

        hooks = [layer.register_forward_hook(keep(name), with_kwargs=True) for name, layer in self._layers.items()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def distance(self, text: Tensor, rows: Tensor) -> Tensor:
        """How far the layers' outputs for another text [B, L, width] are from the recorded ones, all else being equal: the mean over
        all layers, where a layer with zero output is 1 away. rows: bool [B], the rows that count; 0 if there are none."""
        errors = []
        for name, layer in self._layers.items():
            (args, options), wanted = self._calls[name], self._answers[name].float()
            if TEXT in options:
                options = {**options, TEXT: text}
            else:
                args = (text, *args[1:])
            error = (layer(*args, **options).float() - wanted).square().flatten(1).mean(1) / wanted.square().mean()
            errors.append((error * rows).sum() / rows.sum().clamp(min=1))
        return torch.stack(errors).mean()
