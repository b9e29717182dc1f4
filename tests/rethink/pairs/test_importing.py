"""Datasets as people and strangers leave them: one bad entry costs itself alone, and is said."""

import io
import json
import os
import resource
import socket
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
import zlib

import pytest
from PIL import Image

from rethink.errors import RethinkError
from rethink.pairs import formats
from rethink.pairs.formats import import_dataset
from rethink.pairs.store import PairStore
from tests.support.hosts import PACK_ROOT
from tests.support.pairs import draw_image as drawn

DEEP = '{"a":' * 3000 + "1" + "}" * 3000


def png(seed=0):
    data = io.BytesIO()
    Image.fromarray(drawn(24, 32, seed)).save(data, "PNG")
    return data.getvalue()


GOOD = [png(0), png(1)]


def put(path, data=GOOD[0]):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def imported(name, data, root):
    """([instruction], {where: why}) of a dataset."""
    with PairStore(root / "store").writing() as store:
        why = {}
        counts = import_dataset(store, name, data, why.__setitem__)
    said = [pair.instruction for pair in store]
    assert counts == (len(said), len(why)) and {record["why"] for record in store.skipped} == set(why.values())
    for text in said:
        assert text and text.isprintable() and "\ufffd" not in text
    return said, why


def folders(root, *names, text="make it red"):
    """A dataset of targets and controls of some names, with their captions."""
    for name in names:
        put(root / "target" / f"{name}.png", png(zlib.crc32(name.encode()) % 999))
        put(root / "control" / f"{name}.png", png(1))
        if text is not None:
            put(root / "target" / f"{name}.txt", text)
    return root


# Folders of images


def test_one_spelling_of_a_name_is_as_good_as_another(tmp_path):
    """Letters that a Mac takes apart, and capitals, in images, captions and controls."""
    for side, form in (("target", "NFC"), ("control", "NFD")):
        put(tmp_path / "d" / side / f"{unicodedata.normalize(form, 'café')}.png")
    put(tmp_path / "d/target" / f"{unicodedata.normalize('NFD', 'café')}.TXT", "make it red")
    put(tmp_path / "d/target/IMG_1.PNG", GOOD[1])
    put(tmp_path / "d/control/img_1.jpg", GOOD[1])
    put(tmp_path / "d/target/Img_1.txt", "make it blue")
    assert imported("ai-toolkit", tmp_path / "d", tmp_path) == (["make it blue", "make it red"], {})


def test_names_that_may_be_several_are_skipped(tmp_path):
    data = folders(tmp_path / "d", "good", "A", text="make it red")
    (data / "control/A.png").unlink()
    for name in ("a.png", "a.jpg"):
        put(data / "control" / name)
    put(data / "control/lonely.png")
    said, why = imported("ai-toolkit", data, tmp_path)
    assert said == ["make it red"] and "2 images of this name" in why["target/A.png"]
    assert why["control/lonely.png"] == "target has no image of this name"


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "link", "loop", "empty", "torn", "huge", "text"])
@pytest.mark.parametrize("file", ["target/bad.png", "control/bad.png", "target/bad.txt"])
def test_whatever_lies_there_for_a_file_is_skipped_at_once(tmp_path, kind, file, monkeypatch):
    data = folders(tmp_path / "d", "good", "bad")
    path = data / file
    path.unlink()
    monkeypatch.chdir(path.parent)  # a socket's path is short
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        put(tmp_path / "secret.png")
        path.symlink_to(tmp_path / "secret.png")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "huge":
        with open(path, "wb") as hole:
            hole.truncate(1_500_000_000)
    else:
        put(
            path,
            {"empty": b"", "torn": GOOD[0][:-40] if file.endswith("png") else b"\xff\xfe\x00", "text": b"\x00" * 30}[
                kind
            ],
        )
    said, why = imported("ai-toolkit", data, tmp_path)
    assert said == ["make it red"] and list(why) == ["target/bad.png"]
    assert not (kind == "link" and "leads out" not in why["target/bad.png"])


def test_an_image_that_makes_its_reader_fail_in_any_way_is_skipped(tmp_path, monkeypatch):
    errors = [TypeError, AttributeError, ZeroDivisionError, MemoryError, RecursionError, Image.DecompressionBombError]
    data = folders(tmp_path / "d", *"abcdefg")

    def read(file, real=formats.read_picture):
        if errors:
            raise errors.pop()("odd")
        return real(file)

    monkeypatch.setattr(formats, "read_picture", read)
    said, why = imported("ai-toolkit", data, tmp_path)
    assert said == ["make it red"] and len(why) == 6


