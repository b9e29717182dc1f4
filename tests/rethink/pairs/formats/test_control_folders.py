"""Targets and controls that are paired by their stems."""

import zlib

import pytest

from tests.support.datasets import encode_image, import_pairs, write_control_folders, write_file


def test_half_a_pair_and_other_endings_are_seen(tmp_path):
    for name in ("3_0.png", "3_1.PNG", "4_0.jpg", "5_1.jpg"):
        write_file(tmp_path / "d/0" / name, encode_image(zlib.crc32(name.encode()) % 99))
    for folder in "01":
        write_file(tmp_path / "d" / folder / "prompt.json", '{"edit": "make it red"}'.encode("utf-16"))
    said, why = import_pairs("instruct-pix2pix", tmp_path / "d", tmp_path)
    assert said == ["make it red"] and set(why) == {"0/4_0.jpg", "0/5_1.jpg", "1"}


@pytest.mark.parametrize("name", ["ai-toolkit", "musubi-tuner", "simpletuner"])
def test_stems_agree_where_trainers_pair_by_them(exported, name):
    targets, controls = (
        {path.stem for path in (exported[name] / side).glob("*.png")} for side in ("target", "control")
    )
    texts = {path.stem for path in (exported[name] / "target").glob("*.txt")}
    assert targets == controls == texts and len(texts) == 6


def test_a_folder_with_several_references_of_one_name_is_no_place_for_them(tmp_path):
    data = write_control_folders(tmp_path / "d", "a", "b")
    for name in ("a.png", "a.jpg", "b.png"):
        write_file(data / "control_2" / name)
    said, why = import_pairs("ai-toolkit", data, tmp_path)
    assert len(said) == 1 and why == {"target/a.png": "control_2 has 2 images of this name"}
