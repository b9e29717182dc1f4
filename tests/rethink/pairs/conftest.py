"""A small store, for tests that only read it."""

import pytest

from rethink.pairs.store import EditPair, PairStore
from tests.support.pairs import draw_image


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Two pairs of images of 48×64 pixels."""
    with PairStore(tmp_path_factory.mktemp("exporting")).writing() as store:
        for number in (1, 2):
            paths = [f"images/00/{number}-{role}.png" for role in ("input", "target")]
            for seed, path in enumerate(paths):
                store.write_image(path, draw_image(48, 64, 2 * number + seed))
            store.add(EditPair(f"{number:016x}", *paths, f"Do {number}."))
    return store
