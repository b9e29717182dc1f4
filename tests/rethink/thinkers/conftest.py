"""Miniature thinkers in folders."""

import pytest

from tests.support.miniature_thinkers import write_thinker


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Family → transformers folder, to read."""
    base = tmp_path_factory.mktemp("thinkers")
    return {family: write_thinker(base / family, family) for family in ("Qwen3VL", "Qwen2_5_VL")}
