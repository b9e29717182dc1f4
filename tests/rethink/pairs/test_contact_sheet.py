"""Pairs at a glance, also those that cannot be read."""

import numpy as np

from rethink.pairs.contact_sheet import GAP, SMALL, THUMB, contact_sheet
from rethink.pairs.store import EditPair
from tests.support.lora_training import write_pairs
from tests.support.pairs import make_pair


def test_a_sheet_has_up_to_three_columns(store):
    (pair, _) = store
    widths = [contact_sheet(store, [pair] * count).width for count in (1, 2, 5, 12)]
    assert widths == [widths[0] * columns for columns in (1, 2, 3, 3)]


def test_an_image_is_shown_and_a_missing_one_is_gray(store):
    pair, _ = store
    missing = make_pair(7)
    sheet = np.asarray(contact_sheet(store, [EditPair(pair.id, pair.input, missing.target, "Do it.")]))
    left, right = sheet[: THUMB + 8, : THUMB + 16], sheet[: THUMB + 8, THUMB + 16 :]
    assert (left.std((0, 1)) > 5).all()
    inner = right[THUMB // 2 - 20 : THUMB // 2 + 20, 40:-40].reshape(-1, 3)
    assert (inner == 128).all()


def test_references_are_small_below_their_input(tmp_path):
    store = write_pairs(tmp_path, 2, references=(0, 2))
    plain, dressed = (np.asarray(contact_sheet(store, [pair])) for pair in store)
    assert dressed.shape == (plain.shape[0] + GAP + SMALL, *plain.shape[1:])
    row = dressed[2 * GAP + THUMB + 1 : 2 * GAP + THUMB + SMALL // 2, : THUMB + GAP].reshape(-1, 3)
    assert (row == (20, 90, 0)).all(1).any() and (row == (20, 90, 40)).all(1).any()


def test_many_references_are_in_rows_as_large_as_few(tmp_path):
    plain, many = (
        np.asarray(contact_sheet(store, list(store)[:1]))
        for store in (write_pairs(tmp_path / str(count), 2, references=(count,)) for count in (0, 50))
    )
    assert many.shape == (plain.shape[0] + 2 * (GAP + SMALL), *plain.shape[1:])
    assert (many[: THUMB + GAP] == plain[: THUMB + GAP]).all(), "input and target stay side by side"
