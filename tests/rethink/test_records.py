"""JSON of strangers: what can be walked through, encoded and shown without harm, and what is refused in a sentence."""

import json
import os

import pytest

from rethink.cli.arguments import with_config
from rethink.errors import RethinkError
from rethink.model_files import read_json
from rethink.records import (
    defuse_markup,
    json_text,
    parse_json,
    read_json_file,
    replace_surrogates,
    replace_surrogates_in,
)

DEEP = "[" * 1000 + "]" * 1000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (DEEP, "nested too deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deep"),
        ("[1e400]", "infinite or not a number"),
        ('{"a": {"b": NaN}}', "infinite or not a number"),
        ("-Infinity", "infinite or not a number"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        (b"\xff\xfe\xff", "."),
        ("1" * 5000, "digits"),
    ],
)
def test_what_cannot_be_walked_through_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


def test_what_is_well_is_read_as_it_is():
    record = {"a": [1, 2.5, None, True, "ü\ud83d"], "b": {"c": {}}}
    assert parse_json(json.dumps(record)) == parse_json(json.dumps(record).encode()) == record
    assert parse_json("[" * 90 + "]" * 90)
    assert parse_json("[1e400]", finite=False) == [float("inf")]


def test_half_a_character_is_written_so_that_it_is_read_again():
    record = {"instruction": "make \ud83d it 🔵 snow", "\udc00": 1}
    text = json_text(record)
    assert json.loads(text.encode("utf-8")) == record and "🔵" in text


def test_what_an_editor_is_told_can_be_encoded():
    assert replace_surrogates("a \ud83d b") == "a � b"
    assert replace_surrogates("\ud83d\ude00 🔵") == "😀 🔵", "two halves are one"
    assert replace_surrogates("plain") == "plain"


def test_no_text_of_a_record_keeps_half_a_character():
    record = {"a": ["\ud83d", {"\udc00": "b\ud83d"}], "n": [1, 2.5, None, True], "🔵": "ü"}
    assert replace_surrogates_in(record) == {"a": ["�", {"�": "b�"}], "n": [1, 2.5, None, True], "🔵": "ü"}


def test_a_pipe_is_no_record(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    os.mkfifo(tmp_path / "trajectory.json")
    with pytest.raises(OSError, match="not a file"):
        read_json_file(tmp_path / "trajectory.json")


def test_a_strangers_words_are_no_markup():
    shown = defuse_markup("<img src=x onerror=alert(1)> [[click|https://evil.test]] ![x](https://evil.test/x.png)")
    assert not set("<>") & set(shown) and "[[" not in shown and "](" not in shown
    assert defuse_markup("3 pairs · a → b") == "3 pairs · a → b"


def test_a_model_and_a_config_file_that_are_nested_deep_are_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text(DEEP)
    with pytest.raises(RethinkError, match="^editor: .*nested too deep.*; download it again"):
        read_json("editor", tmp_path / "config.json")
    with pytest.raises(RethinkError, match="^--config: cannot read .*nested"):
        with_config(["synthesize", "--config", str(tmp_path / "config.json")])
    (tmp_path / "config.json").write_text('\ufeff{"pairs": 4}', encoding="utf-8")
    assert with_config(["synthesize", "--config", str(tmp_path / "config.json")])[1] == "--pairs=4"
