"""The interface of every backend: messages and images in, text out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch.nn.functional as F
from torch import Tensor

from ..errors import RethinkError
from ..images import as_image

# [{"role": "user", "content": [{"type": "text", "text": "…"}, {"type": "image"}, …]}, …]: the n-th image part is the
# n-th image. Whatever stays the same from one chat to the next comes first, since backends cache it.
Messages = list[dict[str, Any]]

# (tokens so far, maximum). Anything it raises ends the chat; the backend stays usable.
OnToken = Callable[[int, int], None]

# Where the weights of a chat are, for a host that shares the device with other models. movable: the chat has a `module`
# that may be moved to the device and back; fixed: its `module` stays where it was loaded; elsewhere: it takes up no
# memory on this device, or something else already manages it.
Placement = Literal["movable", "fixed", "elsewhere"]

MAX_PIXELS = 2**20  # of an image as a thinker sees it, as EditThinker was trained (arXiv 2512.05965)
MAX_ASPECT = 200  # length over width; processors like Qwen-VL's reject more
MIN_SIDE = 32  # pixels: one cell of their grid; older ones reject less


class ThinkerError(RethinkError):
    """A thinker could not answer: its server is gone, refuses, or sends garbage. No image is lost because of it."""


@dataclass(frozen=True)
class TokenUsage:
    """The token usage that a server reports. answers: how many answers it covers; read, written: tokens."""

    answers: int = 0
    read: int = 0
    written: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(self.answers + other.answers, self.read + other.read, self.written + other.written)

    def __sub__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(self.answers - other.answers, self.read - other.read, self.written - other.written)


NO_USAGE = TokenUsage()


class Chat(Protocol):
    """A vision-language model. Some models also have:

    - `chat_all`, if they answer several requests at once; see `chat_all`.
    - `concurrency`, the number of threads that may ask at once, and maybe `encode_images`, which prepares images (and
      the files that they were read from) before it is their turn.
    - `clear_cache`, if they remember conversations.
    - `usage`, the TokenUsage of all answers so far, if they are told.
    """

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

        The same arguments give the same answer if the backend can guarantee it; temperature 0 gives the most likely
        one.
        Raises ThinkerError if there is no answer.
        """
        ...


@dataclass(frozen=True, eq=False)
class Request:
    """One of several conversations that run at once."""

    messages: Messages
    images: Sequence[Tensor]
    seed: int


def chat_all(
    chat: Chat, requests: Sequence[Request], *, max_tokens: int, temperature: float, on_token: OnToken | None = None
) -> list[str | ThinkerError]:
    """Every request's answer, or what went wrong with it; a failed request does not affect the others.

    A backend with a method of this name and these arguments (except the first) answers all at once, others one by one.
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
    """Free what a chat remembers of conversations, if it does."""
    getattr(chat, "clear_cache", lambda: None)()


def resize_for_vlm(image: Tensor) -> Tensor:
    """IMAGE [1, H, W, 3] at the size that a thinker sees: at most MAX_PIXELS, no side below MIN_SIDE, same aspect
    ratio.

    An image that is longer than MAX_ASPECT times its width is stretched to that, which keeps positions as fractions.
    """
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
