"""Reads captions, tables and records as people have them: any encoding, any size, damaged. Whatever cannot be read
correctly is rejected with the reason."""

from __future__ import annotations

import codecs
import io
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import RethinkError, reason_of
from .text_encodings import CONTROL, certain, possible

MOST_BYTES = 2**20  # of a caption or a single record
MOST_TABLE = 2**28  # bytes of a table, which is held in memory as a whole
MOST_LINE = 2**20  # characters of a line
MOST_CHARACTERS = 10_000  # of an instruction; editors read about 2,000 at most
DEEPEST = 64  # a record within a record within …
HEAD = 2**16  # bytes that tell the encoding of a long file

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16's, with which it begins
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    b"\x84\x31\x95\x33": "gb18030",
}
DAMAGE = (
    (re.compile("\ufffd"), "it contains �, where another program could not read it"),
    (re.compile("[\ud800-\udfff]"), "it contains half a character"),
    (CONTROL, "it contains control characters, so it is not text"),
    (re.compile("[\ufffe\uffff]"), "it contains something that is not a character"),
)
UNMARKED = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
SCREEN = str.maketrans("<>`[]{}|*\\", "‹›'()()¦∗/")


def show_name(name: object, longest: int = 80) -> str:
    """A foreign name or text for use in one of our sentences: one line, shortened, and never markup."""
    text = " ".join(CONTROL.sub(" ", str(name)).split()).translate(SCREEN)
    text = re.sub("[\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]", "�", text).replace("&", "＆")
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def check_text(text: object, what: str = "its text", longest: int = MOST_CHARACTERS) -> str:
    """Return the text. Raises RethinkError with the reason if it is not text, damaged, or too long."""
    if not isinstance(text, str):
        raise RethinkError(f"{what} is not text but {type(text).__name__}")
    for damage, why in DAMAGE:
        if damage.search(text):
            raise RethinkError(f"{what} cannot be used: {why}")
    if len(text) > longest:
        raise RethinkError(f"{what} has {len(text):,} characters, more than {longest:,}")
    return text


def decode_text(data: bytes, what: str = "its text") -> str:
    """The text of a file: by its byte order mark, as UTF-16 or UTF-32 without one, as UTF-8, or in an older encoding if
    there is no doubt which. Raises RethinkError naming the encodings that it may be in."""
    mark, codec = _marked(data)
    try:
        text = data[len(mark) :].decode(codec or "utf-8")
    except UnicodeDecodeError as error:
        if codec:
            raise RethinkError(f"{what} cannot be read: it is marked as {codec.upper()} but is damaged") from error
        text = _unmarked(data) or certain(data)
        if text is None:
            raise RethinkError(f"{what} cannot be read: it {_seems(data)}; save it as UTF-8") from error
    if not codec and CONTROL.search(text):
        text = _unmarked(data) or text
    text = text.removesuffix("\x1a")  # the end-of-file mark of DOS
    if CONTROL.search(text):
        raise RethinkError(f"{what} cannot be read: it {_seems(data)}; save it as UTF-8")
    return text


def _marked(data: bytes) -> tuple[bytes, str]:
    return next(((mark, codec) for mark, codec in MARKS.items() if data.startswith(mark)), (b"", ""))


def _unmarked(data: bytes) -> str | None:
    """The text of UTF-16 or UTF-32 without a mark, or None. Its zero bytes are halves of ASCII characters (at least of
    spaces), or quarters of all characters."""
    texts = []
    for codec in UNMARKED if b"\0" in data else ():
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        damaged = any(damage.search(text) for damage, _ in DAMAGE)
        sure = codec.startswith("utf-32") or any(map(str.isascii, text))
        if sure and not damaged and (rows := _rows(text)):
            texts.append((rows, text))
    return min(texts)[1] if texts else None


def _has_control(data: bytes) -> bool:
    return bool(re.search(b"[\x00-\x08\x0e-\x1f\x7f]", data))


def _rows(text: str) -> int:
    """A score for how few Unicode blocks a text uses; 0: it has too many scripts, or characters that no text has."""
    rows = {ord(character) >> 8 for character in text}
    scripts = {row for row in rows if not 0x34 <= row < 0xD8}  # ideographs and Hangul have many rows
    written = len(scripts) <= 6 and all(character.isprintable() or character.isspace() for character in text)
    return len(rows) if written else 0


def _seems(data: bytes) -> str:
    if names := list(possible(data)):
        return f"seems to be {' or '.join(names[:3])}, not UTF-8"
    if _has_control(data):
        return "contains control characters: it is not text, or it is UTF-16 without a mark"
    whole = data.decode("utf-8", "ignore").encode()
    if sum(byte > 127 for byte in whole) > len(data) - len(whole):
        return "is UTF-8 with damaged characters"
    names = _guess(data)
    return f"may be {names}, not UTF-8" if names else "has an unknown encoding"


def _guess(data: bytes) -> str:
    """The guess of a library that comes with ComfyUI, good enough for a hint."""
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return ""
    best = from_bytes(data[:HEAD]).best()
    return best.encoding if best and not best.encoding.startswith("utf") else ""


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading. Raises RethinkError for anything but a file: a pipe would block forever."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise RethinkError("it is not a file")
        with open(path, "rb") as file:
            yield file
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if isinstance(error, RethinkError):
            raise
        raise RethinkError(reason_of(error)) from error


def read_bytes(path: Path, most: int) -> bytes:
    """The contents of a file. Raises RethinkError with the reason for anything but a file, and for more than `most` bytes."""
    with open_file(path) as file:
        return read_at_most(file, most)


