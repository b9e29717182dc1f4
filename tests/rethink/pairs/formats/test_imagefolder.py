"""The tables of an imagefolder, and HF datasets as its reader."""

import json

import numpy as np
import pytest

from rethink.pairs.exporting import export
from tests.support.datasets import import_pairs, read_pairs, write_table
from tests.support.lora_training import write_pairs


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "METADATA.JSONL"])
def test_an_imagefolder_has_a_table_of_either_kind(tmp_path, name):
    record = {
        "input_image_file_name": "input\\a.png",
        "edited_image_file_name": "edited/a.png",
        "edit_prompt": "make it red",
    }
    text = json.dumps(record) if name.lower().endswith("l") else "\n".join(map(",".join, (record, record.values())))
    assert import_pairs("imagefolder", write_table(tmp_path / "d", text, name, ("input", "edited")), tmp_path) == (
        ["make it red"],
        {},
    )


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
    assert read == read_pairs(store)


def test_hf_datasets_reads_references_as_lists_of_images(tmp_path):
    datasets, folder = pytest.importorskip("datasets"), tmp_path / "out"
    store = write_pairs(tmp_path / "s", 3, references=(0, 2, 1))
    export(store, "imagefolder", folder)
    rows = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))["train"]
    for row, pair in zip(rows, store, strict=True):
        found = [np.asarray(image.convert("RGB")) for image in row["reference_images"] or ()]
        assert len(found) == len(pair.references)
        assert all((one == store.read_image(path)).all() for one, path in zip(found, pair.references))
