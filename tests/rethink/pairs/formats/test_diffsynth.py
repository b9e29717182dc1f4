"""DiffSynth-Studio's table."""

import csv


def test_every_column_of_images_names_a_file(exported):
    folder = exported["diffsynth"]
    with open(folder / "metadata.csv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 6
    assert all((folder / row[column]).is_file() for row in rows for column in ("image", "edit_image", "kontext_images"))
