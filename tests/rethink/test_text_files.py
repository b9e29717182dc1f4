"""Texts as people have them: read rightly in any encoding, or not, with the reason."""

import os
import re

import pytest

from rethink.errors import RethinkError
from rethink.text_files import (
    MOST_BYTES,
    MOST_LINE,
    check_text,
    decode_text,
    parse_json,
    read_bytes,
    read_jsonl,
    show_name,
    text_lines,
)

TEXTS = [
    "red",
    "Make the café’s sign blue.",
    "把帽子变成红色",
    "把帽子變成紅色，並添加幾隻飛鳥。",
    "帽子を赤くしてください。",
    "모자를 빨간색으로 바꿔 주세요",
    "Сделай шляпу красной",
    "اجعل القبعة حمراء",
    "Change the man’s hat\r\nto red 🎩",
    "เปลี่ยนหมวกเป็นสีแดง",
]
UNICODE = ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("codec", UNICODE)
@pytest.mark.parametrize("text", TEXTS)
def test_unicode_is_read_marked_or_not(text, codec):
    """Of ideographs alone, UTF-16 without a mark may be any of the older encodings."""
    try:
        assert decode_text(text.encode(codec)) == text
    except RethinkError as error:
        assert codec in ("utf-16-le", "utf-16-be") and not re.search("[ -~]", text), error


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\xff\xfea",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"a\0b",
        "ок ✓ caf".encode() + b"\xe9",
        b"\x1b$B$3\x1b(B",
        b"ab\x07",
        b"abc\x07",
    ],
)
def test_what_is_no_text_or_torn_is_refused(data):
    with pytest.raises(RethinkError, match="cannot be read"):
        decode_text(data)


def test_marks_and_ends_of_files_are_no_text():
    assert decode_text(b"\xef\xbb\xbfred\x1a") == "red" and decode_text(b"\xff\xfe") == ""


@pytest.mark.parametrize("text", ["a\ufffd", "a\ud83d", "a\x00", "a\x9b", "a" * 10_001, 7, None, ["a"]])
def test_no_instruction_is_damaged_or_endless(text):
    with pytest.raises(RethinkError, match="^its instruction"):
        check_text(text, "its instruction")


@pytest.mark.parametrize("codec", [*UNICODE, "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_read_in_any_encoding_with_any_ends(tmp_path, codec, end):
    (tmp_path / "t").write_bytes(end.join(["a", "Mädchen, größer", "c" * 70_000, ""]).encode(codec))
    assert [(n, line.strip()) for n, line in text_lines(tmp_path / "t")] == [
        (1, "a"),
        (2, "Mädchen, größer"),
        (3, "c" * 70_000),
    ]


def test_one_line_that_cannot_be_read_leaves_the_others(tmp_path):
    (tmp_path / "t").write_bytes("é\n".encode() + b"se\xf1or\n" + b"x" * (MOST_LINE + 5) + b"\na\x00\nlast")
    lines = [line for _, line in text_lines(tmp_path / "t")]
    assert [lines[0], lines[4]] == ["é\n", "last"] and [type(line) for line in lines[1:4]] == [RethinkError] * 3
    assert "Windows-1252" in str(lines[1]) and "characters" in str(lines[2]) and "control" in str(lines[3])


@pytest.mark.parametrize("kind", ["pipe", "folder", "missing", "huge", "nul"])
def test_what_is_no_file_or_too_large_is_said_at_once(tmp_path, kind):
    path = tmp_path / ("a\0b" if kind == "nul" else "x")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        with open(path, "wb") as file:
            file.truncate(3 * 2**30)  # a hole: it takes no room
    with pytest.raises(RethinkError):
        read_bytes(path, MOST_BYTES)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 500 + "1" + "}" * 500,
        "[" * 65 + "]" * 65,
        "NaN",
        "[1e400]",
        "[-Infinity]",
        "{",
        '{"a": 1,}',
        "",
        "\ud800",
    ],
)
def test_json_that_does_harm_is_one_sentence(text):
    with pytest.raises(RethinkError):
        parse_json(text)


def test_good_json_is_read():
    assert (
        parse_json("[" * 60 + "1e3" + "]" * 60)
        and parse_json('"\\ud83c\\udfa9"') == "🎩"
        and parse_json(b"\xef\xbb\xbf[1]") == [1]
    )


def test_a_line_of_json_that_is_none_is_named(tmp_path):
    (tmp_path / "t").write_text('{"a": 1}\n{"a": 1e999}\n')
    with pytest.raises(RethinkError, match="^x: line 2 of .*1e999 is too large"):
        list(read_jsonl(tmp_path / "t", "x"))


def test_a_strangers_name_in_a_sentence_is_no_markup():
    shown = show_name('<img src=x onerror="a()">![x](http://x/y.png)\n\x07\u202e' + "a" * 200)
    assert not set(shown) & set("<>[]`&\n\x07\u202e") and len(shown) == 80
