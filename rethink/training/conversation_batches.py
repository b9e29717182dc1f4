"""Batches of conversations as model inputs, built by the same code that is used at inference (`thinkers.transformers_chat`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import RethinkError
from ..thinkers.transformers_chat import TransformersChat, positions
from .conversations import Conversation, load_images

IGNORED = -100  # the label of tokens that have no loss


class DataCollator:
    """Turns rows {"conversation": Conversation} into batches for the model, with the loss on the answers only."""

    def __init__(self, chat: TransformersChat, pack: bool):
        self.chat, self.pack = chat, pack

    def __call__(self, rows: list[dict]) -> dict[str, Tensor]:
        encoded = [self.encode(row["conversation"]) for row in rows]
        if self.pack:
            return _pack(encoded)
        return _pad(encoded, self.chat.tokenizer.pad_token_id or 0)

    def encode(self, conversation: Conversation) -> EncodedConversation:
        """The question exactly as `TransformersChat` asks it, followed by the answer."""
        question = self.chat.reader(conversation.messages, load_images(conversation))
        answer = self.chat.tokenizer(conversation.answer + self.chat.tokenizer.eos_token, add_special_tokens=False)
        answer = torch.tensor(answer.input_ids)
        tokens = torch.cat([question.tokens, answer])
        token_inputs = {"input_ids": tokens, "labels": torch.cat([torch.full_like(question.tokens, IGNORED), answer])}
        images = {}
        for name, value in question.inputs.items():
            if value.shape == (1, len(question.tokens)):  # one value per token; the answer has no images
                token_inputs[name] = torch.cat([value[0], torch.zeros_like(answer, dtype=value.dtype)])
            else:
                images[name] = value
        if "image_grid_thw" in images:
            token_inputs["position_ids"] = self._positions(tokens, images["image_grid_thw"])
        elif self.pack:
            raise RethinkError("pack: only works with models like Qwen-VL; leave it off.")
        return EncodedConversation(token_inputs, images)

    def _positions(self, tokens: Tensor, grid: Tensor) -> Tensor:
        """Positions [3, n] of tokens [n] and images of `grid`."""
        return positions(cast(Any, self.chat.module).model, tokens[None], grid)[0][:, 0]


@dataclass(frozen=True, eq=False)
class EncodedConversation:
    """One conversation. token_inputs: tensors [n] or [3, n], a value per token; images: inputs for the images, by name."""

    token_inputs: dict[str, Tensor]
    images: dict[str, Tensor]


def _pad(rows: list[EncodedConversation], pad: int) -> dict[str, Tensor]:
    """One row per conversation, padded on the right: tensors [B, n], positions [3, B, n]."""
    longest = max(len(row.token_inputs["input_ids"]) for row in rows)
    fill = {"input_ids": pad, "labels": IGNORED}
    batch = {}
    for name in rows[0].token_inputs:
        values = [row.token_inputs[name] for row in rows]
        values = [nn.functional.pad(v, (0, longest - v.shape[-1]), value=fill.get(name, 0)) for v in values]
        batch[name] = torch.stack(values, -2)
    lengths = torch.tensor([len(row.token_inputs["input_ids"]) for row in rows])
    return batch | _stack_image_inputs(rows) | {"attention_mask": (torch.arange(longest) < lengths[:, None]).long()}


def _pack(rows: list[EncodedConversation]) -> dict[str, Tensor]:
    """All conversations concatenated in one row [1, n]. Positions [4, 1, n], the first counting from 0 in each conversation, tell
    the attention where one ends and the next begins."""
    batch = {name: torch.cat([row.token_inputs[name] for row in rows], -1) for name in rows[0].token_inputs}
    batch = {name: value[..., None, :] for name, value in batch.items()}
    count = torch.cat([torch.arange(len(row.token_inputs["input_ids"])) for row in rows])
    batch["position_ids"] = torch.cat([count[None, None], batch["position_ids"]])
    for start in (count == 0).nonzero().flatten().tolist()[1:]:
        batch["labels"][0, start] = IGNORED  # nothing predicts the first token of the next one
    return batch | _stack_image_inputs(rows)


def _stack_image_inputs(rows: list[EncodedConversation]) -> dict[str, Tensor]:
    names = {name: None for row in rows for name in row.images}
    return {name: torch.cat([row.images[name] for row in rows if name in row.images]) for name in names}
