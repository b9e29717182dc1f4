"""A judge that is never asked the same thing twice: its answers are kept in a folder, by question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RethinkError
from ..images import to_pixels
from ..text_files import one_line
from ..thinkers.protocol import Chat, Messages, OnToken, Placement, Request, ThinkerError, chat_all
from .reply_log import NAME, ReplyLog, judge_identity, reply_key

if TYPE_CHECKING:
    from torch import Tensor

    from ..thinkers.critique import Thinker


class CachedChat:
    """A `protocol.Chat`; everything not defined here is the chat's own. known, asked: answers from the folder, and new ones.

    An answer that never came is requested again in the next run.
    """

    name: str  # both are the chat's own, through `__getattr__`
    placement: Placement

    def __init__(self, chat: Chat, log: ReplyLog):
        self._chat, self._log = chat, log
        self.known = self.asked = 0

    def __getattr__(self, name: str):
        return getattr(self._chat, name)

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
        requests = [Request(messages, images, seed)]
        (reply,) = self.chat_all(requests, max_tokens=max_tokens, temperature=temperature, on_token=on_token)
        if isinstance(reply, ThinkerError):
            raise reply
        return reply

    def chat_all(
        self, requests: Sequence[Request], *, max_tokens: int, temperature: float, on_token: OnToken | None = None
    ) -> list[str | ThinkerError]:
        """All answers, known or new."""
        keys = [
            reply_key(judge_identity(self.name, max_tokens, temperature, each.seed), list(_contents(each)))
            for each in requests
        ]
        found: dict[str, str | ThinkerError] = {}
        for key in keys:
            if (reply := self._log.find(key)) is not None:
                found[key] = reply
        self.known += sum(key in found for key in keys)
        missing = {key: request for key, request in zip(keys, requests) if key not in found}
        for key, answer in self._ask(missing, max_tokens=max_tokens, temperature=temperature, on_token=on_token):
            self.asked += 1
            found[key] = answer
            if not isinstance(answer, ThinkerError):
                self._log.add(key, answer, "", _first_line(missing[key]))
        return [found[key] for key in keys]

    def _ask(self, missing: Mapping[str, Request], **options: Any) -> Iterator[tuple[str, str | ThinkerError]]:
        """New answers, each as soon as it arrives, so that it is logged even if the run then ends."""
        requests = list(missing.items())
        size = len(requests) if hasattr(self._chat, "chat_all") else 1
        for start in range(0, len(requests), max(1, size)):
            some = requests[start : start + size]
            answers = chat_all(self._chat, [request for _, request in some], **options)
            yield from zip((key for key, _ in some), answers)


def with_replies_in(judge: Thinker, folder: Path, name: str = "output") -> tuple[Thinker, CachedChat]:
    """A judge whose replies are kept in a folder, which several runs may write to at once. name: the input that names the folder.

    Raises RethinkError for a folder that is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NAME).open("ab").close()
        chat = CachedChat(judge.chat, ReplyLog(folder, alone=False))
    except OSError as error:
        raise RethinkError(f"{name}: cannot write to {folder}: {error.strerror}.") from error
    return replace(judge, chat=chat), chat


def _contents(request: Request) -> Iterator[str | bytes]:
    """The texts and images of a request, in order."""
    images = iter(request.images)
    for message in request.messages:
        yield message["role"]
        for part in message["content"]:
            if part["type"] == "image":
                pixels = to_pixels(next(images))
                yield str(pixels.shape)
                yield pixels.tobytes()
            else:
                yield part["text"]


def _first_line(request: Request) -> str:
    """A label for people who read the file."""
    texts = (part["text"] for message in request.messages for part in message["content"] if part["type"] == "text")
    return one_line(next(texts, ""))[:60]
