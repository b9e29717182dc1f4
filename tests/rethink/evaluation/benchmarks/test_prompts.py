"""Prompts are read out of code that is never run."""

import pytest

from rethink.errors import RethinkError
from rethink.evaluation.benchmarks.prompts import fill, find_code_file, read_constants, read_json_prompts


def test_texts_at_the_top_of_a_file_that_cannot_be_imported(tmp_path):
    file = tmp_path / "deep" / "utils.py"
    file.parent.mkdir()
    file.write_text(
        'import nothing\nraise SystemExit\none = """a {b}"""\ntwo = ("x"\n  "y")\nthree = one + two\nfour = 4\n'
        "def f():\n    five = 'inside'\n",
        encoding="utf-8",
    )
    assert find_code_file(tmp_path, "src/utils.py") == file
    assert read_constants(file, ["one", "two"]) == {"one": "a {b}", "two": "xy"}
    for name in ("three", "four", "five"):
        with pytest.raises(RethinkError, match=rf"--benchmark-code: .*no text {name}"):
            read_constants(file, ["one", name])


def test_what_is_no_code_of_the_benchmark(tmp_path):
    with pytest.raises(RethinkError, match="is not a folder"):
        find_code_file(tmp_path / "nowhere", "utils.py")
    with pytest.raises(RethinkError, match="has no utils.py"):
        find_code_file(tmp_path, "utils.py")
    broken = tmp_path / "utils.py"
    broken.write_text("def :", encoding="utf-8")
    with pytest.raises(RethinkError, match="cannot be read as Python"):
        read_constants(broken, ["one"])
    listed = tmp_path / "prompts.json"
    listed.write_text('{"add": "x", "remove": 3}', encoding="utf-8")
    assert read_json_prompts(listed, ["add"]) == {"add": "x"}
    with pytest.raises(RethinkError, match="no text remove"):
        read_json_prompts(listed, ["add", "remove"])


def test_braces_are_filled_in_or_named():
    assert fill("{a} {{b}}", a="{c}") == "{c} {b}"
    with pytest.raises(RethinkError, match="braces"):
        fill("{a} {b}", a=1)
