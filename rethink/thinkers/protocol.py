"""What every backend promises: messages and pictures in, text out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor

from ..errors import RethinkError
from ..images import as_image

# [{"role": "user", "content": [{"type": "text", "text": "…"}, {"type": "image"}, …]}, …]: the n-th image part stands for
# the n-th picture. What stays the same from one chat to the next comes first: backends remember it.
Messages = list[dict[str, Any]]

OnToken = Callable[
    [int, int], None
]  # (tokens so far, at most). What it raises ends the chat; the backend stays usable.

MAX_PIXELS = 2**20  # of a picture that a thinker is shown, as EditThinker was trained (arXiv 2512.05965)
RIBBON = 200  # times as long as wide: processors of Qwen-VL's kind refuse more
SMALLEST = 32  # pixels a side: a cell of their grid, of which older ones refuse less


class ThinkerError(RethinkError):
    """A thinker could not answer: its server is gone, refuses, or talks nonsense. Nobody's image is lost over it."""


class Chat(Protocol):
    """A vision-language model. One that answers several requests at once also has `chat_all`, see `chat_all`; one that may
    be asked from several threads has `concurrency`, how many."""

    name: str

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
        """The answer to a conversation. images: IMAGE [1, H, W, 3], of any sizes.

        The same arguments give the same answer where the backend can promise it; temperature 0 is the likeliest one.
        Raises ThinkerError when there is no answer.
        """


@dataclass(frozen=True, eq=False)
class Request:
    """One conversation among several that are held at once."""

    messages: Messages
    images: Sequence[Tensor]
    seed: int


def chat_all(
    chat: Chat, requests: Sequence[Request], *, max_tokens: int, temperature: float, on_token: OnToken | None = None
) -> list[str | ThinkerError]:
    """Every request's answer, or what went wrong with it: one that fails takes no other with it.

    A backend with a method of this name and these arguments (but the first) answers all at once, others one by one.
    """
    options = {"max_tokens": max_tokens, "temperature": temperature, "on_token": on_token}
    if hasattr(chat, "chat_all"):
        return chat.chat_all(requests, **options)
    answers: list[str | ThinkerError] = []
    for request in requests:
        try:
            answers.append(chat.chat(request.messages, request.images, seed=request.seed, **options))
        except ThinkerError as error:
            answers.append(error)
    return answers


def resize_for_vlm(image: Tensor) -> Tensor:
    """IMAGE [1, H, W, 3] at the size that a thinker sees: at most PIXELS, no side below SMALLEST, its aspect kept. One that
    is longer than RIBBON times its width is made as much wider, so that places in it stay the same shares of it."""
    image = as_image(image)
    size = _shown_size(*image.shape[1:3])
    if size == image.shape[1:3]:
        return image
    return F.interpolate(image.movedim(-1, 1), size, mode="bicubic", antialias=True).movedim(1, -1).clamp(0, 1)


def _shown_size(height: int, width: int) -> tuple[int, int]:
    least = -(-max(height, width) // RIBBON)
    height, width = max(height, least), max(width, least)
    scale = max(min(1.0, (MAX_PIXELS / (height * width)) ** 0.5), SMALLEST / min(height, width))
    if scale == 1:
        return height, width
    sides = [max(1, int(side * scale + 1e-6)) for side in (height, width)]
    return tuple(min(side, RIBBON * min(sides)) for side in sides)
