"""Rows of parquet and Arrow files, with images that are read when they are needed."""

import pyarrow
import pytest

from rethink.errors import RethinkError
from rethink.evaluation.benchmarks.tables import find_tables, read_rows
from tests.support.benchmark_miniatures import png, put, write_gedit


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_every_row_with_its_image(form, tmp_path):
    (file,) = find_tables(write_gedit(tmp_path, form))
    rows = list(read_rows(file, ("input_image", "absent")))
    assert [row["key"] for row in rows] == ["k1", "k2", "k3", "k4"] and "absent" not in rows[0]
    assert [row["input_image"]() for row in reversed(rows)] == [png(80), png(60), png(40), png(20)]


def test_images_of_other_shapes(tmp_path):
    cells = [{"bytes": None, "path": "a.png"}, {"bytes": None, "path": None}]
    table = pyarrow.table({"image": cells})
    with pyarrow.OSFile(str(tmp_path / "x.arrow"), "wb") as out, pyarrow.ipc.new_file(out, table.schema) as file:
        file.write_table(table)
    put(tmp_path / "a.png", png())
    beside, nothing = read_rows(tmp_path / "x.arrow", ("image",))
    assert beside["image"]() == png()
    with pytest.raises(RethinkError, match="no image"):
        nothing["image"]()


@pytest.mark.parametrize("name", ["x.arrow", "x.parquet"])
def test_a_file_that_was_cut_off_is_named(name, tmp_path):
    put(tmp_path / name, b"PAR1" + bytes(100))
    put(tmp_path / "cache-1.arrow", b"")
    assert find_tables(tmp_path) == [tmp_path / name] == find_tables(tmp_path / name)
    with pytest.raises(RethinkError, match=f"{name} is broken"):
        list(read_rows(tmp_path / name, ()))
