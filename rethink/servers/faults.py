"""Why a server gave no answer, in its own words if it has any, and how long it asks to wait."""

import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST_PAUSE = 60.0  # seconds before a retry
LONGEST_EXCERPT = 300  # characters kept of a server's message
DEPTH = 6  # how deep to look for the text in an error record
_PASSING = (408, 409, 425, 429)  # and everything from 500
_FOR_GOOD = ("insufficient_quota", "billing_not_active", "billing_hard_limit_reached")
_NEVER = (501, 505)  # except these
_SLOW = (504, 524)  # a proxy timed out: the server behind it may still be working
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = r"(\d{1,9}(?:\.\d{1,9})?) ?(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)(?![a-z])"
_SPAN = rf"(?:{_PART} ?(?:and |, ?)?)+"
_ASKED = re.compile(rf"\b(?:retry|again|wait|resets?)\b[^.\d]{{0,40}}?({_SPAN})", re.IGNORECASE)


@dataclass(frozen=True)
class Fault:
    """Why there is no answer.

    retryable: whether to retry, after `wait` seconds if the server asks for that. slow: it timed out, and the server
    may still be working on the request.
    """

    why: str
    retryable: bool = False
    wait: float | None = None
    slow: bool = False


def read_json(data: bytes) -> Any:
    """The value of a server's JSON; None if it is invalid or nested too deeply. The header's charset is ignored: JSON
    is UTF-8, and some servers name unknown charsets."""
    try:
        return json.loads(data.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return None


def read_fault(status: int, headers: dict[str, str], data: bytes, has_key: bool) -> Fault:
    """The fault in a reply with an error status. has_key: whether a key was sent, which may be wrong."""
    record = read_json(data)
    error = _error_of(record)
    words = error if error is not None else record if record is not None else data.decode("utf-8", "replace")
    content = make_excerpt(words)
    if status == 401:
        if has_key:
            return Fault(f"rejects the key (401: {content}); check the environment variable named in key_variable")
        return Fault(f"needs a key (401: {content}); name the environment variable that holds it in key_variable")
    wait = read_wait(headers, record, _words(words)) if status in _PASSING or status >= 500 else None
    return Fault(f"error {status}: {content}", _may_pass(status, record, wait), wait, status in _SLOW)


def find_fault(record: Any, choice: Any) -> Fault | None:
    """The fault in a reply whose status says that all went well, or None."""
    for holder in (choice, record):
        error = _error_of(holder)
        if error is not None:
            status, wait = _code(error), read_wait({}, error, _words(error))
            why = f"error {status or ''}".rstrip() + f": {make_excerpt(error)}"
            return Fault(why, _may_pass(status, error, wait), wait, status in _SLOW)
    if isinstance(choice, dict):
        return _refusal(choice)
    return _block(record) or _complaint(record)


def _refusal(choice: dict[str, Any]) -> Fault | None:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal.strip() and not message.get("content"):
        return Fault(f"declines to answer: {make_excerpt(refusal)}")
    reason = str(choice.get("finish_reason") or "")
    if re.match(r"content_filter|safety|prohibited|recitation|blocklist|spii", reason, re.IGNORECASE):
        more = refusal or choice.get("content_filter_results") or choice.get("native_finish_reason") or ""
        return Fault(
            f"its filter stopped the answer ({make_excerpt(reason)})" + (f": {make_excerpt(more)}" if more else "")
        )
    return None


def _block(record: Any) -> Fault | None:
    """The fault in a reply without choices, as Gemini sends for what it blocks, or None."""
    names = ("promptFeedback", "prompt_feedback", "prompt_filter_results")
    content = next((record[name] for name in names if record.get(name)), None) if isinstance(record, dict) else None
    return Fault(f"its filter stopped the question: {make_excerpt(content)}") if content else None


def _complaint(record: Any) -> Fault | None:
    """The fault in an error record of a server's own format."""
    holder = record.get("base_resp", record) if isinstance(record, dict) else None  # MiniMax's format
    content = _message(holder, DEPTH) if isinstance(holder, dict) else ""
    if not content:
        return None
    status, wait = _code(holder), read_wait({}, record, content)
    return Fault(
        f"error {status or ''}".rstrip() + f": {make_excerpt(content)}",
        _may_pass(status, record, wait) or bool(wait),
        wait,
    )


def make_excerpt(content: Any) -> str:
    """The text of an error, short, on one line and without markup."""
    text = _words(content)
    return (text if len(text) <= LONGEST_EXCERPT else text[:LONGEST_EXCERPT].rstrip() + " …") or "nothing said"


def _words(content: Any) -> str:
    text = _message(content, DEPTH)
    if not text:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False) if content else ""
    text = re.sub(r"<(script|style)\b.{0,5000}?</\1>|<[^<>]{0,200}>", " ", text[:5000], flags=re.DOTALL | re.IGNORECASE)
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()


