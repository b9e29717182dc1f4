"""A table of paths and instructions becomes pairs; a row that is none is skipped with its reason."""

import json

import pytest

from rethink.errors import RethinkError
from rethink.pairs.formats.core import ImportedPair, Skipped
from rethink.pairs.formats.table_pairs import read_table_pairs

COLUMNS = ("before", "input"), ("after",), ("prompt",)


@pytest.fixture
def read(tmp_path):
    """read(row, …): what comes of the rows of a table beside three images."""
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(name.encode())

    def read(*rows):
        (tmp_path / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return list(read_table_pairs(tmp_path, ("other.csv", "table.jsonl"), *COLUMNS))

    return read


def test_a_row_is_a_pair_that_is_read_when_its_turn_comes(read, tmp_path):
    (pair,) = read({"before": "a.png", "after": "b.png", "prompt": "make it red"})
    assert isinstance(pair, ImportedPair) and pair.name == "b.png"
    assert (pair.input(), pair.target(), pair.texts()) == (b"a", b"b", ("make it red", "", ""))
    (tmp_path / "a.png").unlink()
    with pytest.raises(RethinkError):
        pair.input()


def test_columns_have_other_names_and_paths_may_be_lists_of_one(read):
    first, second = read(
        {"INPUT": ["a.png"], "after": "b.png", "prompt": "x"}, {"input": '["c.png"]', "after": "b.png", "prompt": "y"}
    )
    assert (first.input(), second.input()) == (b"a", b"c")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"before": "a.png", "after": ["b.png", "c.png"], "prompt": "x"}, "several targets"),
        ({"before": "A.png", "after": "a.png", "prompt": "x"}, "both of its paths refer to"),
        ({"before": 7, "after": "b.png", "prompt": "x"}, "its image's path"),
    ],
)
def test_a_row_that_is_no_pair_is_skipped_with_its_reason(read, row, why):
    (skipped, pair) = read(row, {"before": "a.png", "after": "b.png", "prompt": "x"})
    assert isinstance(skipped, Skipped) and why in skipped.why and skipped.name.startswith("table.jsonl, ")
    assert isinstance(pair, ImportedPair)


def test_without_a_table_the_folder_is_said(tmp_path):
    with pytest.raises(RethinkError, match="has no other.csv or table.jsonl"):
        list(read_table_pairs(tmp_path, ("other.csv", "table.jsonl"), *COLUMNS))
