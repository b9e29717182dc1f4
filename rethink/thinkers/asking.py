"""Asks a thinker many small questions: with retries, answers read as JSON, refusals detected, several at once."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

from ..errors import RethinkError, describe_error
from ..text_files import one_line
from ..threads import DaemonThreads, result_of

if TYPE_CHECKING:
    from torch import Tensor

    from .protocol import Chat, Messages, OnToken

# chat(messages, images, *, max_tokens, seed, temperature) → the answer; images: IMAGE [1, H, W, 3] each. A message is
# {"role", "content": [{"type": "text", "text"} or {"type": "image"}, …]}; the n-th image part is the n-th image.
ChatFn = Callable[..., str]
# map_fn(function, jobs) → its result for each job, in their order, like `map`
MapFn = Callable[[Callable, Iterable], Iterable]

MAX_ATTEMPTS = 3  # at a usable answer
TEMPERATURE = 0.7
MAX_CONSECUTIVE_FAILURES = 20
MAX_TOKENS = 2048  # of an answer, reasoning included
GRACE = 0.5  # seconds that requests in flight get when a run ends
REFUSALS = (
    "i'm sorry",
    "i am sorry",
    "sorry,",
    "unfortunately",
    "i cannot",
    "i can't",
    "i'm unable",
    "i am unable",
    "i won't",
    "as an ai",
)


def chat_fn(chat: Chat, max_tokens: int, on_token: OnToken | None = None) -> ChatFn:
    """A chat as `ask` calls it, but with the user's `max_tokens`."""

    def ask_chat(messages: Messages, images: Sequence[Tensor], *, seed: int, temperature: float, **_: int) -> str:
        options: dict[str, Any] = {"seed": seed, "temperature": temperature, "on_token": on_token}
        return chat.chat(messages, images, max_tokens=max_tokens, **options)

    return ask_chat


def message(role: str, text: str, images: int = 0) -> dict:
    """A message of a conversation, its images before its text."""
    return {"role": role, "content": [{"type": "image"}] * images + [{"type": "text", "text": text}]}


def ask(chat: ChatFn, messages, images, seed: int, read: Callable[[str], Any], attempts: int = MAX_ATTEMPTS) -> Any:
    """The result of `read` on the first answer that it accepts; every attempt has its own seed.

    read: raises RethinkError with the reason for an unusable answer. Raises RethinkError with the last reason, or
    ThinkerUnavailable if the chat itself failed.
    """
    from .answer_text import clean_answer

    reason = RethinkError("the thinker was not asked")
    for attempt in range(attempts):
        try:
            answer = chat(messages, images, max_tokens=MAX_TOKENS, seed=seed + attempt, temperature=TEMPERATURE)
        except Exception as error:  # a backend may raise anything, which must not end a run of days
            reason = ThinkerUnavailable(f"the thinker failed: {describe_error(error)}")
            continue
        try:
            return read(clean_answer(answer))
        except RethinkError as error:
            reason = error
    raise reason


class ThinkerUnavailable(RethinkError):
    """The last attempt got no answer at all; a later run may get one."""


class FailureStreak:
    """Ends a run with a RethinkError if the thinker fails MAX_CONSECUTIVE_FAILURES times in a row, since everything
    after that would be skipped too."""

    def __init__(self):
        self.failures = 0

    def record(self, failed: bool, why: str) -> None:
        """Count one question. failed: whether it got no answer; why: the reason, for the message."""
        self.failures = self.failures + 1 if failed else 0
        if self.failures == MAX_CONSECUTIVE_FAILURES:
            raise RethinkError(
                f"{why} ({MAX_CONSECUTIVE_FAILURES} times in a row); run again when it answers, and the run resumes."
            )


def is_refusal(text: str) -> bool:
    """Whether an answer begins like a refusal."""
    return text.replace("’", "'").lstrip().lower().startswith(REFUSALS)


def strip_reasoning(answer: str) -> str:
    """An answer without its <think> section, even one whose tag was never opened or closed, and without special tokens."""
    from .answer_text import clean_answer

    answer = clean_answer(answer)
    return re.sub(r"<think>.*?(</think>|$)", "", re.sub(r"^.*?</think>", "", answer, flags=re.S), flags=re.S).strip()


def find_json_object(answer: str) -> dict:
    """The first JSON object in an answer, whatever surrounds it. Raises RethinkError if there is none."""
    for value, _, _ in find_json_values(strip_reasoning(answer), "{"):
        if isinstance(value, dict):
            return value
    raise RethinkError(f"the thinker's answer contains no JSON object ({one_line(answer)[:80]!r})")


def find_json_values(text: str, opening: str) -> Iterator[tuple[Any, int, int]]:
    """Every outermost JSON value that begins with one of the characters of `opening`: (value, start, end).

    Raises RethinkError for one that is nested too deeply.
    """
    decoder, at = json.JSONDecoder(), 0
    while found := re.compile(f"[{re.escape(opening)}]").search(text, at):
        at = found.end()
        try:
            value, at = decoder.raw_decode(text, found.start())
        except ValueError:
            continue
        except RecursionError as error:
            raise RethinkError("the thinker's answer is nested too deeply") from error
        yield value, found.start(), at


def thread_map(count: int) -> MapFn:
    """Like `map`, with results in the order of the jobs, but `count` at a time: for work that waits for a server.

    If it ends early (error, Cancel, Ctrl-C), requests in flight get GRACE seconds to finish and no more.
    """

    def map_in_threads(function: Callable, jobs: Iterable) -> Iterator:
        threads, pending = DaemonThreads(count), deque()
        try:
            for job in jobs:
                pending.append(threads.submit(function, job))
                if len(pending) > 2 * count:
                    yield result_of(pending.popleft())
            while pending:
                yield result_of(pending.popleft())
        finally:
            threads.end()
            wait(pending, GRACE)

    return map_in_threads if count > 1 else map
