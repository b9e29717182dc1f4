"""The original layout: torn prompts, and what its own dataset classes read."""

import json

import pytest
from PIL import Image

from tests.support.datasets import CANDIDATE, DEEP, encode_image, import_pairs, write_file


@pytest.mark.parametrize(
    "prompt",
    ['{"edit": "make', "[]", DEEP, '{"edit": "\\ud83d"}', '{"edit": 7}', '{"edit": "x", "output": 1e999}', None],
)
def test_a_torn_prompt_costs_its_pair_alone(tmp_path, prompt):
    for number in (0, 1, 2):
        for side in (0, 1):
            write_file(tmp_path / f"d/{number}/7_{side}.jpg", encode_image(2 * number + side))
        write_file(tmp_path / f"d/{number}/prompt.json", f'{{"edit": "make it {number}"}}')
    (tmp_path / "d/1/prompt.json").unlink()
    if prompt is not None:
        write_file(tmp_path / "d/1/prompt.json", prompt)
    said, why = import_pairs("instruct-pix2pix", tmp_path / "d", tmp_path)
    assert (
        said == ["make it 0", "make it 2"] and list(why) == ["1/7_1.jpg"] and "prompt" in why["1/7_1.jpg"]
    ) or "instruction" in why["1/7_1.jpg"]


def test_the_original_layout_is_what_its_dataset_classes_read(exported):
    """EditDataset: seeds.json, then prompt.json and SEED_0.jpg, SEED_1.jpg of a folder. EditDatasetEval: both captions."""
    folder = exported["instruct-pix2pix"]
    for name, seeds in json.loads((folder / "seeds.json").read_text()):
        prompt = json.loads((folder / name / "prompt.json").read_text())
        assert prompt["edit"] and seeds and prompt["input"] == prompt["caption"]
        assert (prompt["input"], prompt["output"]) in (("", ""), ("a red cat", "a blue cat"))
        noted = json.loads((folder / name / "metadata.jsonl").read_text())
        assert noted == {"seed": int(seeds[0]), **(CANDIDATE if prompt["input"] else {})}
        for seed in seeds:
            for side in (0, 1):
                assert Image.open(folder / name / f"{seed}_{side}.jpg").size == (160, 120)
