"""ComfyUI's own vision-language models as a Chat: any model from a CLIP loader that sees images and generates text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...rethink.errors import RethinkError
from ...rethink.thinkers.protocol import Messages, OnToken, Placement, resize_for_vlm


@dataclass(frozen=True)
class PromptFormat:
    """The prompt that a kind of model expects.

    turn: the user's turn and the beginning of the answer around {}, so that ComfyUI adds no template of its own.
    image: the placeholder of an image. image_kwargs: the images as arguments of `clip.tokenize`.
    """

    turn: str
    image: str
    image_kwargs: Callable[[list[Tensor]], dict[str, Any]]


def _one_by_one(images: list[Tensor]) -> dict[str, Any]:
    return {"images": images}


def _as_batch(images: list[Tensor]) -> dict[str, Any]:
    """Resize all to the size of the first, as a batch requires."""
    size = images[0].shape[1:3]
    same = [F.interpolate(p.movedim(-1, 1), size, mode="area").movedim(1, -1) for p in images]
    return {"image": torch.cat(same)}


QWEN = PromptFormat(
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
    "<|vision_start|><|image_pad|><|vision_end|>",
    _one_by_one,
)
GEMMA = PromptFormat("<|turn>user\n{}<turn|>\n<|turn>model\n", "<|image><|image|><image|>", _as_batch)

# By the class of the language model within the text encoder; subclasses count.
PROMPT_FORMATS = {"Qwen3VL": QWEN, "Qwen35": QWEN, "Gemma4Base": GEMMA}
UNSUPPORTED = {
    "Qwen25_7BVLI": "ComfyUI uses Qwen-Image's Qwen2.5-VL to encode prompts, not to answer about images",
    "Gemma3_12B": "Gemma 3 takes one image at a time in ComfyUI, and a thinker compares two",
}


class NativeChat:
    """See `rethink.thinkers.protocol.Chat`. ComfyUI moves the weights itself, and answers one request at a time."""

    placement: Placement = "elsewhere"

    def __init__(self, clip: Any, name: str = "ComfyUI model"):
        kinds = {base.__name__ for module in clip.cond_stage_model.modules() for base in type(module).__mro__}
        formats = [prompt_format for kind, prompt_format in PROMPT_FORMATS.items() if kind in kinds]
        if not formats:
            reason = next(
                (why for kind, why in UNSUPPORTED.items() if kind in kinds), "this text encoder does not see images"
            )
            raise RethinkError(f"clip: cannot think: {reason}; load Qwen3-VL, Qwen3.5 or Gemma 4.")
        self._clip, self._format = clip, formats[0]
        self.name = name

    def chat(
        self,
        messages: Messages,
        images: Sequence[Tensor],
        *,
        max_tokens: int,
        seed: int,
        temperature: float,
        on_token: OnToken | None = None,
    ) -> str:
        parts = [part for message in messages for part in message["content"]]
        text = "".join(_plain(p["text"]) if p["type"] == "text" else self._format.image for p in parts)
        image_kwargs = self._format.image_kwargs([resize_for_vlm(image) for image in images])
        if on_token is not None:
            on_token(0, max_tokens)  # ComfyUI itself looks for Cancel after every token
        tokens = self._clip.tokenize(self._format.turn.format(text), **image_kwargs)
        answer = self._clip.generate(
            tokens,
            do_sample=temperature > 0,
            max_length=max_tokens,
            temperature=temperature or 1.0,
            top_k=0,
            top_p=1.0,
            min_p=0.0,
            repetition_penalty=1.0,
            presence_penalty=0.0,
            seed=seed % 2**63,
        )
        return self._clip.decode(answer)


def _plain(text: str) -> str:
    """Return the text without what such models read as control tokens, no matter who wrote it."""
    return text.replace("<|", "<").replace("|>", ">")
