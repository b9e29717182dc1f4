"""Which pairs are as good as another one, and which only look like it."""

import numpy as np

from rethink.pairs.review.duplicates import NearDuplicates
from rethink.pairs.review.filters import score
from rethink.pairs.store import EditPair
from tests.support.scored_pairs import add_pair, invert_region, reject_reasons


def test_near_duplicates_and_several_edits_of_one_picture(store):
    before, after, region = invert_region()
    add_pair(store, "first", before, after, region)
    noisy = (after.astype(int) + 1).clip(0, 255).astype(np.uint8)
    add_pair(store, "copy", noisy[:, ::-1][:, ::-1], noisy, region)
    score(store)
    assert reject_reasons(store, outside=1, changed=0)["copy"] == [f"nearly the same as another pair ({'first':>016})"]
    assert reject_reasons(store, outside=1, changed=0, duplicates=-1)["copy"] == []


def test_another_edit_of_the_same_picture_is_no_duplicate(store):
    before, after, region = invert_region()
    other_before, _, other_region = invert_region(box=(70, 110))
    first = add_pair(store, "first", before, after, region, operation="cover")
    second = EditPair(
        "5" * 16,
        store.image_path("5" * 16, "input"),
        first.target,
        "Other.",
        store.image_path("5" * 16, "region"),
        "cover",
    )
    store.write_image(second.input, other_before)
    store.write_image(second.region, other_region)
    store.add(second)
    score(store)
    assert all(not why for why in reject_reasons(store).values())


def test_hashes_that_differ_in_few_bits_are_found():
    near = NearDuplicates(3)
    near.add("00000000000000ff", "a")
    assert near.find("00000000000000f8") == "a" and near.find("00010002000400ff") == "a"
    assert near.find("00000000000000e0") is None and near.find("ffffffffffffffff") is None
    rng = np.random.default_rng(0)
    values = [int(v) for v in rng.integers(0, 2**63, 200)]
    for value in values:
        near.add(f"{value:016x}", value)
    for value in values:
        flipped = value ^ sum(1 << int(bit) for bit in rng.choice(63, 3, replace=False))
        assert near.find(f"{flipped:016x}") is not None
