"""A store to put pairs into."""

import pytest

from rethink.pairs.store import PairStore


@pytest.fixture
def store(tmp_path):
    with PairStore(tmp_path / "s").writing() as store:
        yield store
