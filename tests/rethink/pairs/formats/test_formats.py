"""Every layout out and in again, and read by those of its consumers that are installed."""

import contextlib
import io
import json
import tarfile
import zipfile
from functools import partial

import pytest
from PIL import Image

from rethink.errors import RethinkError
from rethink.pairs.exporting import export
from rethink.pairs.formats import FORMATS
from rethink.pairs.importing import import_dataset
from rethink.pairs.store import PairStore
from tests.support.datasets import counts, read_pairs
from tests.support.lora_training import write_pairs
from tests.support.pairs import draw_image

LOSSY = {"instruct-pix2pix"}


CAPTIONED = {"instruct-pix2pix", "webdataset"}


@pytest.mark.parametrize("name", FORMATS)
def test_what_went_out_comes_in_again(store, exported, tmp_path, name):
    with PairStore(tmp_path / "in").writing() as again:
        assert counts(import_dataset(again, name, exported[name])) == (6, 0)
        assert import_dataset(again, name, exported[name]).new == 0, "a second import doubles nothing"
    pairs = list(again)
    if name in LOSSY:
        assert sorted(pair.instruction for pair in pairs) == sorted(pair.instruction for pair in store.accepted())
        for pair in pairs:
            assert again.read_image(pair.input).shape == (120, 160, 3)
    else:
        assert {
            (pair.instruction, again.read_image(pair.input).tobytes(), again.read_image(pair.target).tobytes())
            for pair in pairs
        } == read_pairs(store)
    if name in CAPTIONED:
        assert ("a red cat", "a blue cat") in {(pair.input_caption, pair.target_caption) for pair in pairs}


@pytest.mark.parametrize("name", FORMATS)
def test_a_readme_says_which_is_the_target_and_a_sheet_shows_it(exported, name):
    text = (exported[name] / "README.md").read_text(encoding="utf-8")
    assert "TARGET" in text and "6 edit pairs" in text and "weather" in text
    assert Image.open(exported[name] / "contact-sheet.jpg").width > 400


def test_an_export_writes_over_nothing_and_appears_whole(store, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/mine.txt").write_text("mine")
    with pytest.raises(RethinkError, match="there already"):
        export(store, "imagefolder", tmp_path / "there")
    with pytest.raises(RethinkError, match="no 'zip'"):
        export(store, "zip", tmp_path / "new")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(RethinkError, match="No space left"):
        export(store, "imagefolder", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


@pytest.mark.parametrize("name", FORMATS)
def test_an_import_of_rubbish_is_one_sentence(tmp_path, name):
    with PairStore(tmp_path / "s").writing() as store:
        with pytest.raises(RethinkError, match="import"):
            import_dataset(store, name, tmp_path / "missing")
        empty = tmp_path / "empty"
        empty.mkdir()
        for file in ("metadata.jsonl", "metadata.csv", "pairs.zip", "a.tar"):
            (empty / file).write_bytes(b"\x00\xffrubbish")
        with contextlib.suppress(RethinkError):
            assert import_dataset(store, name, empty).new == 0


@pytest.mark.parametrize("text", ["[]", "7", '"text"', "null", "{", '{"image": 3, "edit_image": [], "prompt": null}'])
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("imagefolder", "metadata.jsonl"),
        ("diffsynth", "metadata.json"),
        ("diffsynth", "metadata.jsonl"),
        ("instruct-pix2pix", "0000000/prompt.json"),
    ],
)
def test_a_table_of_other_things_is_one_sentence_or_skipped(tmp_path, name, file, text):
    (tmp_path / "data/0000000").mkdir(parents=True)
    (tmp_path / "data/0000000/7_0.jpg").write_bytes(b"no picture")
    (tmp_path / "data" / file).write_text(text)
    with PairStore(tmp_path / "s").writing() as store:
        try:
            assert import_dataset(store, name, tmp_path / "data").new == 0
        except RethinkError as error:
            assert str(error).startswith("import: ") and (
                file.rpartition("/")[2] in str(error) or "no pair" in str(error)
            )


@pytest.mark.parametrize("name", ["imagefolder", "instruct-pix2pix", "ai-toolkit", "diffsynth", "webdataset"])
def test_a_file_in_place_of_a_folder_and_another_layout_are_one_sentence(tmp_path, name):
    Image.fromarray(draw_image()).save(tmp_path / "a.png")
    with PairStore(tmp_path / "s").writing() as store:
        for path in (tmp_path, tmp_path / "a.png"):
            with pytest.raises(RethinkError, match="^import: "):
                import_dataset(store, name, path)


