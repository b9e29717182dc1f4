"""The seeds that a store was worked on with, and what the others have left in it."""

import pytest

from rethink.pairs.seeds import describe_stray_seeds, record_seed
from rethink.pairs.store import PairStore
from tests.support.pairs import make_pair


@pytest.fixture
def store(tmp_path):
    with PairStore(tmp_path / "s").writing() as store:
        yield store


def test_a_seed_is_noted_once_and_the_others_of_the_same_work_are_found(store):
    assert record_seed(store, "a recipe", 1) == []
    assert record_seed(store, "a recipe", 1) == []
    assert record_seed(store, "a recipe", 2) == [1]
    assert record_seed(store, "another", 3) == [], "other work"
    assert record_seed(store, "a recipe", 1) == [2]
    assert [record["seed"] for record in store.seeds] == [1, 2, 3]


def test_every_seed_that_has_left_pairs_gets_a_line(store):
    for number in range(4):
        store.add(make_pair(number, seed=max(number, 1)))
    lines = describe_stray_seeds(store, [1, 2, 9], lambda pair, seed: pair.seed == seed)
    assert lines == [
        "2 pairs of the same kind were made with seed 1; to continue with them, use that seed.",
        "1 pair of the same kind was made with seed 2; to continue with it, use that seed.",
    ]
    assert describe_stray_seeds(store, [], None) == []