def read_at_most(file, most: int) -> bytes:
    """The rest of an open file, read in pieces, since its stated size is not trusted."""
    parts, size = [], 0
    while part := file.read(min(2**20, most + 1 - size)):
        parts.append(part)
        size += len(part)
        if size > most:
            raise RethinkError(f"it is larger than {show_size(most)}")
    return b"".join(parts)


def show_size(size: int) -> str:
    """A limit in a readable form."""
    return f"{size >> 20:,} MB" if size >= 2**20 else f"{size:,} bytes"


def text_lines(path: Path) -> Iterator[tuple[int, str | RethinkError]]:
    """Yield (number, the line with its end, or why it cannot be read) for a file of any length.

    Lines end in LF, CR LF or CR.
    Raises RethinkError if the file itself cannot be read.
    """
    with open_file(path) as file:
        head = file.read(HEAD)
        mark, codec = _marked(head)
        codec = codec or _codec_of(head)
        file.seek(len(mark))
        # Bytes that are not UTF-8 become surrogates, so that each line is judged on its own.
        errors = "surrogateescape" if codec == "utf-8" else "replace"
        lines = io.TextIOWrapper(file, codec, errors, newline="")
        yield from enumerate(map(_line, _bounded(lines)), 1)


def _codec_of(head: bytes) -> str:
    """The codec of UTF-16 or UTF-32 without a mark, else utf-8."""
    for end in (len(head) // 4 * 4, len(head) // 4 * 4 - 4):  # the first may cut a character in two
        if (text := _unmarked(head[:end])) is not None:
            return next(codec for codec in UNMARKED if head[:end].decode(codec, "replace") == text)
    return "utf-8"


def _bounded(lines: io.TextIOWrapper) -> Iterator[str]:
    """The lines; of one that is too long, just enough to detect that."""
    while line := lines.readline(MOST_LINE + 1):
        yield line
        while len(line) > MOST_LINE and not line.endswith(("\n", "\r")):
            line = lines.readline(MOST_LINE + 1)


def _line(line: str) -> str | RethinkError:
    try:
        if len(line) > MOST_LINE:
            raise RethinkError(f"it has more than {MOST_LINE:,} characters")
        if re.search("[\udc80-\udcff]", line):
            line = decode_text(line.encode("utf-8", "surrogateescape"), "it")
        return check_text(line, "it", MOST_LINE)
    except RethinkError as error:
        return error


def parse_json(text: str | bytes) -> object:
    """The value of foreign JSON.

    Raises RethinkError with the reason, and the line if there are several, for invalid JSON, for NaN and infinity
    (1e400), and for nesting that is too deep to walk through.
    """
    try:
        text = text if isinstance(text, str) else text.decode().removeprefix("\ufeff")
        value = _DECODER.decode(text)
        return _within_depth(value) if text.count("{") + text.count("[") > DEEPEST else value
    except (ValueError, RecursionError) as error:
        raise _no_json(error) from error


def parse_piece(text: str, place: int) -> tuple[object, int]:
    """(the JSON value that starts at `place`, where it ends). Raises RethinkError like `parse_json`."""
    try:
        value, end = _DECODER.raw_decode(text, place)
        return _within_depth(value), end
    except (ValueError, RecursionError) as error:
        raise _no_json(error) from error


def _no_json(error: Exception) -> RethinkError:
    if isinstance(error, RethinkError):
        return error
    deep = isinstance(error, RecursionError)
    return RethinkError(f"it is nested more than {DEEPEST} deep" if deep else f"it is not JSON: {show_name(error)}")


def _no_number(name: str) -> float:
    raise RethinkError(f"{name} is not a JSON number")


def _number(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise RethinkError(f"{show_name(digits, 20)} is too large a number")
    return number


def _within_depth(value: object) -> object:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise RecursionError


_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_number)


def parse_record(text: str | bytes) -> dict:
    """A JSON object. Raises RethinkError like `parse_json`."""
    record = parse_json(text)
    if not isinstance(record, dict):
        raise RethinkError("it is not a record")
    return record


def read_json(path: str | Path, name: str) -> object:
    """The value in a foreign JSON file. Raises RethinkError naming the input, the file and the reason."""
    try:
        return parse_json(decode_text(read_bytes(Path(path), MOST_TABLE), "it"))
    except RethinkError as error:
        raise RethinkError(f"{name}: cannot read {path}: {error}.") from error


def good_lines(path: str | Path, name: str) -> Iterator[tuple[int, str]]:
    """(number, line) of a foreign text file. Raises RethinkError naming the input, the file and an unreadable line."""
    try:
        for number, line in text_lines(Path(path)):
            if isinstance(line, RethinkError):
                raise RethinkError(f"line {number}: {line}")
            yield number, line
    except RethinkError as error:
        raise RethinkError(f"{name}: cannot read {path}: {error}.") from error


def read_jsonl(path: str | Path, name: str) -> Iterator[dict]:
    """The records of a foreign JSON Lines file. Raises RethinkError naming the input, the file and an invalid line."""
    for number, line in good_lines(path, name):
        if line.strip():
            try:
                record = parse_record(line)
            except RethinkError as error:
                raise RethinkError(f"{name}: line {number} of {path} is not a JSON record: {error}.") from error
            yield record


def one_line(text: str) -> str:
    """A text with every run of whitespace as one space, and without lone surrogates."""
    return " ".join(text.encode("utf-8", "ignore").decode().split())
