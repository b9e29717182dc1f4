"""All layouts: their names, and that a file appears whole."""

import pytest

from rethink.collect.formats import FORMATS
from rethink.collect.formats.core import write_jsonl


def test_every_layout_says_how_to_train_with_its_own_file():
    assert list(FORMATS) == ["trl", "llama-factory", "easyr1", "verl"]
    for name, format in FORMATS.items():
        assert format.name == name and format.parts and "FOLDER" in format.use


def test_a_file_that_cannot_be_finished_is_not_there(tmp_path):
    def records():
        yield {"text": "ü"}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_jsonl(tmp_path / "x.jsonl", records())
    assert not list(tmp_path.iterdir())
