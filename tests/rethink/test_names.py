"""Names for folders and files: those that every system can open, and names made out of what people write."""

import pytest

from rethink.names import (
    MAX_NAME_BYTES,
    is_portable,
    make_portable,
    name_anywhere,
    name_on_server,
    portable_parts,
)

GOOD = [
    "my-pairs",
    "rethink",
    "run 1",
    "ünïcode",
    "犬　猫",
    "🔵",
    "👨‍👩‍👧",
    "a.b",
    "x" * MAX_NAME_BYTES,
    "console",
    "com",
    "100%",
    "a'b",
    "(1)",
]
BAD = [
    "",
    ".",
    "..",
    ".hidden",
    "a.",
    "a ",
    " a",
    "a\t",
    "CON",
    "con",
    "nul.txt",
    "COM1",
    "lpt9.x",
    "COM¹",
    "CON .txt",
    "CONIN$",
    "a:b",
    "a/b",
    "a\\b",
    "a<b",
    'a"b',
    "a|b",
    "a?",
    "a*",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "\ud83d",
    "a\u202egnp.exe",
    "a\u2028b",
    "x" * (MAX_NAME_BYTES + 1),
    "é" * (MAX_NAME_BYTES // 2 + 1),
]


@pytest.mark.parametrize("name", GOOD)
def test_names_that_every_system_can_open(name):
    assert is_portable(name) and portable_parts(f"a/{name}/b") == ("a", name, "b")


@pytest.mark.parametrize("name", BAD)
def test_names_that_some_system_cannot_open(name):
    assert not is_portable(name)


@pytest.mark.parametrize(
    "path", ["", ".", "/", "..", "../a", "a/../b", "/a", "C:\\a", "a/CON/b", "a/b./c", "a/" * 2000 + "a"]
)
def test_paths_that_are_no_names_within_a_folder(path):
    assert portable_parts(path) == ()


def test_paths_in_the_notation_of_any_system():
    assert portable_parts("a\\b/c/") == portable_parts(" ./a//b/c ") == ("a", "b", "c")
    assert portable_parts("a" + "/" * 4000 + "b") == ("a", "b")


@pytest.mark.parametrize(
    "text", [*GOOD, *BAD, "make it <b>snow</b>", "../../etc/passwd", "a\nb", "é" * 500, "🔵" * 300]
)
@pytest.mark.parametrize("longest", [MAX_NAME_BYTES, 41])
def test_whatever_is_written_becomes_a_name(text, longest):
    name = make_portable(text, "run", longest)
    assert is_portable(name) and len(name.encode()) <= longest


def test_a_name_says_what_was_written():
    assert make_portable("make it snow, with 🔵", "run") == "make it snow, with 🔵"
    assert make_portable("red:\n “blue” / green?", "run") == "red “blue” green"
    assert make_portable("wait... then snow", "run") == "wait… then snow"
    assert make_portable("CON", "run") == make_portable(".", "run") == make_portable("\0", "run") == "run"


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "https://api.openai.com", "http://[::1]:8000"])
def test_the_name_of_an_editor_behind_a_server_without_that_server(origin):
    name = name_on_server("owner/painter @ home", origin)
    assert name == f"owner/painter @ home @ {origin}" and name_anywhere(name) == "owner/painter @ home"
    assert is_portable(make_portable(name, "editor"))


@pytest.mark.parametrize("name", ["mini + lora × 1", "my @ v1.safetensors", "kontext + detail @ v2 × 0.8", "a @ http"])
def test_no_other_editor_is_named_like_one(name):
    assert name_anywhere(name) == name
