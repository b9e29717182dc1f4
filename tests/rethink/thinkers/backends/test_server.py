"""A server as a thinker."""

from rethink.thinkers.critique import TEMPLATE
from rethink.thinkers.loading import (
    ThinkerConfig,
    open_chat,
    open_thinker,
)
from rethink.thinkers.openai_chat import OpenAIChat
from tests.support.servers import completion, openai_server


def test_a_server_is_opened_with_what_was_said_of_it():
    with openai_server() as server:
        server.replies = [(200, completion("hello"), {})]
        thinker = open_thinker(
            ThinkerConfig(server.url, "m", timeout=9, retries=0, concurrency=2, max_tokens=77, temperature=0.5)
        )
        chat = thinker.chat
        assert isinstance(chat, OpenAIChat) and (chat.name, chat.concurrency) == ("m", 2)
        assert (thinker.max_tokens, thinker.temperature, thinker.template) == (77, 0.5, TEMPLATE)
        assert chat.chat([], [], max_tokens=5, seed=0, temperature=0) == "hello"


def test_what_a_chat_needs_of_a_device_it_says_itself(tmp_path):
    with openai_server() as server:
        assert open_chat(ThinkerConfig(server.url, "m")).placement == "elsewhere"
