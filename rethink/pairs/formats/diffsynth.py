"""DiffSynth-Studio: a table of targets, prompts and inputs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from .core import Example, Format, ImportedPair, Skipped, copy_image, copy_references
from .table_pairs import read_table_pairs

COLUMNS = ("image", "prompt", "edit_image", "kontext_images")
TABLES = ("metadata.csv", "metadata.json", "metadata.jsonl")
INPUTS, IMAGE, PROMPT = ("edit_image", "kontext_images"), ("image",), ("prompt",)  # column names


def write_diffsynth(items: Iterable[Example], folder: Path, home: Path) -> int:
    """`metadata.csv`; the input is in both columns that the trainer's examples use, for Qwen-Image-Edit and for Kontext.

    A CSV has no lists: where pairs have references, `metadata.jsonl` replaces it, with a list of inputs for every pair.
    """
    count = with_references = 0
    plain, lists = folder / "metadata.csv", folder / "metadata.jsonl"
    with open(plain, "w", newline="", encoding="utf-8") as file, open(lists, "w", encoding="utf-8") as lines:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for item in items:
            count += 1
            with_references += bool(item.references)
            control = copy_image(item.input, folder, "control", item.stem)
            row = [copy_image(item.target, folder, "target", item.stem), item.pair.instruction]
            inputs = [control, *copy_references(item, folder, "control")]
            table.writerow([*row, control, control])
            lines.write(json.dumps(dict(zip(COLUMNS, [*row, inputs, inputs]))) + "\n")
    (plain if with_references else lists).unlink()
    return count


def read_diffsynth(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """A table of `image`, `prompt` and `edit_image` or `kontext_images`."""
    yield from read_table_pairs(folder, TABLES, INPUTS, IMAGE, PROMPT)


FORMAT = Format(
    name="diffsynth",
    title="DiffSynth-Studio",
    target="column `image` (`target/`) is the TARGET, `edit_image` (`control/`) what the model gets as input.",
    use=(
        "`--dataset_base_path FOLDER --dataset_metadata_path FOLDER/metadata.csv --data_file_keys image,edit_image "
        "--extra_inputs edit_image`; for Kontext, use `kontext_images` instead of `edit_image`."
    ),
    write=write_diffsynth,
    read=read_diffsynth,
    references="`metadata.jsonl`, which replaces `metadata.csv`, lists them after the input in `edit_image`.",
)
