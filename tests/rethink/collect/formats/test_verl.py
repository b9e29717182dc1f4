"""verl's loader: parquet with the images' bytes."""

import io
import json
import sys

import pytest
from PIL import Image

from rethink.collect.formats import verl
from rethink.errors import RethinkError


def test_rows_hold_their_images(rows, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(verl, "ROWS_AT_ONCE", 1)
    table = parquet.read_table(tmp_path / verl.write_verl("rl", rows, tmp_path))
    first, second = table.to_pylist()
    assert first["prompt"][0]["content"].count("<image>") == len(first["images"])
    assert [Image.open(io.BytesIO(image["bytes"])).size for image in first["images"]] == [(64, 64)] * 2
    assert list(first["images"][0]) == ["bytes"]  # its loader takes a path beside them for a second image
    assert json.loads(second["reward_model"]["ground_truth"])["semantic"] == 9
    assert second["extra_info"]["index"] == 1 and second["data_source"] == "rethink"


def test_without_the_package_it_says_which_one(rows, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RethinkError, match="pip install pyarrow"):
        verl.write_verl("rl", rows, tmp_path)
    assert not list(tmp_path.glob("*.parquet"))
