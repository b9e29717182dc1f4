"""What trl and Hugging Face's loader make of the rows."""

import pytest

from rethink.collect.formats.trl import FORMAT, write_trl
from rethink.thinkers.critique_format import parse_critique


@pytest.mark.parametrize("part", ["sft", "rl"])
def test_the_recipe_of_the_readme_loads_it_and_trl_puts_the_images_in(rows, tmp_path, part):
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl.data_utils")
    name = write_trl(part, rows, tmp_path)
    data = datasets.load_dataset(
        "json", data_files=str(tmp_path / name), split="train", cache_dir=str(tmp_path / "cache")
    )
    data = data.map(lambda row: {"images": [str(tmp_path / name) for name in row["images"]]})
    row = data.cast_column("images", datasets.List(datasets.Image()))[1]
    (message,) = trl.prepare_multimodal_messages(row["prompt"], images=row["images"])
    shown = [part["image"] for part in message["content"] if part["type"] == "image"]
    assert [image.size for image in shown] == [(64, 64)] * 2
    if part == "sft":
        assert parse_critique(row["completion"][0]["content"][0]["text"]).semantic == 9
    else:
        assert (row["semantic"], row["last_prompt"], row["turn"]) == (9.0, "prompt 1", 2)
        assert row["instruction"] == "make it <image> … ü" and parse_critique(row["answer"]).semantic == 9


def test_both_parts_are_written():
    assert FORMAT.parts == ("sft", "rl")
