"""A key is in no text of a server that is kept, and nothing else is taken out."""

import base64
import json
import time

import pytest

from rethink.servers.redaction import is_secret, redact

KEY = "sk-proj-4fK9zQ1xW7bT0mYc"
WORDS = "The star is still red; its skin project is smoky. <answer>make the star blue</answer>"


def encoded(before):
    return base64.b64encode(f"{before}{KEY}:more".encode()).decode()


FORMS = {
    "whole": KEY,
    "begun": KEY[:9],
    "ended": KEY[-8:],
    "six letters": KEY[9:15],
    "capitals": KEY.upper(),
    "reversed": KEY[::-1],
    "spaced": " ".join(KEY),
    "lines": "\n".join(KEY),
    "tags": "<b>" + "</b><i class='x'>".join(KEY),
    "wide": "\u3000".join(KEY),
    "unseen": "\u200b".join(KEY),
    "soft hyphens": "\xad".join(KEY),
    "dashes": "-".join(KEY.replace("-", "")),
    "full width": "".join(chr(ord(letter) + 0xFEE0) for letter in KEY),
    "accents": "\u0301".join(KEY),
    "url": "".join(f"%{ord(letter):02x}" for letter in KEY),
    "json": "".join(f"\\u{ord(letter):04x}" for letter in KEY),
    "escaped": json.dumps("\n".join(KEY)),
    "entities": "".join(f"&#{ord(letter)};" for letter in KEY),
    "hex": KEY.encode().hex(),
    "quoted": f"'{KEY[:8]}' + '{KEY[8:]}'",
}


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_the_key_stays(form):
    cleaned = redact(KEY, f"{WORDS} {FORMS[form]} {WORDS}")
    assert cleaned.startswith(WORDS) and cleaned.endswith(WORDS) and "…" in cleaned
    assert len(cleaned) <= 2 * len(WORDS) + 20


@pytest.mark.parametrize("before", ["", "a", "ab"])
@pytest.mark.parametrize("swap", [str, lambda text: text.replace("+", "-").replace("/", "_"), str.lower])
def test_no_part_of_it_stays_in_base64(before, swap):
    text = swap(encoded(before))
    cleaned = redact(KEY, f"token {text} end")
    inner = swap(base64.b64encode(f"{before}{KEY}".encode()).decode())
    left = [at for at in range(4, len(inner) - 12) if inner[at : at + 8].lower() in cleaned.lower()]
    assert cleaned.startswith("token ") and cleaned.endswith(" end") and not left


def test_every_place_is_cleaned_and_the_rest_left():
    assert redact(KEY, f"a {KEY} b {KEY[:7]} c {KEY[:5]} d") == "a … b … c sk-pr d"
    assert redact(KEY, WORDS) == WORDS and redact("", WORDS) == WORDS and redact(KEY, "") == ""


@pytest.mark.parametrize(
    "key",
    [
        "ollama",
        "sk-none",
        "EMPTY",
        "lm-studio",
        "none",
        "not-needed",
        "sk-no-key-required",
        "sk-1234",
        "secret",
        "sk-xxx",
    ],
)
def test_a_key_that_is_none_takes_no_words_away(key):
    text = f"ollama has no such model; the sk-none of lm-studio is empty, not needed, none required, a secret. {key}"
    assert not is_secret(key) and redact(key, text) == text


@pytest.mark.parametrize(
    "key", ["token-abc123", KEY, "hf_abcDEFghiJKL", "correcthorsebattery", "a1b2c3d4", "0123456789abcdef"]
)
def test_other_keys_are_secrets(key):
    assert is_secret(key) and redact(key, f"bad {key}!") == "bad …!"


@pytest.mark.parametrize("text", [WORDS * 2500, "<" * 200_000, "&#" * 100_000, "%4" * 100_000, f"{WORDS * 2500}{KEY}"])
def test_it_is_fast_on_long_texts(text):
    started = time.thread_time()
    redact(KEY, text)
    assert time.thread_time() - started < 15  # of a slow processor; linear, or it would be hours


def test_of_a_text_too_long_to_be_cleaned_nothing_is_kept():
    assert redact(KEY, WORDS * 3000 + KEY) == "…" and redact(KEY, WORDS * 3000) == WORDS * 3000
