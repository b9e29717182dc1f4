"""Reads JSON from strangers within bounds, and makes its texts harmless."""

import json
import math
import re
from pathlib import Path
from typing import Any

DEEPEST = 100  # levels of nesting; our own records have fewer than ten

_HALF = re.compile("[\ud800-\udfff]")


def parse_json(text: str | bytes, *, finite: bool = True) -> Any:
    """The value of a JSON text.

    Raises ValueError with a short reason for anything that is not JSON or is nested too deep, and, if `finite`, for NaN
    and infinite numbers (1e400 is one).
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    level = [value]
    for _ in range(DEEPEST):
        if finite and any(isinstance(each, float) and not math.isfinite(each) for each in level):
            raise ValueError("it has a number that is infinite or not a number")
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return value
    raise ValueError("it is nested too deep")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def read_json_file(path: Path) -> Any:
    """The value of a JSON file. Raises ValueError like `parse_json`, and OSError, also for a device or pipe."""
    if path.exists() and not path.is_file():
        raise OSError("it is not a file")
    return parse_json(path.read_bytes())


def json_text(value: Any, separators: tuple[str, str] | None = None) -> str:
    """JSON that is legible and can always be encoded: lone surrogates, which no encoding supports, are escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=separators)
    return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def replace_surrogates(text: str) -> str:
    """A text that every tokenizer and server can encode: lone surrogates become �."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _HALF.search(text) else text


def replace_surrogates_in(value: Any) -> Any:
    """A JSON value with `replace_surrogates` applied to all its texts and field names."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, list):
        return [replace_surrogates_in(each) for each in value]
    if isinstance(value, dict):
        return {replace_surrogates(name): replace_surrogates_in(each) for name, each in value.items()}
    return value


def defuse_markup(text: str) -> str:
    """A text whose foreign parts cannot act as markup or images, wherever it is displayed."""
    return text.replace("<", "‹").replace(">", "›").replace("](", "] (").replace("[[", "[ [")
