"""A judge on loopback that answers a miniature's questions."""

import pytest

from rethink.thinkers.critique import Thinker
from rethink.thinkers.openai_chat import OpenAIChat
from tests.support.benchmark_miniatures import judge_reply
from tests.support.servers import completion, openai_server


def answer(body):
    """By the first text of what is asked."""
    parts = body["messages"][0]["content"]
    return 200, completion(judge_reply(next(part["text"] for part in parts if part["type"] == "text"))), {}


@pytest.fixture
def server():
    with openai_server() as here:
        here.replies = [answer]
        yield here


@pytest.fixture
def judge(server):
    return Thinker(OpenAIChat(server.url, "judge-1", retries=0, concurrency=3), max_tokens=500, temperature=0.0)
