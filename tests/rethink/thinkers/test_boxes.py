"""Boxes in the ways that models write them."""

import pytest

from rethink.thinkers.boxes import read_edges, read_name


@pytest.mark.parametrize(
    "record",
    [
        {"box": [1, 2, 3, 4]},
        {"bbox_2d": ["1", 2.0, 3, 4]},
        {"box_2d": [2, 1, 4, 3]},
        {"bbox": {"left": 1, "top": 2, "right": 3, "bottom": 4}},
        {"box_2d": {"left": 1, "top": 2, "right": 3, "bottom": 4}},
    ],
)
def test_every_key_and_order(record):
    assert read_edges(record) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    "record",
    [{}, {"box": [1, 2, 3]}, {"box": "abcd"}, {"box": "1234"}, {"box": [1, 2, 3, float("nan")]}, {"box": 5}],
)
def test_what_is_no_box_is_an_error(record):
    with pytest.raises((TypeError, KeyError, ValueError)):
        read_edges(record)


def test_a_name_is_whatever_is_one():
    assert read_name({"label": " a hat "}) == "a hat" and read_name({"label": 5}) == ""
