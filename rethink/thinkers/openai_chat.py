"""A Chat over any OpenAI-compatible server: vLLM, Ollama, llama.cpp, OpenAI, Gemini."""

import base64
import io
import json
import re
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Any, TypeGuard

from torch import Tensor

from ..image_notes import bare_png
from ..images import to_pil
from ..servers.client import POLL, ServerClient
from ..servers.exchange import Limit, Reply
from ..servers.faults import Fault, find_fault, read_fault, read_json
from ..servers.redaction import redact
from ..servers.trust import Trust
from ..threads import DaemonThreads
from .protocol import NO_USAGE, Messages, OnToken, Placement, Request, ThinkerError, TokenUsage, resize_for_vlm

# Parameters that some models reject, and what they want instead.
_UNSUPPORTED = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None}
_MARK = re.compile(r"</?think>", re.IGNORECASE)


class OpenAIChat:
    """See `protocol.Chat`.

    base_url: up to and including "/v1", or what the server has instead. key_variable: the NAME of the environment variable
    with the key, "" for a server that needs none. timeout: seconds for one answer, from the DNS lookup to the last
    byte.
    retries: after the first attempt, for temporary faults. concurrency: how many requests at once. trust: which servers
    may be sent images and keys; by default those in the settings file of this machine's owner.
    """

    placement: Placement = "elsewhere"

    def __init__(
        self,
        base_url: str,
        model: str,
        key_variable: str = "",
        *,
        timeout: float = 120.0,
        retries: int = 4,
        concurrency: int = 4,
        trust: Trust | None = None,
    ):
        self.name, self.concurrency = model, concurrency
        self._server = ServerClient(
            base_url, model, key_variable, timeout=timeout, retries=retries, concurrency=concurrency, trust=trust
        )
        self._param_overrides: dict[str, str | None] = {}  # what this model has rejected
        self.usage, self._counting = NO_USAGE, threading.Lock()

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
        request = Request(messages, images, seed)
        if on_token is None and threading.current_thread() is not threading.main_thread():
            # Nothing has to be polled while it waits, and Ctrl-C goes to another thread: this thread can do the
            # waiting.
            answer = self._answer(self._server.key(), request, max_tokens, temperature, threading.Event())
        else:
            (answer,) = self.chat_all([request], max_tokens=max_tokens, temperature=temperature, on_token=on_token)
        if isinstance(answer, ThinkerError):
            raise answer
        return answer

    def encode_images(self, images: Sequence[Tensor], files: Sequence[bytes | None] = ()) -> Sequence[Tensor]:
        """The same images for `chat`, already encoded for sending.

        files: what each was read from, None if its pixels have changed since. A PNG is sent as is, without its
        metadata.
        """
        return EncodedImages(images, files or [None] * len(images))

    def chat_all(
        self, requests: Sequence[Request], *, max_tokens: int, temperature: float, on_token: OnToken | None = None
    ) -> list[str | ThinkerError]:
        """All answers, `concurrency` of them at once. `on_token` is called while waiting, and may raise to cancel."""
        key, over = self._server.key(), threading.Event()
        threads = DaemonThreads(min(self.concurrency, len(requests)))
        try:
            waiting = [threads.submit(self._answer, key, r, max_tokens, temperature, over) for r in requests]
            pending = set(waiting)
            while pending:
                _, pending = wait(pending, timeout=POLL, return_when=FIRST_COMPLETED)
                if on_token is not None:
                    on_token(0, max_tokens)
            return [future.result() for future in waiting]
        finally:
            over.set()
            threads.end()

    def _answer(
        self, key: str, request: Request, max_tokens: int, temperature: float, over: threading.Event
    ) -> str | ThinkerError:
        """over: set when nobody is waiting for the answer any longer, to end the retries."""
        body = {"model": self.name, "messages": _with_images(request), "max_tokens": max_tokens}
        body |= {"temperature": temperature, "seed": request.seed % 2**31}
        result = self._server.ask(lambda limit: self._try(key, body, limit), key, over)
        return ThinkerError(f"thinker: {result.why}") if isinstance(result, Fault) else redact(key, result)

    def _try(self, key: str, body: dict[str, Any], limit: Limit) -> str | Fault:
        """One attempt.

        If the model rejects a parameter, ask again at once without it, which does not count as an attempt.
        """
        while True:
            renamed = ((self._param_overrides.get(name, name), value) for name, value in body.items())
            sent = {name: value for name, value in renamed if name is not None}
            data = json.dumps(sent).encode()
            reply = self._server.send("POST", "/chat/completions", key, limit, data, "application/json")
            if reply.status == 200:
                with self._counting:
                    self.usage += _usage_in(reply)
                return _text_in(reply, body["max_tokens"])
            fault = read_fault(reply.status, reply.headers, reply.data, bool(key))
            refused = _unsupported_param(reply.status, fault.why, sent)
            if refused is None:
                return self._server.with_models(fault, reply.status, key, limit)
            self._param_overrides[refused] = _UNSUPPORTED[refused]