def test_a_second_import_says_the_same_and_notes_it_once(tmp_path):
    data = folders(tmp_path / "d", "good", "bad")
    (data / "control/bad.png").unlink()
    for _ in range(2):
        with PairStore(tmp_path / "s").writing() as store:
            assert import_dataset(store, "ai-toolkit", data)[1] == 1
    assert len(list(store.skipped)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "caf\ufffd",
        "a\x00b\x00c",
        "a\x07",
        '"\ud800"'.encode("utf-8", "surrogatepass"),
        "x" * 20_000,
        " \n\x85\u2028 ",
        b"se\xf1or",
        b"ok \xe2\x9c",
    ],
)
def test_a_caption_that_is_damaged_never_gets_into_a_store(tmp_path, text):
    data = folders(tmp_path / "d", "good", "bad")
    put(data / "target/bad.txt", text)
    said, why = imported("musubi-tuner", data, tmp_path)
    assert said == ["make it red"] and list(why) == ["target/bad.png"]


@pytest.mark.parametrize(
    ("contents", "said"),
    [((), "it is empty"), (("a.png", "b.png"), "it holds a.png, b.png"), (("<img src=x>.png",), "‹img")],
)
@pytest.mark.parametrize(
    "name", ["ai-toolkit", "imagefolder", "diffsynth", "instruct-pix2pix", "webdataset", "fal-zip"]
)
def test_an_empty_or_other_folder_is_said(tmp_path, name, contents, said):
    (tmp_path / "d").mkdir()
    for file in contents:
        put(tmp_path / "d" / file)
    with pytest.raises(RethinkError, match=f"^import: .*{said}"):
        imported(name, tmp_path / "d", tmp_path)


# Tables


def table(root, text, name="metadata.csv", sides=("target", "control")):
    for seed, side in enumerate(sides):
        put(root / side / "a.png", png(seed))
        put(root / side / "b é.png", png(seed + 2))
    put(root / name, text)
    return root


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
    assert imported("diffsynth", table(tmp_path / "d", text.encode(codec)), tmp_path) == (["make it red"], {})


@pytest.mark.parametrize(
    "path",
    [
        "target/b é.png",
        "target/b%20%C3%A9.png",
        "target/b e\u0301.png",
        "TARGET\\B É.PNG",
        "target//b é.png",
        "/target/b é.png",
        "D:\\target\\b é.png",
        "file:///C:/old%20disk/set/target/b%20é.png",
    ],
)
def test_a_path_in_a_table_is_found_in_other_spellings(tmp_path, path):
    record = {"image": path, "prompt": "make it red", "edit_image": "control/a.png"}
    assert imported("diffsynth", table(tmp_path / "d", json.dumps([record]), "metadata.json"), tmp_path) == (
        ["make it red"],
        {},
    )


def test_a_name_with_a_backslash_is_found_where_a_file_has_that_very_name(tmp_path):
    data = table(tmp_path / "d", "image,prompt,edit_image\ntarget\\a.png,make it red,control/a.png\n")
    put(data / "target\\a.png", b"no image")
    said, why = imported("diffsynth", data, tmp_path)
    assert not said and "picture" in next(iter(why.values()))


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "C:\\Windows\\secret.png",
        "/etc/passwd",
        "target/../../secret.png",
        "\\\\server\\secret.png",
        "http://x/a.png",
        "target/a\x00.png",
        "a" * 5000,
        ["control/a.png", "control/a.png"],
        {"path": "control/a.png"},
        7,
        "nothing.png",
        "D:\\other\\target\\a.png",
    ],
)
def test_a_path_that_leads_out_or_nowhere_is_skipped(tmp_path, path):
    put(tmp_path / "secret.png")
    rows = [
        {"image": "target/a.png", "prompt": "make it red", "edit_image": before} for before in (path, "control/a.png")
    ]
    said, why = imported("diffsynth", table(tmp_path / "d", json.dumps(rows), "metadata.json"), tmp_path)
    assert said == ["make it red"] and len(why) == 1


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
    said, why = imported("diffsynth", table(tmp_path / "d", text, name), tmp_path)
    assert said == ["make it 1", "make it 3"]
    if name.endswith("l") or torn.startswith("{"):
        assert len(why) == 1