def test_texts_and_tables_as_windows_writes_them(tmp_path):
    for side in ("target", "control"):
        (tmp_path / side).mkdir()
        Image.fromarray(draw_image()).save(tmp_path / side / "a.png")
    (tmp_path / "target/a.txt").write_text("\ufeffmake it\r\n so", encoding="utf-8")
    (tmp_path / "metadata.csv").write_text(
        "\ufeffimage,prompt,edit_image\ntarget/a.png,make it so,control/a.png\n", encoding="utf-8"
    )
    for name in ("ai-toolkit", "diffsynth"):
        with PairStore(tmp_path / name).writing() as store:
            assert counts(import_dataset(store, name, tmp_path)) == (1, 0)
        assert [pair.instruction for pair in store] == ["make it so"]


@pytest.mark.parametrize("name", [name for name, each in FORMATS.items() if each.references])
def test_references_go_out_and_come_in_again_in_their_order(tmp_path, name):
    store = write_pairs(tmp_path / "s", 7, references=(0, 2, 1))
    assert export(store, name, tmp_path / "out") == 7
    with PairStore(tmp_path / "in").writing() as again:
        assert counts(import_dataset(again, name, tmp_path / "out")) == (7, 0)
        assert import_dataset(again, name, tmp_path / "out").new == 0, "a second import doubles nothing"
    assert sorted(map(partial(read_all, again), again)) == sorted(map(partial(read_all, store), store))


def read_all(store, pair):
    """What all images of a pair show, the input first and the target last."""
    return [store.read_image(path).tobytes() for path in (pair.input, *pair.references, pair.target)]


def test_all_layouts_but_the_one_with_a_single_input_have_places_for_references():
    assert {name for name, each in FORMATS.items() if not each.references} == {"instruct-pix2pix"}


def test_the_references_of_others_are_read(tmp_path):
    for number, name in enumerate("abcd"):
        Image.fromarray(draw_image(seed=number)).save(tmp_path / f"{name}.png")
    with zipfile.ZipFile(tmp_path / "any name.zip", "w") as archive:
        for name, file in {"x_start": "a", "x_START2": "b", "x_start3": "c", "x_end": "d"}.items():
            archive.write(tmp_path / f"{file}.png", f"{name}.png")
        archive.writestr("x.txt", "make it so")
    rows = [{"image": "d.png", "prompt": "make it so", "edit_image": ["a.png", ".\\b.png", "c.png"]}]
    (tmp_path / "metadata.json").write_text(json.dumps(rows))
    for name in ("fal-zip", "diffsynth"):
        with PairStore(tmp_path / name).writing() as store:
            assert counts(import_dataset(store, name, tmp_path)) == (1, 0)
        (pair,) = store
        assert read_all(store, pair) == [draw_image(seed=number).tobytes() for number in range(4)]


@pytest.mark.parametrize("name", ["ai-toolkit", "before-after", "fal-zip", "webdataset"])
def test_a_pair_of_which_a_reference_is_missing_before_another_is_left_out(tmp_path, name):
    """It would be called image 2, where its name and the instruction call it image 3."""
    export(write_pairs(tmp_path / "s", 3, references=(2,)), name, tmp_path / "out")
    second = {"ai-toolkit": "control-2/00000000.png", "before-after": "before-2/00000000.png"}.get(name)
    if second:
        (tmp_path / "out" / second).unlink()
    elif name == "fal-zip":
        _rewrite_zip(tmp_path / "out/pairs.zip", "00000000_start2.png")
    else:
        _rewrite_tar(tmp_path / "out/pairs-000000.tar", "00000000.reference2.png")
    why = []
    with PairStore(tmp_path / "in").writing() as store:
        found = import_dataset(store, name, tmp_path / "out", lambda place, reason: why.append(reason))
    assert counts(found) == (2, 1)
    assert why[0].startswith(
        ("image 2 is missing, but a later one exists (“", "control-2 has no image", "before-2 has no")
    )


def _rewrite_zip(path, without):
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name != without}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def _rewrite_tar(path, without):
    with tarfile.open(path) as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive if entry.name != without}
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
