"""Removes a server's key from the server's texts, in whatever form it appears.

A server may repeat a key in an error, a model's name or an answer: cut off, broken by spaces or tags, in capitals,
encoded. Every piece that is long enough to identify it is removed before a text is stored anywhere.
"""

import base64
import html
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

LETTERS, BASE64, HEX = 6, 8, 12  # characters of each form that are a piece of the key: six letters are eight of base64
# The dummy keys in manuals, for servers that accept any key, are not secret, and these words are needed in texts.
_PLACEHOLDERS = {
    "a",
    "an",
    "api",
    "any",
    "anything",
    "apikey",
    "auth",
    "bearer",
    "changeme",
    "compatible",
    "default",
    "demo",
    "dummy",
    "empty",
    "example",
    "fake",
    "foo",
    "gpt",
    "here",
    "key",
    "koboldcpp",
    "llama",
    "llamacpp",
    "lm",
    "lmstudio",
    "local",
    "localai",
    "localhost",
    "my",
    "na",
    "needed",
    "no",
    "none",
    "not",
    "null",
    "nokey",
    "ollama",
    "openai",
    "placeholder",
    "required",
    "secret",
    "sk",
    "something",
    "studio",
    "test",
    "tgi",
    "token",
    "unused",
    "vllm",
    "x",
    "xx",
    "xxx",
    "your",
}
LONGEST = 200_000  # characters of a text that can be redacted; a longer text that contains a piece is dropped entirely
_SPELLING = (
    r"(?P<tag><[^<>]{0,200}>)|(?P<url>%[0-9A-Fa-f]{2})|(?P<json>\\u[0-9A-Fa-f]{4})|(?P<hex>\\x[0-9A-Fa-f]{2})"
    r"|(?P<entity>&#?\w{1,8};)|(?P<break>\\[nrtbf])"
)
_SPELLED, _PIECE = re.compile(_SPELLING), re.compile(f"{_SPELLING}|.", re.DOTALL)
# Spaces of all widths (even zero), combining accents, and other invisible characters.
_UNSEEN = re.compile(
    r"[\s\x00-\x20\x7f-\xa0\xad\u0300-\u036f\u0600-\u0605\u061c\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f"
    r"\u3000\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]+"
)


def redact(key: str, text: str) -> str:
    """The text with “…” in place of every piece of the key. A dummy key ("ollama") stays."""
    if not is_secret(key) or not _holds(key, text):
        return text
    if len(text) > LONGEST:
        return "…"
    read = list(_letters(text))
    hidden = bytearray(len(text))
    for form, length in _forms(key):
        _hide(read, form, length, hidden)
        _hide([piece for piece in read if piece[0].isalnum()], form, length, hidden)
    return re.sub(
        "\0+", "…", "".join("\0" if hide else letter for letter, hide in zip(text.replace("\0", " "), hidden))
    )


def _holds(key: str, text: str) -> bool:
    """Whether a text contains any piece of the key. Every text goes through this, so it must be fast."""
    spelled = _seen(_SPELLED.sub(_read, text))
    plain = "".join(re.findall(r"[^\W_]+", spelled))
    return any(piece in spelled or piece in plain for form, length in _forms(key) for piece in _pieces(form, length))


def is_secret(key: str) -> bool:
    """Whether a key has to be hidden: it is long or has digits, and is more than the words of dummy keys."""
    words = re.findall("[a-z]+|[0-9]+", key.lower())
    if all(word in _PLACEHOLDERS or (word.isdigit() and len(word) < 5) for word in words):
        return False
    return len(key) >= (8 if re.search("[0-9]", key) else 12)


def _hide(read: list[tuple[str, int, int]], form: str, length: int, hidden: bytearray) -> None:
    """Mark in `hidden` the parts of a text, read as (letter, start, end), that are pieces of a form."""
    spelled, pieces = "".join(letter for letter, _, _ in read), _pieces(form, length)
    for at in range(len(spelled) - length + 1):
        if spelled[at : at + length] in pieces:
            start, end = read[at][1], read[at + length - 1][2]
            hidden[start:end] = b"\1" * (end - start)


@lru_cache(64)
def _pieces(form: str, length: int) -> frozenset[str]:
    plain = "".join(letter for letter in form if letter.isalnum())
    return frozenset(text[at : at + length] for text in (form, plain) for at in range(len(text) - length + 1))


@lru_cache(4)
def _forms(key: str) -> list[tuple[str, int]]:
    """The forms of a key in lowercase, each with the length of a piece."""
    data = key.encode()
    forms = [(key.lower(), LETTERS), (key[::-1].lower(), LETTERS), (data.hex(), HEX)]
    for shift in range(3):  # the key's position in the encoded text
        # The first letters and the last depend on the text around the key.
        inner = (
            base64.b64encode(bytes(shift) + data)[-(-shift * 8 // 6) : (shift + len(data)) * 8 // 6].decode().lower()
        )
        forms += [(inner, BASE64), (inner.replace("+", "-").replace("/", "_"), BASE64)]
    return forms


def _letters(text: str) -> Iterator[tuple[str, int, int]]:
    """The readable characters of a text, in order: (lowercase letter, start, end)."""
    for piece in _PIECE.finditer(text):
        for letter in _seen(_read(piece)):
            yield letter, piece.start(), piece.end()


def _seen(text: str) -> str:
    return _UNSEEN.sub("", unicodedata.normalize("NFKD", text).lower())


def _read(piece: re.Match) -> str:
    """The meaning of a piece of text: "" for a tag, the letter of an escape."""
    kind, spelled = piece.lastgroup, piece[0]
    if kind in ("tag", "break"):
        return ""
    if kind == "url":
        return chr(int(spelled[1:], 16))
    if kind in ("json", "hex"):
        return chr(int(spelled[2:], 16))
    return html.unescape(spelled) if kind == "entity" else spelled
