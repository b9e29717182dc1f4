"""Files of a dataset under other spellings and paths, and nothing outside of it."""

import json
import os
import unicodedata
from pathlib import PureWindowsPath

import pytest

from rethink.pairs.formats.dataset_folder import Dataset, Names
from tests.support.datasets import GOOD, import_pairs, write_control_folders, write_file, write_table


def test_one_spelling_of_a_name_is_as_good_as_another(tmp_path):
    """Letters that a Mac takes apart, and capitals, in images, captions and controls."""
    for side, form in (("target", "NFC"), ("control", "NFD")):
        write_file(tmp_path / "d" / side / f"{unicodedata.normalize(form, 'café')}.png")
    write_file(tmp_path / "d/target" / f"{unicodedata.normalize('NFD', 'café')}.TXT", "make it red")
    write_file(tmp_path / "d/target/IMG_1.PNG", GOOD[1])
    write_file(tmp_path / "d/control/img_1.jpg", GOOD[1])
    write_file(tmp_path / "d/target/Img_1.txt", "make it blue")
    assert import_pairs("ai-toolkit", tmp_path / "d", tmp_path) == (["make it blue", "make it red"], {})


@pytest.mark.parametrize(
    "path", [r"C:/x/\\server\share\y.png", "/x/D:y.png", r"/x\y/\z.png", "file:///x/%5C%5Cserver%5Cy.png"]
)
def test_nothing_is_looked_for_outside_on_windows(tmp_path, monkeypatch, path):
    """Where a path is asked for over the network, or on another disk, by what is left of one."""
    asked, isfile = [], os.path.isfile
    monkeypatch.setattr(os.path, "isfile", lambda place: asked.append(place) or isfile(place))
    assert Dataset(tmp_path).locate(path) == path
    names = [os.path.relpath(place, tmp_path) for place in asked]
    assert not [name for name in names if PureWindowsPath(name).anchor]


def test_names_that_may_be_several_are_skipped(tmp_path):
    data = write_control_folders(tmp_path / "d", "good", "A", text="make it red")
    (data / "control/A.png").unlink()
    for name in ("a.png", "a.jpg"):
        write_file(data / "control" / name)
    write_file(data / "control/lonely.png")
    said, why = import_pairs("ai-toolkit", data, tmp_path)
    assert said == ["make it red"] and "2 images of this name" in why["target/A.png"]
    assert why["control/lonely.png"] == "target has no image of this name"


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
    assert import_pairs("diffsynth", write_table(tmp_path / "d", json.dumps([record]), "metadata.json"), tmp_path) == (
        ["make it red"],
        {},
    )


def test_a_name_with_a_backslash_is_found_where_a_file_has_that_very_name(tmp_path):
    data = write_table(tmp_path / "d", "image,prompt,edit_image\ntarget\\a.png,make it red,control/a.png\n")
    write_file(data / "target\\a.png", b"no image")
    said, why = import_pairs("diffsynth", data, tmp_path)
    assert not said and "image" in next(iter(why.values()))


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
        ["control/a.png", "../secret.png"],
        {"path": "control/a.png"},
        7,
        "nothing.png",
        "D:\\other\\target\\a.png",
    ],
)
def test_a_path_that_leads_out_or_nowhere_is_skipped(tmp_path, path):
    write_file(tmp_path / "secret.png")
    rows = [
        {"image": "target/a.png", "prompt": "make it red", "edit_image": before} for before in (path, "control/a.png")
    ]
    said, why = import_pairs("diffsynth", write_table(tmp_path / "d", json.dumps(rows), "metadata.json"), tmp_path)
    assert said == ["make it red"] and len(why) == 1


def test_further_inputs_are_found_by_their_numbers():
    names = Names(["start", "start3", "Start2", "start1", "start11", "start-4", "start5", "end5"])
    assert names.find_numbered("start", "end") == ["Start2", "start3"], "the fifth are a pair of their own"
    assert names.find_numbered("start", "other") == ["Start2", "start3", "start5"]
    assert names.find_numbered("start", "end", ("-", "")) == ["Start2", "start3", "start-4"]
    assert names.find_numbered("middle", "end") == []
    many = [f"start{number}" for number in range(2, 40)]
    assert Names(many).find_numbered("start", "end") == many
