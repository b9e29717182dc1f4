"""DiffSynth-Studio's table."""

import csv
import json

from rethink.pairs.exporting import export
from tests.support.lora_training import write_pairs


def test_every_column_of_images_names_a_file(exported):
    folder = exported["diffsynth"]
    with open(folder / "metadata.csv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 6
    assert all((folder / row[column]).is_file() for row in rows for column in ("image", "edit_image", "kontext_images"))


def test_lists_of_inputs_are_lines_of_json_as_a_csv_has_none(tmp_path):
    folder = tmp_path / "out"
    export(write_pairs(tmp_path / "s", 2, references=(0, 2)), "diffsynth", folder)
    assert not (folder / "metadata.csv").exists()
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [len(row["edit_image"]) for row in rows] == [1, 3] and rows[1]["kontext_images"] == rows[1]["edit_image"]
    assert all((folder / path).is_file() for row in rows for path in (row["image"], *row["edit_image"]))