def _message(content: Any, depth: int) -> str:
    """The text of an error record, wherever a server puts it."""
    if isinstance(content, list) and content and depth:
        return _message(content[0], depth - 1)
    if not isinstance(content, dict) or not depth:
        return content if isinstance(content, str) else ""
    words = (
        _message(content.get(name), depth - 1)
        for name in ("message", "error", "detail", "msg", "status_msg", "title", "errors")
    )
    text = next(filter(None, words), "")
    if isinstance(more := content.get("metadata"), dict):  # where OpenRouter quotes its provider
        raw = more.get("raw") or more.get("reasons")
        found = _message(read_json(raw.encode()) if isinstance(raw, str) and raw.startswith("{") else raw, depth - 1)
        text += f" ({found})" if found and found not in text else ""
    return text


def _error_of(record: Any) -> Any:
    """The error in a record, or None; also in a list, as Gemini sends it."""
    if isinstance(record, list) and record:
        record = record[0]
    if not isinstance(record, dict):
        return None
    return record.get("error") or (
        record if record.get("object") == "error" else None
    )  # vLLM's record is the error itself


def _code(error: Any) -> int:
    """The status that an error names, 0 for none."""
    for name in ("code", "status", "status_code"):
        value = error.get(name) if isinstance(error, dict) else None
        if isinstance(value, int) and 100 <= value < 600:
            return value
        if isinstance(value, str) and re.fullmatch(r"[1-5]\d\d", value):
            return int(value)
    return 0


def _may_pass(status: int, record: Any, wait: float | None) -> bool:
    """Whether a retry makes sense: not if credit has run out, which is also a 429."""
    error = _error_of(record) or record
    kinds = {str(error.get(name)) for name in ("code", "type", "status")} if isinstance(error, dict) else set()
    if wait is None and kinds & set(_FOR_GOOD):
        return False
    if not status:
        return bool(kinds & {"rate_limit_exceeded", "server_error", "overloaded_error", "overloaded", "UNAVAILABLE"})
    return status in _PASSING or (status >= 500 and status not in _NEVER)


def read_wait(headers: dict[str, str], record: Any, content: str) -> float | None:
    """Seconds to wait before a retry, at most LONGEST_PAUSE; None if they state none that makes sense.

    If headers and body differ, the longer one counts; the time when limits are reset counts only if nothing else is
    stated.
    """
    waits = [_milliseconds(headers.get("retry-after-ms", "")), _seconds(headers.get("retry-after", ""))]
    waits += [*map(parse_span, _delays(record)), *map(parse_span, (match[1] for match in _ASKED.finditer(content)))]
    waits = [seconds for seconds in waits if seconds is not None]
    if not waits:
        waits = [seconds for seconds in map(parse_span, _resets(headers)) if seconds is not None]
    return min(max(0.0, *waits), LONGEST_PAUSE) if waits else None


def _resets(headers: dict[str, str]) -> list[str]:
    """When the exhausted limits are reset, or the latest reset of all if none is exhausted."""
    names = [name for name in headers if name.startswith("x-ratelimit-reset")]
    used_up = [name for name in names if headers.get(name.replace("-reset", "-remaining"), "").strip() == "0"]
    return [headers[name] for name in used_up or names]


def _delays(record: Any, depth: int = DEPTH) -> Iterator[str]:
    """Every retryDelay (Gemini's RetryInfo) or retry_after in a record, as text."""
    if not depth:
        return
    if isinstance(record, dict):
        for name, value in record.items():
            if name in (
                "retryDelay",
                "retry_delay",
                "retry_after",
                "retryAfter",
                "retry_after_seconds",
                "estimated_time",
            ):
                yield f"{value.get('seconds', '')}" if isinstance(value, dict) else str(value)
            else:
                yield from _delays(value, depth - 1)
    elif isinstance(record, list):
        for value in record[:20]:
            yield from _delays(value, depth - 1)


def parse_span(text: str) -> float | None:
    """Seconds in "34s", "2m3.5s", "120ms", "1 hour", a plain number, or until a timestamp; None for anything else."""
    text = text.strip()
    if re.fullmatch(r"\d{1,13}(\.\d{1,9})?", text):
        number = float(text) / (1 if float(text) < 1e12 else 1000)
        return number if number < 1e9 else number - time.time()  # some give a timestamp, in seconds or milliseconds
    if not re.fullmatch(_SPAN, text, re.IGNORECASE):
        return None
    return sum(float(number) * _UNITS[_unit(unit)] for number, unit in re.findall(_PART, text, re.IGNORECASE))


def _unit(text: str) -> str:
    text = text.lower()
    return "ms" if text.startswith(("ms", "milli")) else text[0]


def _milliseconds(text: str) -> float | None:
    seconds = _seconds(text)
    return None if seconds is None else seconds / 1000


def _seconds(text: str) -> float | None:
    """The seconds in a Retry-After header, which has a number or a date."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return None if math.isnan(seconds) else seconds
