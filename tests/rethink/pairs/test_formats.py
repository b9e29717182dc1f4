"""Every layout out and in again, and read by those of its consumers that are installed."""

import contextlib
import csv
import json
import os
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from rethink.errors import RethinkError
from rethink.pairs.formats import FORMATS, describe_store, export, import_dataset
from rethink.pairs.inverse.drafts import SynthesisConfig, operation_maker
from rethink.pairs.inverse.instructions import Writer
from rethink.pairs.inverse.sources import Folder
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.store import EditPair, PairStore
from tests.support.pairs import draw_image as drawn

LOSSY = {"instruct-pix2pix"}
DRAWN = {"p2p_threshold": 0.5, "cfg_scale": 9.0, "clip_sim_dir": 0.3}
CAPTIONED = {"instruct-pix2pix", "webdataset"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Seven pairs, one of them rejected, and instructions that formats stumble over."""
    root = tmp_path_factory.mktemp("formats")
    (root / "photos").mkdir()
    for index in range(6):
        Image.fromarray(drawn(seed=index)).save(root / "photos" / f"photo {index}.png")
    templates = {"weather": ['Say "no", to {weather}; it\'s #1: über ✓']}
    with PairStore(root / "my store ü").writing() as store:
        synthesize(
            store,
            Folder(root / "photos"),
            operation_maker(store, SynthesisConfig(("weather",))),
            1,
            Writer(templates=templates),
        )
        told = next(iter(store))
        captions = {"input_caption": "a red cat", "target_caption": "a blue cat"}
        store.add(
            EditPair(
                "f" * 16, told.input, told.target, "from captions", parameters=DRAWN | {"method": "self"}, **captions
            )
        )
        store.verdicts.append({"id": told.id, "accepted": False, "why": ["ugly"], "by": "person"})
    return store


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory):
    """{format: folder}."""
    folders = {name: tmp_path_factory.mktemp("out") / f"data set {name}" for name in FORMATS}
    for name, folder in folders.items():
        assert export(store, name, folder) == 6
    return folders


def expected(store):
    return {
        (pair.instruction, store.read_image(pair.input).tobytes(), store.read_image(pair.target).tobytes())
        for pair in store.accepted()
    }


@pytest.mark.parametrize("name", FORMATS)
def test_what_went_out_comes_in_again(store, exported, tmp_path, name):
    with PairStore(tmp_path / "in").writing() as again:
        assert import_dataset(again, name, exported[name]) == (6, 0)
        assert import_dataset(again, name, exported[name])[0] == 0, "a second import doubles nothing"
    pairs = list(again)
    if name in LOSSY:
        assert sorted(pair.instruction for pair in pairs) == sorted(pair.instruction for pair in store.accepted())
        for pair in pairs:
            assert again.read_image(pair.input).shape == (120, 160, 3)
    else:
        assert {
            (pair.instruction, again.read_image(pair.input).tobytes(), again.read_image(pair.target).tobytes())
            for pair in pairs
        } == expected(store)
    if name in CAPTIONED:
        assert ("a red cat", "a blue cat") in {(pair.input_caption, pair.target_caption) for pair in pairs}


@pytest.mark.parametrize("name", FORMATS)
def test_a_readme_says_which_is_the_target_and_a_sheet_shows_it(exported, name):
    text = (exported[name] / "README.md").read_text(encoding="utf-8")
    assert "TARGET" in text and "6 edit pairs" in text and "weather" in text
    assert Image.open(exported[name] / "contact-sheet.jpg").width > 400


def test_the_store_describes_itself(store):
    describe_store(store)
    assert "7 edit pairs" in (store.folder / "README.md").read_text(encoding="utf-8")


def test_hf_datasets_reads_the_imagefolder_as_the_training_scripts_of_diffusers_do(store, exported):
    """train_instruct_pix2pix.py: load_dataset("imagefolder", data_files={"train": DIR/**}) and its default columns, each
    image through .convert("RGB"). Their Kontext script names its columns by flags."""
    datasets = pytest.importorskip("datasets")
    folder = exported["imagefolder"]
    loaded = datasets.load_dataset(
        "imagefolder", data_files={"train": str(folder / "**")}, split="train", cache_dir=str(folder.parent / "cache")
    )
    by_name = datasets.load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))  # as the Kontext script does
    assert by_name["train"].column_names == loaded.column_names and len(by_name["train"]) == len(loaded) == 6
    assert set(loaded.column_names) >= {"input_image", "edited_image", "edit_prompt"}
    read = {
        (
            row["edit_prompt"],
            np.asarray(row["input_image"].convert("RGB")).tobytes(),
            np.asarray(row["edited_image"].convert("RGB")).tobytes(),
        )
        for row in loaded
    }
    assert read == expected(store)


def test_webdataset_reads_the_shards(store, exported):
    webdataset = pytest.importorskip("webdataset")
    shards = sorted(str(path) for path in exported["webdataset"].glob("*.tar"))
    read = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8").to_tuple("txt", "input.png", "target.png")
    assert {(text, before.tobytes(), after.tobytes()) for text, before, after in read} == expected(store)


def test_the_original_layout_is_what_its_dataset_classes_read(exported):
    """EditDataset: seeds.json, then prompt.json and SEED_0.jpg, SEED_1.jpg of a folder. EditDatasetEval: both captions."""
    folder = exported["instruct-pix2pix"]
    for name, seeds in json.loads((folder / "seeds.json").read_text()):
        prompt = json.loads((folder / name / "prompt.json").read_text())
        assert prompt["edit"] and seeds and prompt["input"] == prompt["caption"]
        assert (prompt["input"], prompt["output"]) in (("", ""), ("a red cat", "a blue cat"))
        noted = json.loads((folder / name / "metadata.jsonl").read_text())
        assert noted == {"seed": int(seeds[0]), **(DRAWN if prompt["input"] else {})}
        for seed in seeds:
            for side in (0, 1):
                assert Image.open(folder / name / f"{seed}_{side}.jpg").size == (160, 120)


def test_configs_name_the_folders_where_they_now_are(exported):
    tomllib = pytest.importorskip("tomllib")
    musubi = tomllib.loads((exported["musubi-tuner"] / "dataset.toml").read_text(encoding="utf-8"))["datasets"][0]
    assert musubi["image_directory"] == str(exported["musubi-tuner"] / "target")
    assert musubi["control_directory"] == str(exported["musubi-tuner"] / "control")
    target, control, texts = json.loads((exported["simpletuner"] / "multidatabackend.json").read_text(encoding="utf-8"))
    assert target["conditioning_data"] == [control["id"]] and control["instance_data_dir"].endswith("control")
    assert texts["dataset_type"] == "text_embeds"
    yaml = pytest.importorskip("yaml")
    (entry,) = yaml.safe_load((exported["ai-toolkit"] / "dataset.yaml").read_text(encoding="utf-8"))
    assert entry["folder_path"] == str(exported["ai-toolkit"] / "target")


def test_stems_agree_where_trainers_pair_by_them(exported):
    for name in ("ai-toolkit", "musubi-tuner", "simpletuner"):
        stems = [{path.stem for path in (exported[name] / side).glob("*.png")} for side in ("target", "control")]
        texts = {path.stem for path in (exported[name] / "target").glob("*.txt")}
        assert stems[0] == stems[1] == texts and len(texts) == 6
    with open(exported["diffsynth"] / "metadata.csv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert all(
        (exported["diffsynth"] / row[column]).is_file()
        for row in rows
        for column in ("image", "edit_image", "kontext_images")
    )
    names = zipfile.ZipFile(exported["fal-zip"] / "pairs.zip").namelist()
    assert sorted(name[8:] for name in names[:3]) == [".txt", "_end.png", "_start.png"]


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


def test_an_export_of_nothing_or_of_missing_pictures_is_refused(tmp_path):
    with PairStore(tmp_path / "s").writing() as store:
        store.manifest.append()
        with pytest.raises(RethinkError, match="no accepted pair"):
            export(store, "imagefolder", tmp_path / "out")
        store.add(EditPair("1" * 16, "images/11/a.png", "images/11/b.png", "x"))
        with pytest.raises(RethinkError, match="missing"):
            export(store, "imagefolder", tmp_path / "out")


def test_an_import_never_leaves_the_dataset(tmp_path):
    data = tmp_path / "data"
    (data / "input").mkdir(parents=True)
    Image.fromarray(drawn()).save(tmp_path / "secret.png")
    Image.fromarray(drawn()).save(data / "input/a.png")
    (data / "input/link.png").symlink_to(tmp_path / "secret.png")
    rows = [
        {"input_image_file_name": path, "edited_image_file_name": "input/a.png", "edit_prompt": "x"}
        for path in ("../secret.png", str(tmp_path / "secret.png"), "input/link.png", "input/missing.png", "")
    ]
    rows.append({"input_image_file_name": "input/a.png", "edited_image_file_name": "input/a.png", "edit_prompt": ""})
    (data / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with PairStore(tmp_path / "s").writing() as store:
        assert import_dataset(store, "imagefolder", data) == (0, 6)
    reasons = [record["why"] for record in store.skipped]
    assert (
        sum("leads out" in why for why in reasons) == 3
        and sum("missing" in why or "cannot be read" in why for why in reasons) == 2
    )
    assert "no instruction" in reasons[-1]


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
            assert import_dataset(store, name, empty)[0] == 0


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
            assert import_dataset(store, name, tmp_path / "data")[0] == 0
        except RethinkError as error:
            assert str(error).startswith("import: ") and (
                file.rpartition("/")[2] in str(error) or "no pair" in str(error)
            )


def test_links_in_a_tar_are_not_followed(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("0.input.png", "0.target.png"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(entry)
    with PairStore(tmp_path / "s").writing() as store, pytest.raises(RethinkError, match="no pair"):
        import_dataset(store, "webdataset", tmp_path)


@pytest.mark.parametrize("name", ["imagefolder", "instruct-pix2pix", "ai-toolkit", "diffsynth", "webdataset"])
def test_a_file_in_place_of_a_folder_and_another_layout_are_one_sentence(tmp_path, name):
    Image.fromarray(drawn()).save(tmp_path / "a.png")
    with PairStore(tmp_path / "s").writing() as store:
        for path in (tmp_path, tmp_path / "a.png"):
            with pytest.raises(RethinkError, match="^import: "):
                import_dataset(store, name, path)


def test_one_broken_entry_of_an_archive_is_skipped_alone(store, tmp_path):
    for file in (store.folder / "images").rglob("*.png"):
        os.utime(file, (0, 0))  # a zip knows no time before 1980
    export(store, "fal-zip", tmp_path / "out")
    archive = tmp_path / "out/pairs.zip"
    data, entry = bytearray(archive.read_bytes()), zipfile.ZipFile(archive).getinfo("00000000_start.png")
    data[entry.header_offset + 80] ^= 255
    archive.write_bytes(data)
    with PairStore(tmp_path / "s").writing() as read:
        assert import_dataset(read, "fal-zip", tmp_path / "out") == (len(list(store.accepted())) - 1, 1)
    assert "00000000_start.png" in next(iter(read.skipped))["why"]


def test_texts_and_tables_as_windows_writes_them(tmp_path):
    for side in ("target", "control"):
        (tmp_path / side).mkdir()
        Image.fromarray(drawn()).save(tmp_path / side / "a.png")
    (tmp_path / "target/a.txt").write_text("\ufeffmake it\r\n so", encoding="utf-8")
    (tmp_path / "metadata.csv").write_text(
        "\ufeffimage,prompt,edit_image\ntarget/a.png,make it so,control/a.png\n", encoding="utf-8"
    )
    for name in ("ai-toolkit", "diffsynth"):
        with PairStore(tmp_path / name).writing() as store:
            assert import_dataset(store, name, tmp_path) == (1, 0)
        assert [pair.instruction for pair in store] == ["make it so"]


def test_several_inputs_are_no_pair(tmp_path):
    Image.fromarray(drawn()).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "any name.zip", "w") as archive:
        for name in ("x_start", "x_start2", "x_end", "y_start", "y_end"):
            archive.write(tmp_path / "a.png", f"{name}.png")
        for name in "xy":
            archive.writestr(f"{name}.txt", "make it so")
    rows = [
        {"image": "a.png", "prompt": "make it so", "edit_image": inputs}
        for inputs in (["a.png", "a.png"], ["a.png"], "a.png")
    ]
    (tmp_path / "metadata.json").write_text(json.dumps(rows))
    for name in ("fal-zip", "diffsynth"):
        with PairStore(tmp_path / name).writing() as store:
            assert import_dataset(store, name, tmp_path) == (1, 1)
        assert "several" in next(iter(store.skipped))["why"]
