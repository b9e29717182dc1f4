"""JSON of strangers, read within bounds, and texts of theirs, brought into a shape in which they do no harm."""

import json
import math
import re
from pathlib import Path
from typing import Any

DEEPEST = 100  # lists and objects within each other; no record of ours has ten

_HALF = re.compile("[\ud800-\udfff]")


def parse_json(text: str | bytes, *, finite: bool = True) -> Any:
    """What JSON says.

    Raises ValueError, in a few words, for what is no JSON, for what is nested too deep to be walked through, and where it
    shall be `finite` for numbers that are none or infinite (1e400 is).
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    level = [value]
    for _ in range(DEEPEST):
        if finite and any(isinstance(each, float) and not math.isfinite(each) for each in level):
            raise ValueError("it has a number that is infinite or none")
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return value
    raise ValueError("it is nested too deep")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def read_json_file(path: Path) -> Any:
    """What a JSON file says. Raises ValueError as `parse_json`, and OSError, also where a device or pipe has its name."""
    if path.exists() and not path.is_file():
        raise OSError("it is no file")
    return parse_json(path.read_bytes())


def json_text(value: Any, separators: tuple[str, str] | None = None) -> str:
    """JSON that is legible and can always be encoded: half surrogates, which no encoding has, stand there escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=separators)
    return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def whole_text(text: str) -> str:
    """A text that can be encoded, as every tokenizer and server wants it: half surrogates become �."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _HALF.search(text) else text


def harmless(text: str) -> str:
    """A text for people in which a stranger's words can be neither markup nor images, wherever it is shown."""
    return text.replace("<", "‹").replace(">", "›").replace("](", "] (").replace("[[", "[ [")
