"""The client for OpenAI-compatible servers that chats and editors share.

The key is read from its environment variable at the moment of a call and is stored nowhere: not in this object, not in
an error, a log or a record. It is sent to the server that the owner of this machine has paired it with (`trust`), and
nowhere else.
"""

import difflib
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from ..errors import RethinkError
from .address import parse_address
from .exchange import LONGEST_REPLY, ExchangeError, Limit, Reply, TimeIsUp, exchange
from .faults import LONGEST_PAUSE, Fault, read_json
from .proxies import find_proxy
from .redaction import redact
from .trust import Trust, read_trust

T = TypeVar("T")
POLL = 0.1  # seconds between checks whether the user has canceled
MAX_SUGGESTIONS = 5  # models to suggest if a server does not have the chosen one
FIRST_PAUSE = 1.0  # seconds before the first retry, then doubled each time up to LONGEST_PAUSE


class ServerClient:
    """One model of a server.

    base_url: up to and including "/v1", or what the server has instead. key_variable: the NAME of the environment variable
    with the key, "" for a server that needs none. timeout: seconds for one attempt, from the DNS lookup to the last
    byte of the answer. retries: after the first attempt, for temporary faults. concurrency: how many requests at once;
    callers have to respect it. trust: which servers may be sent images and keys; by default those in the settings file
    of this machine's owner. longest: maximum bytes of an answer.
    Raises RethinkError for anything that is missing or not allowed, before the first edit has been made.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        key_variable: str,
        *,
        timeout: float,
        retries: int,
        concurrency: int,
        trust: Trust | None = None,
        longest: int = LONGEST_REPLY,
    ):
        self.model, self.concurrency = model, concurrency
        self.origin, self._path = parse_address(base_url)
        self._key_variable = _checked_variable(key_variable)
        if not model.strip():
            raise RethinkError("model: is empty; give the name that the server uses for the model.")
        numbers = (("timeout", timeout, 1, 3600), ("retries", retries, 0, 20), ("concurrency", concurrency, 1, 64))
        for name, value, low, high in numbers:
            if not low <= value <= high:
                raise RethinkError(f"{name}: expected {low} to {high}, got {value}.")
        self._timeout, self._retries, self._longest = timeout, retries, longest
        self.key()
        trust = trust or read_trust()
        if self._key_variable:
            trust.check_key(self._key_variable, self.origin)
        trust.check_images(self.origin)
        find_proxy(self.origin)

    def key(self) -> str:
        """The current key; "" for a server that needs none. Raises RethinkError if it is missing or damaged."""
        key = os.environ.get(self._key_variable, "") if self._key_variable else ""
        if self._key_variable and not key.strip():
            # The name is not repeated: it may be a key that was pasted into the wrong field.
            raise RethinkError(
                "key_variable: no environment variable of that name is set; set it, or leave this empty."
            )
        if not (key.strip().isascii() and key.strip().isprintable()):
            raise RethinkError("key_variable: the variable contains a character that no key has; copy the key again.")
        return key.strip()

    def ask(
        self, request: Callable[[Limit], T | Fault], key: str, over: threading.Event, *, repeat_slow: bool = True
    ) -> T | Fault:
        """The result of a request, which is retried after temporary faults.

        request: one attempt, with `send`. over: set when nobody is waiting any longer, to end the retries. repeat_slow:
        whether it is also retried if the server may still be working on it. A final Fault names the server and contains
        nothing of the key; it is still `retryable` if a later attempt may help.
        """
        tries = 1
        while isinstance(result := self._try(request, over), Fault):
            if not result.retryable or tries > self._retries or (result.slow and not repeat_slow):
                break
            growing = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1))
            if _sleep(growing if result.wait is None else result.wait, over):
                break
            tries += 1
        if not isinstance(result, Fault):
            return result
        why, after = redact(key, result.why).rstrip("."), f" (after {tries} tries)" if tries > 1 else ""
        return replace(result, why=f"{self.model} at {self.origin}{self._path}: {why}{after}.")

    def _try(self, request: Callable[[Limit], T | Fault], over: threading.Event) -> T | Fault:
        try:
            return request(Limit(self._timeout, over, self._longest))
        except TimeIsUp:
            return Fault(f"no answer within {self._timeout:g} s", retryable=True, slow=True)
        except ExchangeError as error:
            return Fault(str(error), error.retryable)

    def send(self, method: str, path: str, key: str, limit: Limit, data: bytes | None = None, kind: str = "") -> Reply:
        """One exchange with a path below the base_url. kind: the data's Content-Type. Raises ExchangeError."""
        more = {"Accept": "application/json"} | ({"Content-Type": kind} if kind else {})
        return exchange(method, self.origin, self._path + path, _headers(key) | more, data, limit)

    def get_file(self, path: str, key: str, limit: Limit) -> Reply:
        """Get a path of the server, counted from its root, not from the base_url. Raises ExchangeError."""
        return exchange("GET", self.origin, path, _headers(key), None, limit)

    def with_models(self, fault: Fault, status: int, key: str, limit: Limit) -> Fault:
        """The fault that a server answered with this status, with a hint: the models that it has, if the chosen one may
        be unknown to it, or a question about the address, if that may be wrong."""
        hint = self._models(key, status, limit) if status in (400, 404) else ""
        return replace(fault, why=fault.why + hint)

    def _models(self, key: str, code: int, limit: Limit) -> str:
        names = None
        try:
            reply = self.send("GET", "/models", key, limit)
            if reply.status == 200:
                names = [model["id"] for model in read_json(reply.data)["data"] if isinstance(model["id"], str)]
        except (ExchangeError, KeyError, TypeError):
            pass
        if names is None:
            return "; is the address right? Most end in /v1" if code == 404 else ""
        if not names or any(name == self.model or name.endswith(f"/{self.model}") for name in names):
            return ""
        near = difflib.get_close_matches(
            self.model, [redact(key, name)[:100] for name in names[:1000]], MAX_SUGGESTIONS, 0
        )
        return f"; it has {', '.join(near)}"


def _headers(key: str) -> dict[str, str]:
    return {"User-Agent": "rethink"} | ({"Authorization": f"Bearer {key}"} if key else {})


def _sleep(seconds: float, over: threading.Event) -> bool:
    """Wait before a retry; return True at once if nobody is waiting for the answer any longer."""
    return over.wait(seconds)


def _checked_variable(name: str) -> str:
    name = name.strip()
    if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise RethinkError(
            "key_variable: give the NAME of an environment variable, such as OPENAI_API_KEY, not the key."
        )
    return name
