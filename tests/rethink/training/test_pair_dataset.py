"""Pairs of a folder as training samples."""

import json

import pytest
import torch

from rethink.errors import RethinkError
from rethink.images import save_image
from rethink.training.pair_dataset import PairFolder, fill_square
from tests.support.lora_training import write_pairs
from tests.support.pair_folders import write_pair_folder


def test_both_images_are_cropped_and_flipped_alike(tmp_path):
    image = torch.rand(1, 40, 48, 3)
    for name in ("a.png", "b.png"):
        save_image(image, tmp_path / name)
    line = {"input_image_file_name": "a.png", "edited_image_file_name": "b.png", "edit_prompt": "make it red"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(line) + "\n\n", encoding="utf-8")
    data = PairFolder(tmp_path, 32)
    assert len(data) == 1
    crops = [data[0] for _ in range(8)]
    for sample in crops:
        assert sample["source"].shape == (32, 32, 3) and torch.equal(sample["source"], sample["edited"])
    assert not all(torch.equal(crops[0]["source"], sample["source"]) for sample in crops)


def test_a_square_is_filled_from_any_size():
    for size in ((40, 48), (16, 90), (32, 32)):
        assert fill_square(torch.rand(2, 3, *size), 32).shape == (2, 3, 32, 32)


def test_a_folder_without_a_manifest_and_a_pair_of_two_sizes_are_named(tmp_path):
    with pytest.raises(RethinkError, match="metadata.jsonl"):
        PairFolder(tmp_path, 32)
    folder = write_pair_folder(tmp_path / "pairs", count=2)
    save_image(torch.rand(1, 8, 8, 3), folder / "1 in.png")
    data = PairFolder(folder, 32)
    assert data[0]["instruction"] == "make it red"
    with pytest.raises(RethinkError, match="^Pair 2: .*1 in.png and .* differ in size"):
        data[1]


def test_the_accepted_pairs_of_a_store_are_samples(tmp_path):
    store = write_pairs(tmp_path / "store", 3)
    rejected = next(iter(store)).id
    with store.writing():
        store.set_verdict(rejected, False)
    data = PairFolder(tmp_path / "store", 32)
    assert len(data) == 2 and data[0]["instruction"] == "make it red"
    assert not torch.equal(data[0]["source"], data[0]["edited"])
