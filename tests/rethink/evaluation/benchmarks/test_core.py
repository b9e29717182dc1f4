"""What the benchmarks share."""

import math

import pytest

from rethink.evaluation.benchmarks.core import Figure, Item, Summary, as_flag, count, is_given, mean, natural_key


def test_flags_of_strangers_tables():
    assert [as_flag(value) for value in (True, "True", "true", 1, "1.0")] == [True] * 5
    assert [as_flag(value) for value in (None, "", "False", False, 0, math.nan)] == [False] * 6
    assert [is_given(value) for value in (None, "", math.nan, 0, False, "x")] == [False, False, False, True, True, True]


def test_coverage_is_of_all_items_and_nothing_has_no_mean():
    items = [Item(str(number), "group", "make it red") for number in range(4)]
    asked, read, missing = count(items, {"0": {"score": 1.0}, "1": None})
    summary = Summary((Figure("all", "score", 1.0, 1),), asked, read, missing)
    assert (asked, read, missing, summary.coverage) == (2, 1, 2, 0.25)
    assert mean([]) is None and Summary((), 0, 0).coverage == 0
    assert summary.value("all", "score") == 1.0
    with pytest.raises(KeyError):
        summary.value("all", "accuracy")


def test_numbers_sort_as_numbers():
    assert sorted(["10", "2", "a1", "1-2"], key=natural_key) == ["1-2", "2", "10", "a1"]
