"""A Chat over any OpenAI-compatible server: vLLM, Ollama, llama.cpp, OpenAI, Gemini.

The key is read from its environment variable at the moment of a call and is kept nowhere: not in this object, not in an
error, a log or a record.
"""

import base64
import difflib
import io
import os
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor

from ..errors import RethinkError, require
from ..images import to_pil
from .protocol import Messages, OnToken, Request, ThinkerError, shown

POLL = 0.1  # seconds between two looks whether the user has cancelled
NAMED = 5  # models of a server that are named to a user who asked for another
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a retry, doubling from one to the next
_PASSING = (408, 409, 425, 429)  # and everything from 500 on
# What some models refuse, and what they want instead.
_REFUSED = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None}


class ServerChat:
    """See `protocol.Chat`.

    base_url: up to and with "/v1" or what the server has instead. key_variable: the NAME of the environment variable
    with the key, "" for a server that wants none. timeout: seconds for one answer. retries: after the first try, for
    faults that may pass. concurrency: how many requests at once.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        key_variable: str = "",
        *,
        timeout: float = 120.0,
        retries: int = 4,
        concurrency: int = 4,
    ):
        require("openai")
        self.name = model
        self._base_url = _checked_url(base_url)
        self._key_variable = _checked_variable(key_variable)
        if not model.strip():
            raise RethinkError("model: is empty; give the model's name as the server knows it.")
        numbers = (("timeout", timeout, 1, 3600), ("retries", retries, 0, 20), ("concurrency", concurrency, 1, 64))
        for name, value, low, high in numbers:
            if not low <= value <= high:
                raise RethinkError(f"{name}: expected {low} to {high}, got {value}.")
        self._timeout, self._retries, self.concurrency = timeout, retries, concurrency
        self._left_out: dict[str, str | None] = {}  # what this model has refused
        self._key()  # one that is not set is better missed now than when the first edit has been made

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
        (answer,) = self.chat_all([request], max_tokens=max_tokens, temperature=temperature, on_token=on_token)
        if isinstance(answer, ThinkerError):
            raise answer
        return answer

    def chat_all(
        self, requests: Sequence[Request], *, max_tokens: int, temperature: float, on_token: OnToken | None = None
    ) -> list[str | ThinkerError]:
        """All answers, `concurrency` of them at once. `on_token` is called while waiting, and may raise to cancel."""
        key, over = self._key(), threading.Event()
        with self._client(key) as client:
            pool = ThreadPoolExecutor(min(self.concurrency, max(1, len(requests))))
            try:
                waiting = [pool.submit(self._answer, client, key, r, max_tokens, temperature, over) for r in requests]
                pending = set(waiting)
                while pending:
                    _, pending = wait(pending, timeout=POLL, return_when=FIRST_COMPLETED)
                    if on_token is not None:
                        on_token(0, max_tokens)
                return [future.result() for future in waiting]
            finally:
                over.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _key(self) -> str:
        key = os.environ.get(self._key_variable, "") if self._key_variable else ""
        if self._key_variable and not key.strip():
            # The name is not repeated: it may be a key that was pasted into the wrong field.
            raise RethinkError("key_variable: no environment variable of that name is set; set it, or leave this empty.")
        if not (key.strip().isascii() and key.strip().isprintable()):
            raise RethinkError("key_variable: what it names holds a character that is in no key; copy the key once more.")
        return key.strip()

    def _client(self, key: str) -> Any:
        openai = require("openai")
        return openai.OpenAI(
            base_url=self._base_url, api_key=key or "none", timeout=self._timeout, max_retries=0,
            organization="", project="",
        )  # fmt: skip

    def _answer(
        self, client: Any, key: str, request: Request, max_tokens: int, temperature: float, over: threading.Event
    ) -> str | ThinkerError:
        """over: nobody waits for the answer any more, so that no more tries are made."""
        body = {"model": self.name, "messages": _with_pictures(request), "max_tokens": max_tokens}
        body |= {"temperature": temperature, "seed": request.seed % 2**31}
        tries = 1
        while isinstance(said := self._try(client, body), _Fault):
            if not said.may_pass or tries > self._retries:
                break
            growing = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1))
            if _rest(growing if said.wait is None else said.wait, over):
                break
            tries += 1
        if not isinstance(said, _Fault):
            return said
        where, after = f"{self.name} at {self._base_url}", f" (after {tries} tries)" if tries > 1 else ""
        return ThinkerError(_without(key, f"thinker: {where}: {said.why}{after}."))

    def _try(self, client: Any, body: dict[str, Any]) -> "str | _Fault":
        """One try. What the model refuses is left out and asked again at once, which counts as none."""
        openai = require("openai")
        sent = {self._left_out.get(name, name): value for name, value in body.items()}
        sent.pop(None, None)
        try:
            choice = client.chat.completions.create(**sent).choices[0]
            text = _text_of(choice.message)
            if getattr(choice, "finish_reason", None) == "length" and not choice.message.content:
                return _Fault(f"reasoned until max_tokens ({body['max_tokens']}) were used up; raise max_tokens")
            return text
        except openai.APITimeoutError:
            return _Fault(f"no answer within {self._timeout:g} s", may_pass=True)
        except openai.APIConnectionError as error:
            return _Fault(f"cannot be reached ({_root(error)}); is the server running, and the address right?", may_pass=True)
        except openai.APIStatusError as error:
            refused = _refused(error, sent)
            if refused is None:
                return self._status_fault(client, error)
        except (openai.OpenAIError, ValueError, AttributeError, TypeError, IndexError, KeyError):
            return _Fault("the answer is no chat completion (a web page, or cut off); check the address", may_pass=True)
        self._left_out[refused] = _REFUSED[refused]
        return self._try(client, body)

    def _status_fault(self, client: Any, error: Any) -> "_Fault":
        code, said = error.status_code, _excerpt(error)
        if code in (401, 403):
            return _Fault(f"refuses the key ({code}); check the environment variable that key_variable names")
        if code in (400, 404):
            said += self._models(client, code)
        may_pass = code in _PASSING or code >= 500
        return _Fault(f"error {code}: {said}", may_pass=may_pass, wait=_retry_after(error.response.headers))

    def _models(self, client: Any, code: int) -> str:
        """What a server that knows no such model has instead, or none of this address, as the rest of a sentence."""
        openai = require("openai")
        try:
            names = [model.id for model in client.models.list()]
        except (openai.OpenAIError, ValueError, AttributeError, TypeError):
            return "; is the address right? Most end in /v1" if code == 404 else ""
        if not names or any(name == self.name or name.endswith(f"/{self.name}") for name in names):
            return ""
        return f"; it has {', '.join(difflib.get_close_matches(self.name, names, NAMED, 0))}"


@dataclass(frozen=True)
class _Fault:
    """Why there is no answer. may_pass: another try makes sense, after `wait` seconds where the server asks for that."""

    why: str
    may_pass: bool = False
    wait: float | None = None


def _rest(seconds: float, over: threading.Event) -> bool:
    """Wait before another try; True, and at once, where nobody waits for the answer any more."""
    return over.wait(seconds)


def _refused(error: Any, sent: dict[str, Any]) -> str | None:
    """Which of the parameters that were sent a model refuses, where that is what the error says."""
    if error.status_code not in (400, 422):
        return None
    said = _excerpt(error)
    return next((name for name in _REFUSED if name in sent and re.search(rf"\b{name}\b", said)), None)


def _text_of(message: Any) -> str:
    """The text of a chat completion's message; reasoning that the server took apart is put back before it."""
    text = message.content or ""
    if isinstance(text, list):  # in parts, as Mistral's reasoning models answer
        text = "".join(part["text"] for part in text if part["type"] == "text")
    reasoning = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    if not isinstance(text, str):
        raise TypeError("content")
    if isinstance(reasoning, str) and reasoning.strip() and "</think>" not in text:
        return f"<think>{reasoning}</think>{text}"
    return text


