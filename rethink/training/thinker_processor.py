"""The processor that trl needs, built from the thinker's own reader, so that training sees the same inputs as inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..images import from_pil
from ..thinkers.transformers_chat import Encoded, QwenVLEncoder, TransformersChat, takes_token_types


def make_processor(chat: TransformersChat) -> Any:
    """The ProcessorMixin of a thinker's model: its own, or for models like Qwen-VL one with only a tokenizer and an image processor.
    Their own also needs a video processor, and with it torchvision."""
    if not isinstance(chat.reader, QwenVLEncoder):
        return chat.reader.processor
    from transformers import ProcessorMixin

    reader, tokenizer = chat.reader, chat.tokenizer
    with_types = takes_token_types(chat.module.model)

    class Processor(ProcessorMixin):
        """The methods that trl's GRPOTrainer calls: `apply_chat_template`, the processor itself, `batch_decode`."""

        @property
        def model_input_names(self) -> list[str]:
            return ["input_ids"]

        def __init__(self):  # instead of the mixin's, which checks what it loads from a folder
            self.tokenizer = tokenizer
            self.image_processor = reader.image_processor
            self.chat_template = None

        def __repr__(self) -> str:
            return f"Processor of {chat.name}"

        def apply_chat_template(self, conversation: Any, tokenize: bool = False, **_: Any) -> Any:
            """The text of one conversation, or with `tokenize` the model inputs for several, not padded."""
            if not tokenize:
                return reader.as_text(conversation)
            rows = [reader(messages, to_images(images_of(messages))) for messages in conversation]
            return {"input_ids": [row.tokens.tolist() for row in rows], **self._inputs(rows)}

        def __call__(self, images: Sequence[Sequence[Any] | None], text: Sequence[str], **_: Any) -> dict[str, Any]:
            """The model inputs for several texts from `apply_chat_template`, padded on the left."""
            rows = [reader.encode(each, to_images(found or ())) for each, found in zip(text, images, strict=True)]
            inputs = self._inputs(rows)
            tokens = [row.tokens for row in rows]
            inputs["input_ids"] = pad_left(tokens, tokenizer.pad_token_id or 0)
            inputs["attention_mask"] = pad_left([torch.ones_like(row) for row in tokens], 0)
            if "mm_token_type_ids" in inputs:
                inputs["mm_token_type_ids"] = pad_left([torch.tensor(row) for row in inputs["mm_token_type_ids"]], 0)
            return inputs

        def _inputs(self, rows: Sequence[Encoded]) -> dict[str, Any]:
            names = dict.fromkeys(name for row in rows for name in row.inputs)
            inputs: dict[str, Any] = {
                name: torch.cat([row.inputs[name] for row in rows if name in row.inputs]) for name in names
            }
            if with_types:
                inputs["mm_token_type_ids"] = [row.tokens.eq(reader.image_token).int().tolist() for row in rows]
            return inputs

        def batch_decode(self, *arguments: Any, **options: Any) -> list[str]:
            return tokenizer.batch_decode(*arguments, **options)

        def save_pretrained(self, folder: Any, **_: Any) -> None:
            tokenizer.save_pretrained(folder)

    return Processor()


def images_of(messages: Sequence[dict[str, Any]]) -> list[Any]:
    """The images that trl put into the image parts of a conversation, in order."""
    return [part["image"] for message in messages for part in message["content"] if part["type"] == "image"]


def to_images(images: Sequence[Any]) -> list[Tensor]:
    """PIL images as IMAGE [1, H, W, 3] each."""
    return [from_pil([image]) for image in images]


def pad_left(rows: Sequence[Tensor], value: int) -> Tensor:
    """Stack rows [n], padded on the left, to [rows, longest n]."""
    longest = max(len(row) for row in rows)
    return torch.stack([nn.functional.pad(row, (longest - len(row), 0), value=value) for row in rows])
