"""Pairs of a folder as training samples."""

import json

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import AutoTokenizer

from rethink.builtin import EDITOR_FOLDER
from rethink.errors import RethinkError
from rethink.images import load_image, save_image
from rethink.pairs.exporting import export
from rethink.pairs.store import PairStore
from rethink.training.pair_dataset import PairCollator, PairSamples, fill_square, read_pair_folder
from tests.support.lora_training import write_pairs
from tests.support.pair_folders import write_pair_folder


def test_both_images_are_cropped_and_flipped_alike(tmp_path):
    image = torch.rand(1, 40, 48, 3)
    for name in ("a.png", "b.png"):
        save_image(image, tmp_path / name)
    line = {"input_image_file_name": "a.png", "edited_image_file_name": "b.png", "edit_prompt": "make it red"}
    (tmp_path / "metadata.jsonl").write_text((json.dumps(line) + "\n\n") * 2, encoding="utf-8")
    data = PairSamples(read_pair_folder(tmp_path), 32)
    assert len(data) == 2
    crops = [data[0] for _ in range(8)]
    for sample in crops:
        assert sample["source"].shape == (32, 32, 3) and torch.equal(sample["source"], sample["edited"])
    assert not all(torch.equal(crops[0]["source"], sample["source"]) for sample in crops)


def test_without_chance_it_is_always_the_middle(tmp_path):
    folder = write_pair_folder(tmp_path / "pairs", count=2)
    data = PairSamples(read_pair_folder(folder), 40, at_random=False)
    assert torch.equal(data[0]["source"], data[0]["source"])
    whole = load_image(folder / "0 in.png")[0]
    assert torch.allclose(data[0]["source"], whole[:, 4:44], atol=1e-6)


def test_a_line_that_names_no_images_is_named(tmp_path):
    (tmp_path / "metadata.jsonl").write_text('{"edit_prompt": "make it red"}\n' * 2, encoding="utf-8")
    with pytest.raises(RethinkError, match="line 1 of .*metadata.jsonl needs input_image_file_name"):
        read_pair_folder(tmp_path)


def test_a_list_that_was_edited_with_a_mark_of_its_encoding_is_read(tmp_path):
    """As by Notepad."""
    folder = write_pair_folder(tmp_path / "pairs", count=2)
    list_file = folder / "metadata.jsonl"
    list_file.write_bytes(b"\xef\xbb\xbf" + list_file.read_bytes())
    assert len(read_pair_folder(folder)) == 2


def test_a_list_of_too_few_pairs_is_named(tmp_path):
    folder = write_pair_folder(tmp_path / "pairs", count=1)
    with pytest.raises(RethinkError, match="metadata.jsonl has 1 pair; .* at least 2"):
        read_pair_folder(folder)
    (folder / "metadata.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(RethinkError, match="metadata.jsonl has 0 pairs; .* at least 2"):
        read_pair_folder(folder)


def test_processes_that_are_begun_anew_read_samples(tmp_path):
    """As on Windows and macOS, where they are handed all they need."""
    tokenizer = AutoTokenizer.from_pretrained(EDITOR_FOLDER / "tokenizer", local_files_only=True)
    data = PairSamples(read_pair_folder(write_pair_folder(tmp_path / "pairs", count=2)), 32)
    collate = PairCollator([tokenizer])
    loader = DataLoader(data, 2, collate_fn=collate, num_workers=1, multiprocessing_context="spawn")
    (batch,) = loader
    assert batch["source"].shape == (2, 32, 32, 3) and batch["ids"] == ["1", "2"]


def test_a_square_is_filled_from_any_size():
    for size in ((40, 48), (16, 90), (32, 32)):
        assert fill_square(torch.rand(2, 3, *size), 32).shape == (2, 3, 32, 32)


def test_a_folder_without_a_manifest_and_a_pair_of_two_sizes_are_named(tmp_path):
    with pytest.raises(RethinkError, match="metadata.jsonl"):
        read_pair_folder(tmp_path)
    folder = write_pair_folder(tmp_path / "pairs", count=2)
    save_image(torch.rand(1, 8, 16, 3), folder / "1 in.png")
    data = PairSamples(read_pair_folder(folder), 32)
    assert data[0]["instruction"] == "make it red"
    with pytest.raises(RethinkError, match="^pairs: .*1 in.png and .*a different aspect ratio"):
        data[1]


def test_in_place_of_a_pair_that_has_gone_comes_the_next(tmp_path):
    folder = write_pair_folder(tmp_path / "pairs", count=3)
    data = PairSamples(read_pair_folder(folder), 32)
    (folder / "2 in.png").unlink()
    assert [(sample["id"], sample["skipped"]) for sample in (data[1], data[2])] == [("2", []), ("1", ["3"])]
    for file in folder.glob("*.png"):
        file.unlink()
    with pytest.raises(RethinkError, match="^pairs: none of their images"):
        data[0]


def test_the_accepted_pairs_of_a_store_are_samples(tmp_path):
    store = write_pairs(tmp_path / "store", 3)
    rejected = next(iter(store)).id
    with store.writing():
        store.set_verdict(rejected, False)
    data = PairSamples(read_pair_folder(tmp_path / "store"), 32)
    assert len(data) == 2 and data[0]["instruction"] == "make it red"
    assert not torch.equal(data[0]["source"], data[0]["edited"])


def test_pairs_with_references_are_not_for_a_whole_editor(tmp_path):
    write_pairs(tmp_path / "store", 3, references=(0, 0, 1))
    with pytest.raises(RethinkError, match="has 1 reference, but InstructPix2Pix takes none"):
        read_pair_folder(tmp_path / "store")
    export(PairStore(tmp_path / "store"), "imagefolder", tmp_path / "out")
    with pytest.raises(RethinkError, match="line 3 of .*metadata.jsonl has references, but InstructPix2Pix takes none"):
        read_pair_folder(tmp_path / "out")