def test_a_line_in_another_encoding_is_skipped_alone(tmp_path):
    text = (
        (ROW % "café").encode() + b"\n" + (ROW % "X").encode().replace(b"X", b"se\xf1or") + b"\n" + (ROW % 3).encode()
    )
    said, why = imported("diffsynth", table(tmp_path / "d", text, "metadata.jsonl"), tmp_path)
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
    said, skipped = imported("diffsynth", table(tmp_path / "d", text), tmp_path)
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
        imported("diffsynth", table(tmp_path / "d", text, name), tmp_path)


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "METADATA.JSONL"])
def test_an_imagefolder_has_a_table_of_either_kind(tmp_path, name):
    record = {
        "input_image_file_name": "input\\a.png",
        "edited_image_file_name": "edited/a.png",
        "edit_prompt": "make it red",
    }
    text = json.dumps(record) if name.lower().endswith("l") else "\n".join(map(",".join, (record, record.values())))
    assert imported("imagefolder", table(tmp_path / "d", text, name, ("input", "edited")), tmp_path) == (
        ["make it red"],
        {},
    )


def test_a_table_that_is_a_pipe_or_larger_than_memory_is_one_sentence(tmp_path):
    os.mkfifo(table(tmp_path / "d", "").joinpath("metadata.jsonl"))
    (tmp_path / "d/metadata.csv").unlink()
    with pytest.raises(RethinkError, match="it is no file"):
        imported("diffsynth", tmp_path / "d", tmp_path)
    with open(table(tmp_path / "e", "", "metadata.json") / "metadata.json", "wb") as hole:
        hole.truncate(2**31)
    with pytest.raises(RethinkError, match="larger than 256 MB"):
        imported("diffsynth", tmp_path / "e", tmp_path)


def test_a_table_that_is_torn_all_over_is_given_up(tmp_path):
    torn = 'target/a.png,"torn,control/a.png\n' * 1500
    _, why = imported("diffsynth", table(tmp_path / "d", f"image,prompt,edit_image\n{torn}"), tmp_path)
    assert len(why) == 1001 and "read no further" in list(why.values())[-1]


# InstructPix2Pix


@pytest.mark.parametrize(
    "prompt",
    ['{"edit": "make', "[]", DEEP, '{"edit": "\\ud83d"}', '{"edit": 7}', '{"edit": "x", "output": 1e999}', None],
)
def test_a_torn_prompt_costs_its_pair_alone(tmp_path, prompt):
    for number in (0, 1, 2):
        for side in (0, 1):
            put(tmp_path / f"d/{number}/7_{side}.jpg", png(2 * number + side))
        put(tmp_path / f"d/{number}/prompt.json", f'{{"edit": "make it {number}"}}')
    (tmp_path / "d/1/prompt.json").unlink()
    if prompt is not None:
        put(tmp_path / "d/1/prompt.json", prompt)
    said, why = imported("instruct-pix2pix", tmp_path / "d", tmp_path)
    assert (
        said == ["make it 0", "make it 2"] and list(why) == ["1/7_1.jpg"] and "prompt" in why["1/7_1.jpg"]
    ) or "instruction" in why["1/7_1.jpg"]


def test_half_a_pair_and_other_endings_are_seen(tmp_path):
    for name in ("3_0.png", "3_1.PNG", "4_0.jpg", "5_1.jpg"):
        put(tmp_path / "d/0" / name, png(zlib.crc32(name.encode()) % 99))
    for folder in "01":
        put(tmp_path / "d" / folder / "prompt.json", '{"edit": "make it red"}'.encode("utf-16"))
    said, why = imported("instruct-pix2pix", tmp_path / "d", tmp_path)
    assert said == ["make it red"] and set(why) == {"0/4_0.jpg", "0/5_1.jpg", "1"}


# Archives


def zipped(path, entries, **options):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


PAIR = {"g_start.png": GOOD[0], "g_end.png": GOOD[1], "g.txt": "make it red"}


def test_a_zip_from_a_mac_is_read(tmp_path):
    entries = {
        unicodedata.normalize(form, f"set/é{side}"): data
        for (side, data), form in zip(
            {"_start.png": GOOD[0], "_End.PNG": GOOD[1], ".TXT": "make it red"}.items(),
            ("NFD", "NFC", "NFD"),
            strict=True,
        )
    }
    entries |= {"__MACOSX/set/._é_start.png": b"x", "set/._é_start.png": b"x"}
    assert imported("fal-zip", zipped(tmp_path / "d/pairs.ZIP", entries).parent, tmp_path) == (["make it red"], {})


def test_entries_of_a_zip_that_are_too_large_by_their_word_or_in_truth_are_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(formats.archives, "MOST_IMAGE", 100_000)
    flat = b"\0" * 300_000
    entries = {
        f"{key}_{side}.png": flat if (key, side) in {("a", "start"), ("b", "end")} else GOOD[1]
        for key in "abc"
        for side in ("start", "end")
    }
    path = zipped(
        tmp_path / "d/x.zip", {**PAIR, **entries, **{f"{key}.txt": "x" for key in "ab"}, "c.txt": "x" * 3_000_000}
    )
    data = bytearray(path.read_bytes())
    for place in range(len(data) - 4):  # b says that it is small
        if data[place : place + 4] == b"PK\1\2" and data[place + 46 : place + 55] == b"b_end.png":
            data[place + 24 : place + 28] = (5000).to_bytes(4, "little")
    path.write_bytes(data)
    said, why = imported("fal-zip", path.parent, tmp_path)
    assert said == ["make it red"] and set(why) == set("abc")


