"""ComfyUI's own vision-language models as a Chat: whatever a CLIP loader opens that sees pictures and writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...rethink.errors import RethinkError
from ...rethink.thinkers.protocol import Messages, OnToken, resize_for_vlm


@dataclass(frozen=True)
class Dialect:
    """How a kind of model is spoken to.

    turn: the user's turn and the beginning of the answer around {}, so that ComfyUI puts no template of its own around
    it. picture: what stands for a picture. handed: the pictures as arguments of `clip.tokenize`.
    """

    turn: str
    picture: str
    handed: Callable[[list[Tensor]], dict[str, Any]]


def _one_by_one(pictures: list[Tensor]) -> dict[str, Any]:
    return {"images": pictures}


def _as_batch(pictures: list[Tensor]) -> dict[str, Any]:
    """All at the size of the first, as a batch has to be."""
    size = pictures[0].shape[1:3]
    same = [F.interpolate(p.movedim(-1, 1), size, mode="area").movedim(1, -1) for p in pictures]
    return {"image": torch.cat(same)}


QWEN = Dialect(
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
    "<|vision_start|><|image_pad|><|vision_end|>",
    _one_by_one,
)
GEMMA = Dialect("<|turn>user\n{}<turn|>\n<|turn>model\n", "<|image><|image|><image|>", _as_batch)

# By the class of the language model within the text encoder; subclasses count.
DIALECTS = {"Qwen3VL": QWEN, "Qwen35": QWEN, "Gemma4Base": GEMMA}
REFUSED = {
    "Qwen25_7BVLI": "Qwen-Image's Qwen2.5-VL is wired in ComfyUI to encode prompts, not to answer about pictures",
    "Gemma3_12B": "Gemma 3 takes one picture at a time in ComfyUI, and a thinker compares two",
}


class NativeChat:
    """See `rethink.thinkers.protocol.Chat`. ComfyUI moves the weights itself, and answers one request at a time."""

    def __init__(self, clip: Any, name: str = "ComfyUI model"):
        kinds = {base.__name__ for module in clip.cond_stage_model.modules() for base in type(module).__mro__}
        dialects = [dialect for kind, dialect in DIALECTS.items() if kind in kinds]
        if not dialects:
            reason = next(
                (said for kind, said in REFUSED.items() if kind in kinds), "this text encoder sees no pictures"
            )
            raise RethinkError(f"clip: cannot think: {reason}; load Qwen3-VL, Qwen3.5 or Gemma 4.")
        self._clip, self._dialect = clip, dialects[0]
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
        text = "".join(_plain(p["text"]) if p["type"] == "text" else self._dialect.picture for p in parts)
        pictures = self._dialect.handed([resize_for_vlm(image) for image in images])
        if on_token is not None:
            on_token(0, max_tokens)  # ComfyUI itself looks for Cancel after every token
        tokens = self._clip.tokenize(self._dialect.turn.format(text), **pictures)
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
    """Without what such models take as marks of their own, whoever wrote it."""
    return text.replace("<|", "<").replace("|>", ">")
