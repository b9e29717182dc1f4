"""A server with an OpenAI-compatible API, here or elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..loading import Backend, Location, ThinkerConfig

if TYPE_CHECKING:
    from ...servers.trust import Trust
    from ..openai_chat import OpenAIChat


def _open(config: ThinkerConfig, trust: Trust | None) -> OpenAIChat:
    from ..openai_chat import OpenAIChat

    return OpenAIChat(
        config.where,
        config.model,
        config.key_variable,
        timeout=config.timeout,
        retries=config.retries,
        concurrency=config.concurrency,
        trust=trust,
    )


BACKEND = Backend(
    name="server",
    help="any OpenAI-compatible server, here or elsewhere",
    recognizes=None,
    open=_open,
    location=Location(
        "text",
        "base_url",
        "The address of the server, up to /v1. Ollama: http://127.0.0.1:11434/v1. OpenAI: https://api.openai.com/v1. "
        "Gemini: https://generativelanguage.googleapis.com/v1beta/openai. You are asked before your images are sent to "
        "another machine for the first time.",
        "http://127.0.0.1:8000/v1",
    ),
    options=("model", "key_variable", "timeout", "retries", "concurrency"),
    remote=True,
)
