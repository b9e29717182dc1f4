"""A Chat over any OpenAI-compatible server: vLLM, Ollama, llama.cpp, OpenAI, Gemini.

The key is read from its environment variable at the moment of a call and is kept nowhere: not in this object, not in an
error, a log or a record. It goes to the server that the owner of this machine has paired it with (`trust`), and nowhere else.
"""

import base64
import difflib
import io
import json
import os
import re
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Any, TypeGuard

from torch import Tensor

from ..errors import RethinkError
from ..image_notes import bare_png
from ..images import to_pil
from ..threads import DaemonThreads
from .address import parse_address
from .exchange import ExchangeError, Limit, Reply, TimeIsUp, exchange
from .faults import LONGEST_PAUSE, Fault, find_fault, read_fault, read_json
from .protocol import NO_USAGE, Messages, OnToken, Placement, Request, ThinkerError, TokenUsage, resize_for_vlm
from .proxies import find_proxy
from .redaction import redact
from .trust import Trust, read_trust

POLL = 0.1  # seconds between two looks whether the user has cancelled
MAX_SUGGESTIONS = 5  # models of a server that are named to a user whose choice it does not have
FIRST_PAUSE = 1.0  # seconds before a retry, doubling from one to the next up to LONGEST_PAUSE
# What some models refuse, and what they want instead.
_UNSUPPORTED = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None}
_MARK = re.compile(r"</?think>", re.IGNORECASE)