def _unsupported_param(status: int, why: str, sent: dict[str, Any]) -> str | None:
    """Which of the sent parameters a model rejects, if that is what the error says."""
    if status not in (400, 422):
        return None
    return next((name for name in _UNSUPPORTED if name in sent and re.search(rf"\b{name}\b", why)), None)


def _text_in(reply: Reply, max_tokens: int) -> str | Fault:
    """The text of a chat completion, or why there is none."""
    record = read_json(reply.data)
    choices = record.get("choices") if isinstance(record, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if fault := find_fault(record, choice):
        return fault
    message, reason = (choice.get("message"), choice.get("finish_reason")) if isinstance(choice, dict) else (None, None)
    if not isinstance(message, dict) or (content := _content_of(message)) is None:
        return Fault("the answer is not a chat completion (a web page, or cut off); check the address", retryable=True)
    if reason == "length" and not content.strip():
        return Fault(f"used up max_tokens ({max_tokens}) on reasoning; raise max_tokens")
    return _whole(_text_of(content, message))


def _usage_in(reply: Reply) -> TokenUsage:
    """The token usage that a chat completion reports; empty if it does not report whole numbers."""
    record = read_json(reply.data)
    usage = record.get("usage") if isinstance(record, dict) else None
    if not isinstance(usage, dict):
        return NO_USAGE
    read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return TokenUsage(1, read, written) if _is_count(read) and _is_count(written) else NO_USAGE


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40


def _content_of(message: dict[str, Any]) -> str | None:
    """The text of a message without its reasoning, or None."""
    content = message.get("content")
    if isinstance(content, list):  # in parts, as Mistral's reasoning models answer
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return "" if content is None else content if isinstance(content, str) else None


def _text_of(content: str, message: dict[str, Any]) -> str:
    """An answer with the reasoning that the server separated from it put back in front.

    If there is nothing but reasoning, the whole answer may be in it: it stays unclosed, as from a model that never
    stops thinking, or as the model itself closed it. Otherwise no tag within it may end it early.
    """
    fields = (message.get(name) for name in ("reasoning_content", "reasoning"))
    reasoning = next((text for text in fields if isinstance(text, str) and text.strip()), "")
    if not reasoning or "</think>" in content:
        return content
    if content.strip():
        return f"<think>{_MARK.sub('', reasoning)}</think>{content}"
    return reasoning if _MARK.search(reasoning) else f"<think>{reasoning}"


def _whole(text: str) -> str:
    """The text without half characters, which cannot be written or sent; servers leave them when they cut an emoji."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class EncodedImages(list[Tensor]):
    """Images with the data URLs that they are sent as."""

    def __init__(self, images: Sequence[Tensor], files: Sequence[bytes | None]):
        super().__init__(images)
        self.urls = [_data_url(image, file) for image, file in zip(images, files, strict=True)]


def _data_url(image: Tensor, file: bytes | None = None) -> str:
    shown = resize_for_vlm(image)
    png = bare_png(file) if file is not None and shown.shape == image.shape else None
    if png is None:
        written = io.BytesIO()
        to_pil(shown)[0].save(written, format="PNG", compress_level=1)  # a third of the time, a tenth more bytes
        png = written.getvalue()
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _with_images(request: Request) -> list[dict[str, Any]]:
    """The messages with every image part as a PNG in a data URL."""
    images = request.images
    urls = iter(images.urls) if isinstance(images, EncodedImages) else map(_data_url, images)

    def part(content: dict[str, Any]) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": next(urls)}} if content["type"] == "image" else content

    return [{**message, "content": [part(p) for p in message["content"]]} for message in request.messages]
