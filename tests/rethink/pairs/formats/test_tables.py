"""Tables as people have them: from any spreadsheet, in any encoding, torn."""

import os

import pytest

from rethink.errors import RethinkError
from tests.support.datasets import DEEP, import_pairs, write_table


@pytest.mark.parametrize(
    "text",
    [
        "image,prompt,edit_image\ntarget/a.png,make it red,control/a.png\n",
        "image;prompt;edit_image\r\ntarget/a.png;make it red;control/a.png\r\n",
        "image\tprompt\tedit_image\rtarget/a.png\tmake it red\tcontrol/a.png\r",
        "image|prompt|edit_image\ntarget/a.png|make it red|control/a.png\n",
        "sep=;\nimage;prompt;edit_image\ntarget/a.png;make it red;control/a.png\n",
        '"sep=;"\nimage;prompt;edit_image\ntarget/a.png;make it red;control/a.png\n',
        'image, prompt, edit_image\ntarget/a.png, "make it red", control/a.png\n',
        '\ufeff Image ,PROMPT, Edit_Image,score\n./target/a.png,make it red,control\\a.png,"0,5"\n',
        '"prompt";"image";"kontext_images"\n"make it\nred";"C:\\data\\set\\target\\a.png";"/home/me/set/control/A.PNG"\n',
        'image,prompt,edit_image\n\n\nfile:///d:/x/target/a.png,make it red,"[""control/a.png""]"\n',
        "image,prompt,edit_image\ntarget/a.png,make it red,control/a.png,,\n",
    ],
)
@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "utf-16-le"])
def test_a_csv_is_read_as_any_spreadsheet_writes_it(tmp_path, text, codec):
    if text.startswith("\ufeff"):
        codec = codec.replace("utf-16", "utf-16-le") if codec == "utf-16" else codec
    assert import_pairs("diffsynth", write_table(tmp_path / "d", text.encode(codec)), tmp_path) == (["make it red"], {})


ROW = '{"image": "target/a.png", "prompt": "make it %s", "edit_image": "control/a.png"}'


TORN = [
    '{"image": "target/a.png", "prompt": "make it',
    "[1]",
    '"text"',
    DEEP,
    '{"prompt": 1e400}',
    ROW.replace("make it %s", "\\ud83d x"),
    ROW.replace('"make it %s"', '["x"]'),
    ROW.replace("make it %s", "\\u0000"),
    ROW.replace("make it %s", "caf\\ufffd"),
    ROW.replace("a.png", "../x.png", 1) % 9,
    ROW.replace('"make it %s"', "null"),
    '{"image": "target/a.png"}',
    "x" * 2_000_000,
]


@pytest.mark.parametrize("torn", TORN, ids=range(len(TORN)))
@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.json"])
def test_a_torn_record_is_skipped_alone_and_its_line_is_said(tmp_path, torn, name):
    rows = [ROW % 1, torn, ROW % 3]
    text = "\n".join(rows) if name.endswith("l") else "[\n" + ",\n".join(rows) + ",\n]"
    said, why = import_pairs("diffsynth", write_table(tmp_path / "d", text, name), tmp_path)
    assert said == ["make it 1", "make it 3"]
    if name.endswith("l") or torn.startswith("{"):
        assert len(why) == 1


def test_a_line_in_another_encoding_is_skipped_alone(tmp_path):
    text = (
        (ROW % "café").encode() + b"\n" + (ROW % "X").encode().replace(b"X", b"se\xf1or") + b"\n" + (ROW % 3).encode()
    )
    said, why = import_pairs("diffsynth", write_table(tmp_path / "d", text, "metadata.jsonl"), tmp_path)
    assert said == ["make it café", "make it 3"] and "Windows-1252" in why["metadata.jsonl, line 2"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ('target/a.png,"make it red,control/a.png', "quotation marks"),
        ("target/a.png,make it red, please,control/a.png", "4 columns, not 3"),
        ("target/a.png,make it r", "missing"),
        ("target/a.png", "no instruction"),
        ("target/a.png,caf\x00,control/a.png", "control"),
    ],
)
def test_a_torn_row_is_skipped_alone_and_its_line_is_said(tmp_path, row, why):
    text = f'image,prompt,edit_image\ntarget/a.png,one,control/a.png\n{row}\ntarget/a.png,"two\n2",control/a.png\n'
    said, skipped = import_pairs("diffsynth", write_table(tmp_path / "d", text), tmp_path)
    assert said == ["one", "two 2"] and len(skipped) == 1 and why in next(iter(skipped.values()))


@pytest.mark.parametrize(
    ("name", "text", "column", "there"),
    [
        ("metadata.csv", "image,caption,edit_image\na,b,c\n", "prompt", "image, caption, edit_image"),
        ("metadata.csv", "<img>;b\nx;y\n", "edit_image", "‹img›, b"),
        ("metadata.jsonl", '{"image": "a", "text": "b", "edit_image": "c"}\n' * 30, "prompt", "image, text"),
        ("metadata.json", '[{"prompt": "b"}]', "edit_image", "prompt"),
    ],
)
def test_a_missing_column_is_one_sentence_that_says_what_is_there(tmp_path, name, text, column, there):
    with pytest.raises(RethinkError, match=f"^import: .*has no column “{column}”; it has: {there}"):
        import_pairs("diffsynth", write_table(tmp_path / "d", text, name), tmp_path)


def test_a_table_that_is_a_pipe_or_larger_than_memory_is_one_sentence(tmp_path):
    os.mkfifo(write_table(tmp_path / "d", "").joinpath("metadata.jsonl"))
    (tmp_path / "d/metadata.csv").unlink()
    with pytest.raises(RethinkError, match="it is not a file"):
        import_pairs("diffsynth", tmp_path / "d", tmp_path)
    with open(write_table(tmp_path / "e", "", "metadata.json") / "metadata.json", "wb") as hole:
        hole.truncate(2**31)
    with pytest.raises(RethinkError, match="larger than 256 MB"):
        import_pairs("diffsynth", tmp_path / "e", tmp_path)


def test_a_table_that_is_torn_all_over_is_given_up(tmp_path):
    torn = 'target/a.png,"torn,control/a.png\n' * 1500
    _, why = import_pairs("diffsynth", write_table(tmp_path / "d", f"image,prompt,edit_image\n{torn}"), tmp_path)
    assert len(why) == 1001 and "the rest was not read" in list(why.values())[-1]
