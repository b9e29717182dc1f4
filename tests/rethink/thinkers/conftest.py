"""Miniature thinkers in folders, a server on loopback, and waits in no time."""

import pytest

from tests.support.miniature_thinkers import write_thinker
from tests.support.servers import openai_server


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Family → transformers folder, to read."""
    base = tmp_path_factory.mktemp("thinkers")
    return {family: write_thinker(base / family, family) for family in ("Qwen3VL", "Qwen2_5_VL")}


@pytest.fixture
def server():
    with openai_server() as running:
        yield running
