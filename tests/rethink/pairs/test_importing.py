"""Datasets as people and strangers leave them: one bad entry costs itself alone, and is said."""

import json
import os
import socket

import pytest
from PIL import Image

from rethink.errors import RethinkError
from rethink.pairs import importing
from rethink.pairs.importing import import_dataset
from rethink.pairs.store import PairStore
from tests.support.datasets import GOOD, counts, import_pairs, write_control_folders, write_file
from tests.support.pairs import draw_image


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "link", "loop", "empty", "torn", "huge", "text"])
@pytest.mark.parametrize("file", ["target/bad.png", "control/bad.png", "target/bad.txt"])
def test_whatever_lies_there_for_a_file_is_skipped_at_once(tmp_path, kind, file, monkeypatch):
    data = write_control_folders(tmp_path / "d", "good", "bad")
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
        write_file(tmp_path / "secret.png")
        path.symlink_to(tmp_path / "secret.png")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "huge":
        with open(path, "wb") as hole:
            hole.truncate(1_500_000_000)
    else:
        write_file(
            path,
            {"empty": b"", "torn": GOOD[0][:-40] if file.endswith("png") else b"\xff\xfe\x00", "text": b"\x00" * 30}[
                kind
            ],
        )
    said, why = import_pairs("ai-toolkit", data, tmp_path)
    assert said == ["make it red"] and list(why) == ["target/bad.png"]
    assert not (kind == "link" and "leads out" not in why["target/bad.png"])


def test_an_image_that_makes_its_reader_fail_in_any_way_is_skipped(tmp_path, monkeypatch):
    errors = [TypeError, AttributeError, ZeroDivisionError, MemoryError, RecursionError, Image.DecompressionBombError]
    data = write_control_folders(tmp_path / "d", *"abcdefg")

    def read(file, real=importing.read_pixels):
        if errors:
            raise errors.pop()("odd")
        return real(file)

    monkeypatch.setattr(importing, "read_pixels", read)
    said, why = import_pairs("ai-toolkit", data, tmp_path)
    assert said == ["make it red"] and len(why) == 6


def test_a_second_import_says_the_same_and_notes_it_once(tmp_path):
    data = write_control_folders(tmp_path / "d", "good", "bad")
    (data / "control/bad.png").unlink()
    for _ in range(2):
        with PairStore(tmp_path / "s").writing() as store:
            assert import_dataset(store, "ai-toolkit", data).skipped == 1
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
    data = write_control_folders(tmp_path / "d", "good", "bad")
    write_file(data / "target/bad.txt", text)
    said, why = import_pairs("musubi-tuner", data, tmp_path)
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
        write_file(tmp_path / "d" / file)
    with pytest.raises(RethinkError, match=f"^import: .*{said}"):
        import_pairs(name, tmp_path / "d", tmp_path)


def test_an_import_never_leaves_the_dataset(tmp_path):
    data = tmp_path / "data"
    (data / "input").mkdir(parents=True)
    Image.fromarray(draw_image()).save(tmp_path / "secret.png")
    Image.fromarray(draw_image()).save(data / "input/a.png")
    (data / "input/link.png").symlink_to(tmp_path / "secret.png")
    rows = [
        {"input_image_file_name": path, "edited_image_file_name": "input/a.png", "edit_prompt": "x"}
        for path in ("../secret.png", str(tmp_path / "secret.png"), "input/link.png", "input/missing.png", "")
    ]
    rows.append({"input_image_file_name": "input/a.png", "edited_image_file_name": "input/a.png", "edit_prompt": ""})
    (data / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with PairStore(tmp_path / "s").writing() as store:
        assert counts(import_dataset(store, "imagefolder", data)) == (0, 6)
    reasons = [record["why"] for record in store.skipped]
    assert (
        sum("leads out" in why for why in reasons) == 3
        and sum("missing" in why or "cannot be read" in why for why in reasons) == 2
    )
    assert "no instruction" in reasons[-1]
