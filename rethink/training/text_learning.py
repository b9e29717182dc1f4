"""The text encoder of an InstructPix2Pix, where it learns with the denoiser: words that it has not understood until now.

What an edit is learned from says little about a word: the noise of a few images. A pair that thinking has found knows more, since
the thinker said the same in other words, and those have made the target. So the denoiser is to read in the user's words what it
reads in the thinker's: what its layers take in of the text is compared, with the LoRA and without. It is context distillation
(arXiv 2209.15189), of an editor by itself, at the places where text comes in.
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

TOKENS, PROMPT = "tokens", "prompt"  # of an example: of its instruction, and of the words that have made its target
NO_PROMPT = -1  # in the place of a token


class TextLearning:
    """The text encoder of an open pipeline, in the place of which examples have tokens."""

    def __init__(self, pipeline: Any):
        self._conditions, self._tokenizers = TextConditions(pipeline), tokenizers_of(pipeline)
        self.encoder: Any = pipeline.text_encoder

    def layers(self, rank: int) -> dict[str, nn.Module]:
        """Those that learn, by the names of the pipeline's modules. Raises RethinkError for a rank larger than all of them."""
        return {f"{TEXT_PART}{name}": layer for name, layer in target_layers(self.encoder, ALL_LAYERS, rank).items()}

    def inputs(self, instruction: str, prompt: str = "") -> dict[str, Tensor]:
        """int [1, 1, L] each: an instruction in tokens, and the words that have made the target; "": they are not known."""
        tokens = tokenize(self._tokenizers, [instruction])
        known = tokenize(self._tokenizers, [prompt]) if prompt else torch.full_like(tokens, NO_PROMPT)
        return {TOKENS: tokens, PROMPT: known}

    def encoded(self, inputs: Mapping[str, Any], latents: Tensor) -> dict[str, Any]:
        """What the denoiser takes in place of tokens; what else it takes stays."""
        others = {name: value for name, value in inputs.items() if name not in (TOKENS, PROMPT)}
        return others | self._conditions(inputs[TOKENS], latents)


def by_prompts(inputs: Mapping[str, Any]) -> tuple[dict[str, Any], Tensor]:
    """The inputs of a batch in the words that have made its targets; bool [B]: the rows where these are known."""
    known = inputs[PROMPT].flatten(1)[:, 0] != NO_PROMPT
    return {**inputs, TOKENS: torch.where(known[:, None, None], inputs[PROMPT], inputs[TOKENS])}, known


class Reading:
    """What the layers of a U-Net take in of its text: those of cross-attention, and the one that makes a vector of it."""

    def __init__(self, denoiser: nn.Module):
        self._layers = {name: layer for name, layer in denoiser.named_modules() if name.endswith(".attn2")}
        if (pooling := getattr(denoiser, "add_embedding", None)) is not None:
            self._layers["add_embedding"] = pooling
        self._calls: dict[str, tuple[tuple, dict[str, Any]]] = {}
        self._answers: dict[str, Tensor] = {}

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Within it the denoiser computes once, and what each layer was called with and has answered is kept."""

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
        """How far the layers' answers to another text [B, L, width] are from those that were recorded, all else being as it was
        then: the mean of all layers, of which one that says nothing is 1 away. rows: bool [B], those that count; of none it is 0."""
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