class OpenAIChat:
    """See `protocol.Chat`.

    base_url: up to and including "/v1", or what the server has instead. key_variable: the NAME of the environment variable
    with the key, "" for a server that needs none. timeout: seconds for one answer, from looking up the server's name to
    the last byte. retries: after the first try, for temporary faults. concurrency: how many requests at once. trust:
    which servers may be sent images and keys; by default those in the settings file of this machine's owner.
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
        self.name = model
        self._origin, self._path = parse_address(base_url)
        self._key_variable = _checked_variable(key_variable)
        if not model.strip():
            raise RethinkError("model: is empty; give the model's name as the server knows it.")
        numbers = (("timeout", timeout, 1, 3600), ("retries", retries, 0, 20), ("concurrency", concurrency, 1, 64))
        for name, value, low, high in numbers:
            if not low <= value <= high:
                raise RethinkError(f"{name}: expected {low} to {high}, got {value}.")
        self._timeout, self._retries, self.concurrency = timeout, retries, concurrency
        self._param_overrides: dict[str, str | None] = {}  # what this model has refused
        self.usage, self._counting = NO_USAGE, threading.Lock()
        # What is missing or not allowed is better said now than when the first edit has been made.
        self._key()
        trust = trust or read_trust()
        if self._key_variable:
            trust.check_key(self._key_variable, self._origin)
        trust.check_images(self._origin)
        find_proxy(self._origin)

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
            # Nobody looks in while it waits, and Ctrl-C comes to another thread: this one can wait by itself.
            answer = self._answer(self._key(), request, max_tokens, temperature, threading.Event())
        else:
            (answer,) = self.chat_all([request], max_tokens=max_tokens, temperature=temperature, on_token=on_token)
        if isinstance(answer, ThinkerError):
            raise answer
        return answer

    def encode_images(self, images: Sequence[Tensor], files: Sequence[bytes | None] = ()) -> Sequence[Tensor]:
        """The same images for `chat`, with what takes time about sending them already done.

        files: what each was read from, None where it has other pixels by now. A PNG is sent as it is, without its metadata.
        """
        return EncodedImages(images, files or [None] * len(images))

    def chat_all(
        self, requests: Sequence[Request], *, max_tokens: int, temperature: float, on_token: OnToken | None = None
    ) -> list[str | ThinkerError]:
        """All answers, `concurrency` of them at once. `on_token` is called while waiting, and may raise to cancel."""
        key, over = self._key(), threading.Event()
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

    def _key(self) -> str:
        key = os.environ.get(self._key_variable, "") if self._key_variable else ""
        if self._key_variable and not key.strip():
            # The name is not repeated: it may be a key that was pasted into the wrong field.
            raise RethinkError(
                "key_variable: no environment variable of that name is set; set it, or leave this empty."
            )
        if not (key.strip().isascii() and key.strip().isprintable()):
            raise RethinkError(
                "key_variable: what it names holds a character that is in no key; copy the key once more."
            )
        return key.strip()

    def _answer(
        self, key: str, request: Request, max_tokens: int, temperature: float, over: threading.Event
    ) -> str | ThinkerError:
        """over: set when nobody is waiting for the answer any longer, so that there are no more retries."""
        body = {"model": self.name, "messages": _with_images(request), "max_tokens": max_tokens}
        body |= {"temperature": temperature, "seed": request.seed % 2**31}
        tries = 1
        while isinstance(result := self._try(key, body, over), Fault):
            if not result.retryable or tries > self._retries:
                break
            growing = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1))
            if _sleep(growing if result.wait is None else result.wait, over):
                break
            tries += 1
        if not isinstance(result, Fault):
            return redact(key, result)
        why, after = redact(key, result.why).rstrip("."), f" (after {tries} tries)" if tries > 1 else ""
        return ThinkerError(f"thinker: {self.name} at {self._origin}{self._path}: {why}{after}.")

    def _try(self, key: str, body: dict[str, Any], over: threading.Event) -> str | Fault:
        """One try. What the model refuses is left out and asked again at once, which counts as none."""
        limit = Limit(self._timeout, over)
        while True:
            renamed = ((self._param_overrides.get(name, name), value) for name, value in body.items())
            sent = {name: value for name, value in renamed if name is not None}
            try:
                reply = self._send("POST", "/chat/completions", key, sent, limit)
            except TimeIsUp:
                return Fault(f"no answer within {self._timeout:g} s", retryable=True)
            except ExchangeError as error:
                return Fault(str(error), error.retryable)
            if reply.status == 200:
                with self._counting:
                    self.usage += _usage_in(reply)
                return _text_in(reply, body["max_tokens"])
            fault = read_fault(reply.status, reply.headers, reply.data, bool(key))
            refused = _unsupported_param(reply.status, fault.why, sent)
            if refused is None:
                hint = self._models(key, reply.status, limit) if reply.status in (400, 404) else ""
                return Fault(fault.why + hint, fault.retryable, fault.wait)
            self._param_overrides[refused] = _UNSUPPORTED[refused]

    def _send(self, method: str, path: str, key: str, record: dict[str, Any] | None, limit: Limit) -> Reply:
        headers = {"Accept": "application/json", "User-Agent": "rethink"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        data = None
        if record is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(record).encode()
        return exchange(method, self._origin, self._path + path, headers, data, limit)

    def _models(self, key: str, code: int, limit: Limit) -> str:
        """What a server that knows no such model has instead, or none of this address, as the rest of a sentence."""
        names = None
        try:
            reply = self._send("GET", "/models", key, None, limit)
            if reply.status == 200:
                names = [model["id"] for model in read_json(reply.data)["data"] if isinstance(model["id"], str)]
        except (ExchangeError, KeyError, TypeError):
            pass
        if names is None:
            return "; is the address right? Most end in /v1" if code == 404 else ""
        if not names or any(name == self.name or name.endswith(f"/{self.name}") for name in names):
            return ""
        near = difflib.get_close_matches(
            self.name, [redact(key, name)[:100] for name in names[:1000]], MAX_SUGGESTIONS, 0
        )
        return f"; it has {', '.join(near)}"


def _sleep(seconds: float, over: threading.Event) -> bool:
    """Wait before a retry; True, and at once, where nobody is waiting for the answer any longer."""
    return over.wait(seconds)


def _unsupported_param(status: int, why: str, sent: dict[str, Any]) -> str | None:
    """Which of the parameters that were sent a model refuses, where that is what the error says."""
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
        return Fault("the answer is no chat completion (a web page, or cut off); check the address", retryable=True)
    if reason == "length" and not content.strip():
        return Fault(f"reasoned until max_tokens ({max_tokens}) were used up; raise max_tokens")
    return _whole(_text_of(content, message))


def _usage_in(reply: Reply) -> TokenUsage:
    """What a chat completion says that it has taken; nothing where it does not say so in whole numbers."""
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
    """An answer with the reasoning that the server took apart put back before it.

    Where there is nothing but reasoning, the model may have said all of it there: it is left open, as a model does that
    never ends its thinking, or as the model itself has closed it. Else no mark within it ends it early.
    """
    fields = (message.get(name) for name in ("reasoning_content", "reasoning"))
    reasoning = next((text for text in fields if isinstance(text, str) and text.strip()), "")
    if not reasoning or "</think>" in content:
        return content
    if content.strip():
        return f"<think>{_MARK.sub('', reasoning)}</think>{content}"
    return reasoning if _MARK.search(reasoning) else f"<think>{reasoning}"


def _whole(text: str) -> str:
    """The text without halves of characters, as servers cut emoji: those can be neither written nor sent."""
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


def _checked_variable(name: str) -> str:
    name = name.strip()
    if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise RethinkError(
            "key_variable: give the NAME of an environment variable, such as OPENAI_API_KEY, not the key."
        )
    return name
