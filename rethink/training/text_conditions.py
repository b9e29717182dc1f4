"""Text conditions for Stable Diffusion's U-Nets: from one text encoder, or from XL's two, with the size of the image
(SDXL, arXiv 2307.01952, sections 2.1 and 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

ENDINGS = ("", "_2")  # suffixes of the names of a pipeline's text encoders


class TextConditions(nn.Module):
    """The text encoders of a pipeline, in the order in which its U-Net takes their outputs.

    Tokens are int [B, encoders, L], from `tokenize`. trained: whether the encoders learn.
    """

    null: Tensor  # int [1, encoders, L], the tokens of the empty instruction

    def __init__(self, pipe: Any, trained: bool = False):
        super().__init__()
        self.encoders = nn.ModuleList(getattr(pipe, f"text_encoder{ending}") for ending in _endings(pipe))
        self.encoders.requires_grad_(trained)
        self._pixels = 2 ** (len(pipe.vae.config.block_out_channels) - 1) if self.is_xl else 1  # per side of a latent
        # XL's pipelines use zeros for an empty instruction.
        self._zeros_for_empty = self.is_xl and bool(pipe.config.force_zeros_for_empty_prompt)
        self.register_buffer("null", tokenize(tokenizers_of(pipe), [""]), persistent=False)

    @property
    def is_xl(self) -> bool:
        return len(self.encoders) > 1

    def forward(self, tokens: Tensor, latents: Tensor, lost: Tensor | None = None) -> dict[str, Any]:
        """The U-Net's inputs other than images and timesteps.

        latents: [B, C, h, w]; only their size matters. lost: bool [B], the rows whose instruction is dropped; None: none.
        """
        lost = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device) if lost is None else lost
        tokens = torch.where(lost[:, None, None], self.null.to(tokens), tokens)
        if not self.is_xl:
            return {"encoder_hidden_states": self.encoders[0](tokens[:, 0])[0]}
        answers = [encoder(tokens[:, i], output_hidden_states=True) for i, encoder in enumerate(self.encoders)]
        text, pooled = torch.cat([answer.hidden_states[-2] for answer in answers], -1), answers[-1][0]
        if self._zeros_for_empty:
            text, pooled = text * ~lost[:, None, None], pooled * ~lost[:, None]
        height, width = (side * self._pixels for side in latents.shape[-2:])
        place = pooled.new_tensor([[height, width, 0, 0, height, width]])  # original size, crop at 0, target size
        return {
            "encoder_hidden_states": text,
            "added_cond_kwargs": {"text_embeds": pooled, "time_ids": place.repeat(len(tokens), 1)},
        }


def tokenizers_of(pipe: Any) -> list[Any]:
    """The tokenizer of each text encoder."""
    return [getattr(pipe, f"tokenizer{ending}") for ending in _endings(pipe)]


def tokenize(tokenizers: Sequence[Any], texts: Sequence[str]) -> Tensor:
    """Token ids, int [B, tokenizers, L], truncated or padded to the length that the encoders read."""
    rows = [
        tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids
        for tokenizer in tokenizers
    ]
    return torch.stack(rows, 1)


def _endings(pipe: Any) -> list[str]:
    return [ending for ending in ENDINGS if getattr(pipe, f"text_encoder{ending}", None) is not None]