def _with_pictures(request: Request) -> list[dict[str, Any]]:
    """The messages with every image part as a PNG in a data URL."""
    pictures = iter(request.images)

    def part(content: dict[str, Any]) -> dict[str, Any]:
        if content["type"] != "image":
            return content
        file = io.BytesIO()
        to_pil(shown(next(pictures)))[0].save(file, format="PNG")
        url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        return {"type": "image_url", "image_url": {"url": url}}

    return [{**message, "content": [part(p) for p in message["content"]]} for message in request.messages]


def _retry_after(headers: Any) -> float | None:
    """Seconds to wait, from Retry-After in seconds or as a date; None where it is not told or makes no sense."""
    from email.utils import parsedate_to_datetime

    told = headers.get("retry-after", "")
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(told).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), LONGEST_PAUSE) if seconds == seconds else None


def _excerpt(error: Any) -> str:
    body = error.body
    if isinstance(body, list) and body:  # as Gemini says it
        body = body[0].get("error", body[0]) if isinstance(body[0], dict) else body[0]
    told = body.get("message", body) if isinstance(body, dict) else body
    return re.sub(r"<[^>]{0,200}>|\s+", " ", str(told or ""))[:300].strip() or "nothing said"


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)[:200]


def _without(key: str, text: str) -> str:
    return text.replace(key, "…") if key else text


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
        parts.port  # noqa: B018 — raises when it is no number
    except ValueError as error:
        raise RethinkError("base_url: is no address; give for example http://127.0.0.1:8000/v1") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RethinkError("base_url: is no address; give for example http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query:  # nothing secret may get into a record
        raise RethinkError("base_url: no key, name or password belongs into the address; name it in key_variable.")
    return url.strip().rstrip("/").removesuffix("/chat/completions")  # as manuals print it


def _checked_variable(name: str) -> str:
    name = name.strip()
    if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise RethinkError("key_variable: give the NAME of an environment variable, such as OPENAI_API_KEY, not the key.")
    return name
