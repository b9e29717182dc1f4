"""Zips as people have them: from a Mac, torn, with entries that are more than they say."""

import os
import unicodedata
import zipfile

from rethink.pairs.exporting import export
from rethink.pairs.formats import fal_zip
from rethink.pairs.importing import import_dataset
from rethink.pairs.store import PairStore
from tests.support.datasets import GOOD, counts, import_pairs, write_file


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
    assert import_pairs("fal-zip", zipped(tmp_path / "d/pairs.ZIP", entries).parent, tmp_path) == (["make it red"], {})


def test_entries_of_a_zip_that_are_too_large_by_their_word_or_in_truth_are_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(fal_zip, "MAX_IMAGE_BYTES", 100_000)
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
    said, why = import_pairs("fal-zip", path.parent, tmp_path)
    assert said == ["make it red"] and set(why) == set("abc")


def test_a_torn_zip_among_good_ones_and_what_is_no_zip_is_skipped(tmp_path):
    for name in "ac":
        zipped(tmp_path / f"d/{name}.zip", {**PAIR, "g.txt": f"make it {name}"})
    write_file(tmp_path / "d/b.zip", (tmp_path / "d/a.zip").read_bytes()[:-30])
    os.mkfifo(tmp_path / "d/e.zip")
    (tmp_path / "d/f.zip").mkdir()
    said, why = import_pairs("fal-zip", tmp_path / "d", tmp_path)
    assert said == ["make it a", "make it c"] and set(why) == {"b.zip", "e.zip", "f.zip"}


def test_odd_entries_of_a_zip_are_skipped(tmp_path):
    path = zipped(
        tmp_path / "d/x.zip",
        {**PAIR, "x_end.png": GOOD[0], "x.txt": "x", "y_start.png": GOOD[0], "z_start.png": b"", "z_end.png": b""},
    )
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as archive:
        for name in ("l_start.png", "l_end.png", "l.txt"):
            archive.writestr(name, GOOD[0])
    said, why = import_pairs("fal-zip", path, tmp_path)
    assert said == ["make it red"] and set(why) == set("xyzl")


def test_one_broken_entry_of_an_archive_is_skipped_alone(store, tmp_path):
    for file in (store.folder / "images").rglob("*.png"):
        os.utime(file, (0, 0))  # a zip knows no time before 1980
    export(store, "fal-zip", tmp_path / "out")
    archive = tmp_path / "out/pairs.zip"
    data, entry = bytearray(archive.read_bytes()), zipfile.ZipFile(archive).getinfo("00000000_start.png")
    data[entry.header_offset + 80] ^= 255
    archive.write_bytes(data)
    with PairStore(tmp_path / "s").writing() as read:
        assert counts(import_dataset(read, "fal-zip", tmp_path / "out")) == (len(list(store.accepted())) - 1, 1)
    assert "00000000_start.png" in next(iter(read.skipped))["why"]


def test_the_files_of_a_pair_have_the_endings_that_the_trainer_knows(exported):
    names = zipfile.ZipFile(exported["fal-zip"] / "pairs.zip").namelist()
    assert sorted(name[8:] for name in names[:3]) == [".txt", "_end.png", "_start.png"]
