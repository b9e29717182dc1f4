"""What all formats are made of."""

import json
from pathlib import Path

import pytest

from rethink.errors import RethinkError
from rethink.pairs.formats.core import (
    Example,
    copy_image,
    copy_references,
    is_image,
    quote_path,
    raise_missing,
    read_text,
    write_json,
)
from tests.support.pairs import make_pair


def test_stems_have_one_length():
    stems = [Example(make_pair(1), number, Path("a.png"), Path("b.png")).stem for number in (0, 12, 34567)]
    assert stems == ["00000000", "00000012", "00034567"]


@pytest.mark.parametrize(
    ("name", "is_one"), [("a.png", True), ("a.JPG", True), ("a.b.webp", True), ("a.txt", False), ("png", False)]
)
def test_an_image_is_known_by_its_ending(name, is_one):
    assert is_image(name) == is_one


def test_an_image_is_copied_with_its_own_ending(tmp_path):
    (tmp_path / "input").mkdir()
    (tmp_path / "a.jpeg").write_bytes(b"pixels")
    assert copy_image(tmp_path / "a.jpeg", tmp_path, "input", "00000007") == "input/00000007.jpeg"
    assert (tmp_path / "input/00000007.jpeg").read_bytes() == b"pixels"


def test_references_are_copied_into_a_folder_each(tmp_path):
    for name in ("hat.jpg", "coat.png"):
        (tmp_path / name).write_bytes(name.encode())
    files = tuple(tmp_path / name for name in ("hat.jpg", "coat.png"))
    found = copy_references(Example(make_pair(1), 7, files[0], files[1], files), tmp_path, "control")
    assert found == ["control-2/00000007.jpg", "control-3/00000007.png"]
    assert [(tmp_path / path).read_bytes() for path in found] == [b"hat.jpg", b"coat.png"]


def test_a_text_is_named_by_its_field():
    assert read_text(None, "prompt") == "" and read_text("make it red", "prompt") == "make it red"
    with pytest.raises(RethinkError, match="^its prompt"):
        read_text(7, "prompt")


def test_what_cannot_be_read_says_why():
    with pytest.raises(RethinkError, match="images is missing"):
        raise_missing()


def test_paths_and_records_survive_quotes_and_letters(tmp_path):
    path = Path('/a "b"/größer')
    assert json.loads(quote_path(path)) == str(path) and "ö" in quote_path(path)
    write_json({"name": "größer"}, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "größer"}
