"""What every backend promises: messages and images in, text out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch.nn.functional as F
from torch import Tensor

from ..errors import RethinkError
from ..images import as_image

# [{"role": "user", "content": [{"type": "text", "text": "…"}, {"type": "image"}, …]}, …]: the n-th image part stands for
# the n-th image. What stays the same from one chat to the next comes first: backends remember it.
Messages = list[dict[str, Any]]

# (tokens so far, at most). What it raises ends the chat; the backend stays usable.
OnToken = Callable[[int, int], None]

# Where the weights of a chat are, for a host that shares the device with other models. movable: the chat has a `module`
# that may be moved to where it computes and back; fixed: its `module` stays where it was loaded; elsewhere: nothing here
# takes up the device, or something else already manages it.
Placement = Literal["movable", "fixed", "elsewhere"]

MAX_PIXELS = 2**20  # of an image as a thinker sees it, as EditThinker was trained (arXiv 2512.05965)
MAX_ASPECT = 200  # times as long as wide: processors of Qwen-VL's kind refuse more
MIN_SIDE = 32  # pixels: a cell of their grid, of which older ones refuse less


class ThinkerError(RethinkError):
    """A thinker could not answer: its server is gone, refuses, or sends garbage. No image is lost over it."""


@dataclass(frozen=True)
class TokenUsage:
    """What a server says that answers have taken. answers: how many it said so of; read, written: tokens."""

    answers: int = 0
    read: int = 0
    written: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(self.answers + other.answers, self.read + other.read, self.written + other.written)

    def __sub__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(self.answers - other.answers, self.read - other.read, self.written - other.written)


NO_USAGE = TokenUsage()


class Chat(Protocol):
    """A vision-language model. One that answers several requests at once also has `chat_all`, see `chat_all`; one that may
    be asked from several threads has `concurrency`, how many, and maybe `encode_images`, for what can be done with images, and with
    the files that they were read from, before it is their turn; one that remembers conversations has `clear_cache`; one that is told what its answers take has `usage`, a TokenUsage
    of all so far."""

    name: str
    placement: Placement

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
        ...


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
    several = getattr(chat, "chat_all", None)
    if several is not None:
        return several(requests, **options)
    answers: list[str | ThinkerError] = []
    for request in requests:
        try:
            answers.append(chat.chat(request.messages, request.images, seed=request.seed, **options))
        except ThinkerError as error:
            answers.append(error)
    return answers


def clear_cache(chat: Chat) -> None:
    """Give back what a chat remembers of conversations, where it does."""
    getattr(chat, "clear_cache", lambda: None)()


def resize_for_vlm(image: Tensor) -> Tensor:
    """IMAGE [1, H, W, 3] at the size that a thinker sees: at most MAX_PIXELS, no side below MIN_SIDE, with its aspect. One that
    is longer than MAX_ASPECT times its width is stretched to that, which keeps positions as fractions."""
    image = as_image(image)
    size = _shown_size(*image.shape[1:3])
    if size == image.shape[1:3]:
        return image
    return F.interpolate(image.movedim(-1, 1), size, mode="bicubic", antialias=True).movedim(1, -1).clamp(0, 1)


def _shown_size(height: int, width: int) -> tuple[int, int]:
    least = -(-max(height, width) // MAX_ASPECT)
    height, width = max(height, least), max(width, least)
    scale = max(min(1.0, (MAX_PIXELS / (height * width)) ** 0.5), MIN_SIDE / min(height, width))
    if scale == 1:
        return height, width
    height, width = (max(1, int(side * scale + 1e-6)) for side in (height, width))
    longest = MAX_ASPECT * min(height, width)
    return min(height, longest), min(width, longest)
