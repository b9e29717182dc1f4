"""What the benchmarks share."""

import math

import pytest

from rethink.errors import RethinkError
from rethink.evaluation.benchmarks.core import (
    Figure,
    Item,
    Summary,
    as_flag,
    count,
    find_result_files,
    image_below,
    is_given,
    mean,
    natural_key,
)
from tests.support.benchmark_miniatures import put


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


def test_results_of_one_run_are_found_wherever_they_lie(tmp_path):
    assert find_result_files(tmp_path, "*.csv") == []
    deep = [put(tmp_path / "m" / "gpt4o" / name, "") for name in ("a.csv", "b.csv")]
    assert find_result_files(tmp_path, "*.csv") == deep == find_result_files(tmp_path / "m", "*.csv")
    put(tmp_path / "n" / "gpt4o" / "a.csv", "")
    with pytest.raises(RethinkError, match="several runs .*give the folder of one"):
        find_result_files(tmp_path, "*.csv")
    high = put(tmp_path / "a.csv", "")
    assert find_result_files(tmp_path, "*.csv") == [high]
    metrics = [put(tmp_path / "k" / category / "metrics.json", "") for category in ("biology", "physics")]
    assert find_result_files(tmp_path, "metrics.json", levels=1) == metrics


@pytest.mark.parametrize(
    "name", ["../x.png", "/x.png", "\\x.png", "C:x.png", "C:\\x.png", "\\\\server\\share\\x.png", ""]
)
def test_an_image_is_looked_for_in_its_folder_alone_on_every_system(tmp_path, name):
    inside = put(tmp_path / "a" / "x.png", "")
    assert image_below("a/x.png", [tmp_path]) == inside
    with pytest.raises(RethinkError, match="is outside the benchmark's folder"):
        image_below(name, [tmp_path])


def test_numbers_sort_as_numbers():
    assert sorted(["10", "2", "a1", "1-2"], key=natural_key) == ["1-2", "2", "10", "a1"]
