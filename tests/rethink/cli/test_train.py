"""`rethink train-lora`: from a store of pairs to a file that `rethink edit` loads."""

import shutil
from argparse import Namespace

import pytest

from rethink.cli.train import FIELDS, choose_dtype, open_preview_editor
from rethink.options import options_of
from rethink.pairs.store import PairStore
from rethink.training.lora_settings import LoraSettings
from tests.support.lora_training import write_pairs


def test_a_lora_from_pairs_and_an_edit_with_it(editor, photo, rethink, tmp_path):
    store, lora = write_pairs(tmp_path / "pairs", 6), tmp_path / "learned.safetensors"
    (tmp_path / "keep.txt").write_text("make it winter\n\nadd a hat\n", encoding="utf-8")
    options = [
        "--steps",
        2,
        "--save-every",
        2,
        "--rank",
        2,
        "--batch",
        2,
        "--accumulate",
        1,
        "--replay",
        2,
        "--previews",
        0,
    ]
    kept = ["--keep-instructions", tmp_path / "keep.txt"]
    done = rethink("train-lora", store.folder, "-o", lora, "--editor", editor, *options, *kept)
    assert done.returncode == 0, done.stderr
    assert "32 of 32 layers fit" in done.stdout and "step 2 of 2" in done.stdout and "report.html" in done.stderr
    edited = rethink("edit", photo, "make it red", "--editor", editor, "--lora", lora, "--steps", 1)
    assert edited.returncode == 0 and "32 of 32 layers fit" in edited.stderr


def test_the_command_offers_every_setting():
    assert sorted(FIELDS) == sorted(each.name for each in options_of(LoraSettings))


def test_previews_by_another_editor(editor, rethink, tmp_path):
    store = write_pairs(tmp_path / "pairs", 3)
    other = shutil.copytree(editor, tmp_path / "other")
    few = ["--steps", 1, "--rank", 2, "--accumulate", 1, "--keep", "off", "--editor", editor, "--previews", 1]
    small = ["--megapixels", 16**2 / 2**20]
    command = "train-lora", store.folder, "-o", tmp_path / "learned.safetensors"
    done = rethink(*command, *few, *small, "--preview-editor", other)
    assert done.returncode == 0, done.stderr
    assert "The previews were made by other." in done.stdout
    done = rethink(*command, *few, *small, "--seed", 1, "--preview-editor", editor)
    assert done.returncode == 0 and "The previews" not in done.stdout, "it is the one that learns, and is loaded once"


@pytest.mark.parametrize(("offload", "chosen"), [("none", "model"), ("model", "model"), ("sequential", "sequential")])
def test_the_editor_of_the_previews_waits_in_main_memory(monkeypatch, offload, chosen):
    opened = []
    monkeypatch.setattr("rethink.cli.train.open_editor", opened.append)
    open_preview_editor(
        Namespace(editor="base", preview_editor="distilled", lora=["one"], offload=offload, device="cuda")
    )
    how = {"lora": [], "offload": chosen, "device": "cuda", "editor_flag": "--preview-editor"}
    assert opened == [Namespace(editor="distilled", preview_editor="distilled", **how)]


def test_two_folders_of_images_are_trained_on_as_they_are(editor, rethink, tmp_path):
    store = write_pairs(tmp_path / "pairs", 3)
    for pair in store:
        for side, path in (("before", pair.input), ("after", pair.target)):
            (tmp_path / side).mkdir(exist_ok=True)
            shutil.copy(store.file(path), tmp_path / side / f"{pair.id}.png")
    few = ["--steps", 1, "--rank", 2, "--accumulate", 1, "--keep", "off", "--editor", editor]
    folders = [tmp_path / "before", "--after", tmp_path / "after", "--instruction", "make it red"]
    done = rethink("train-lora", *folders, "-o", tmp_path / "learned.safetensors", *few)
    assert done.returncode == 0, done.stderr
    assert "Trained on 3 pairs" in done.stdout
    read = PairStore.open_existing(tmp_path / "learned-training" / "pairs")
    assert {pair.instruction for pair in read} == {"make it red"}


@pytest.mark.parametrize(
    ("editor", "device", "dtype", "chosen"),
    [
        ("instruct-pix2pix", "cuda", "auto", "bf16"),
        ("instruct-pix2pix", "cuda:1", "fp16", "fp16"),
        ("instruct-pix2pix", "cpu", "auto", "auto"),
        ("built-in", "cuda", "auto", "auto"),
    ],
)
def test_auto_is_no_format_in_which_gradients_vanish(editor, device, dtype, chosen):
    assert choose_dtype(Namespace(editor=editor, device=device, dtype=dtype)) == chosen


def test_what_is_wrong_is_said_in_a_sentence(editor, rethink, tmp_path):
    store = write_pairs(tmp_path / "pairs", 1)
    wrong = rethink("train-lora", store.folder, "-o", tmp_path / "x.safetensors", "--editor", editor)
    assert wrong.returncode == 2 and "a LoRA needs at least 2" in wrong.stderr
    wrong = rethink("train-lora", store.folder, "-o", tmp_path / "x.ckpt", "--editor", editor)
    assert wrong.returncode == 2 and "should end in .safetensors" in wrong.stderr
    (tmp_path / "empty.txt").write_text("\n")
    wrong = rethink(
        *("train-lora", store.folder, "-o", tmp_path / "x.safetensors", "--editor", editor),
        *("--keep-instructions", tmp_path / "empty.txt"),
    )
    assert wrong.returncode == 2 and "has no lines" in wrong.stderr


def test_what_is_left_out_and_an_editor_of_the_previews_that_is_not_there_are_named(editor, rethink, tmp_path):
    for pair in (store := write_pairs(tmp_path / "pairs", 4)):
        for side, path in (("start", pair.input), ("end", pair.target)):
            (tmp_path / "set").mkdir(exist_ok=True)
            shutil.copy(store.file(path), tmp_path / "set" / f"{pair.id}_{side}.png")
    (tmp_path / "set" / f"{pair.id}_start2.png").write_text("no image")
    command = "train-lora", tmp_path / "set", "--instruction", "x", "-o", tmp_path / "learned.safetensors"
    done = rethink(*command, "--editor", editor, "--preview-editor", tmp_path / "nowhere")
    assert done.returncode == 2
    left_out, refused = done.stderr.splitlines()[0], done.stderr.splitlines()[-1]
    assert left_out.startswith(f"pairs: 1 was left out; the first is {pair.id}: its image 2 cannot be read as an image")
    assert refused.startswith(
        f"rethink: --preview-editor: {tmp_path / 'nowhere'} does not exist; choose a diffusers folder"
    )
