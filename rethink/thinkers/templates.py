"""Renders a conversation with a model's own chat template: a foreign program, which jinja runs in a sandbox, and whose
time and length are limited here."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ..errors import RethinkError, lazy_import
from ..model_files import read_json
from ..weights import shortened
from .protocol import Messages, ThinkerError

SECONDS = 10  # to render a conversation, which normally takes milliseconds
LONGEST = 2**22  # characters of a conversation; more than any model reads
LARGEST = 2**20  # characters of a template; a hundred times today's


def find_template(folder: Path, tokenizer: Any) -> str:
    """The chat template of a model whose processor is not opened: its tokenizer's, or the file where processors keep
    theirs.

    Raises RethinkError if there is none.
    """
    template = tokenizer.chat_template
    if isinstance(template, dict):  # several, by name
        template = template.get("default")
    if not template and (folder / "chat_template.jinja").is_file():  # transformers 5
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    if not template and (folder / "chat_template.json").is_file():  # transformers 4
        template = read_json("thinker", folder / "chat_template.json").get("chat_template")
    if not isinstance(template, str) or not template.strip():
        raise RethinkError(f"thinker: {folder} has no chat template; download its chat_template.jinja or .json again.")
    return template


def check_template(folder: Path, template: Any) -> None:
    """Raise RethinkError for an invalid template, or one that computes powers, which nothing can interrupt."""
    for text in template.values() if isinstance(template, dict) else [template]:
        if not isinstance(text, str):
            continue
        if len(text) > LARGEST:
            raise RethinkError(f"thinker: the chat template of {folder} has {len(text)} characters; download it again.")
        jinja2 = lazy_import("jinja2")
        try:
            powers = any(value == "**" for _, kind, value in jinja2.Environment().lex(text) if kind == "operator")
        except jinja2.TemplateError as error:
            raise RethinkError(f"thinker: the chat template of {folder} is damaged: {shortened(error)}") from error
        if powers:
            raise RethinkError(f"thinker: the chat template of {folder} computes powers (**), which no template needs.")


def as_text(reader: Any, messages: Messages, template: str | None = None) -> str:
    """The conversation as rendered by `reader`, a tokenizer or a processor, with `template` or its own.

    Special tokens are removed from what users wrote. Raises ThinkerError for a template that fails.
    """
    tokenizer = reader if hasattr(reader, "all_special_tokens") else reader.tokenizer
    reserved = [token for token in tokenizer.all_special_tokens if token]

    def plain(text: str) -> str:
        for token in reserved:
            text = text.replace(token, token[1:-1])  # "<|im_end|>" → "|im_end|"
        return text

    cleaned = [
        {**m, "content": [{**p, "text": plain(p["text"])} if p["type"] == "text" else p for p in m["content"]]}
        for m in messages
    ]
    options = {"chat_template": template} if template is not None else {}
    try:
        with _within(SECONDS):
            text = reader.apply_chat_template(cleaned, tokenize=False, add_generation_prompt=True, **options)
    except Exception as error:  # a template can raise anything
        raise ThinkerError(
            f"thinker: the model's chat template fails: {shortened(error)}; choose another model."
        ) from error
    if len(text) > LONGEST:
        raise ThinkerError(
            f"thinker: the model's chat template expands a conversation to {len(text)} characters; choose another "
            "model."
        )
    return text


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in templates that run longer: at their next line or call."""
    end = time.monotonic() + seconds

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > end:
            raise TimeoutError(f"it took longer than {seconds} seconds")
        return look if frame.f_code.co_filename == "<template>" else None  # jinja's name for what it compiles

    before = sys.gettrace()
    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)