def test_a_torn_zip_among_good_ones_and_what_is_no_zip_is_skipped(tmp_path):
    for name in "ac":
        zipped(tmp_path / f"d/{name}.zip", {**PAIR, "g.txt": f"make it {name}"})
    put(tmp_path / "d/b.zip", (tmp_path / "d/a.zip").read_bytes()[:-30])
    os.mkfifo(tmp_path / "d/e.zip")
    (tmp_path / "d/f.zip").mkdir()
    said, why = imported("fal-zip", tmp_path / "d", tmp_path)
    assert said == ["make it a", "make it c"] and set(why) == {"b.zip", "e.zip", "f.zip"}


def test_odd_entries_of_a_zip_are_skipped(tmp_path):
    path = zipped(
        tmp_path / "d/x.zip",
        {**PAIR, "x_end.png": GOOD[0], "x.txt": "x", "y_start.png": GOOD[0], "z_start.png": b"", "z_end.png": b""},
    )
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as archive:
        for name in ("l_start.png", "l_end.png", "l.txt"):
            archive.writestr(name, GOOD[0])
    said, why = imported("fal-zip", path, tmp_path)
    assert said == ["make it red"] and set(why) == set("xyzl")


def tarred(path, entries):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


SAMPLE = {"input.png": GOOD[0], "target.png": GOOD[1], "txt": b"make it red"}


def hole(name, size):
    """A member of an old GNU tar that says it is a file of `size` bytes, all of them a hole."""
    entry = tarfile.TarInfo(name)
    entry.size = 0
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:398], header[398:410] = b"%011o\0" % size, b"%011o\0" % 0
    header[483:495] = b"%011o\0" % size
    header[148:156] = b"%06o\0 " % sum(header[:148] + b" " * 8 + header[156:])
    return bytes(header)


def test_a_tar_with_a_hole_costs_nothing(tmp_path):
    """1.5 kB that say they are an image of 4 GB: in a process that may have one."""
    good = tarred(tmp_path / "d/x.tar", {f"a.{key}": data for key, data in SAMPLE.items()}).read_bytes()
    put(
        tmp_path / "d/x.tar",
        hole("b.input.png", 4 * 2**30) + hole("b.target.png", 4 * 2**30) + hole("b.txt", 2**30) + good,
    )
    program = (
        "import sys; from rethink.pairs.formats import import_dataset; from rethink.pairs.store import PairStore\n"
        "with PairStore(sys.argv[2]).writing() as store:\n"
        "    print(import_dataset(store, 'webdataset', sys.argv[1]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "d"), str(tmp_path / "s")],
        cwd=PACK_ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (2**31, 2**31)),
        check=False,
    )
    assert run.stdout == "(1, 1)\n", run.stderr


def test_odd_members_of_a_tar_are_skipped_alone(tmp_path):
    parts = {f"{key}.{part}": data for key in "abcdfe" for part, data in SAMPLE.items()}
    parts |= {
        "b.txt": b"x" * 3_000_000,
        "c.txt": b"se\xf1or",
        "d.input.png": b"torn",
        "e.json": DEEP.encode(),
        "._a.input.png": b"x",
    }
    del parts["f.target.png"]
    said, why = imported("webdataset", tarred(tmp_path / "d/x.tar", parts).parent, tmp_path)
    assert said == ["make it red"] and len(why) == 4  # a and e are the same pair
    assert "Windows-1252" in why["x.tar/c"] and "larger than 1 MB" in why["x.tar/b"]


@pytest.mark.parametrize("end", [700, 1100, 2000])
def test_a_torn_tar_gives_what_is_whole_and_the_next_is_read(tmp_path, end):
    for name in "ab":
        tarred(
            tmp_path / f"d/{name}.tar",
            {f"{name}.{key}": data for key, data in {**SAMPLE, "txt": name.encode()}.items()},
        )
    put(tmp_path / "d/a.tar", (tmp_path / "d/a.tar").read_bytes()[:end])
    put(tmp_path / "d/c.tar", zlib.compress(b"x" * 1000))
    os.mkfifo(tmp_path / "d/d.tar")
    said, why = imported("webdataset", tmp_path / "d", tmp_path)
    assert said == ["b"] and {"c.tar", "d.tar"} <= set(why) and any(name.startswith("a.tar") for name in why)
