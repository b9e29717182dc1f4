"""DiffSynth-Studio: a table of targets, prompts and inputs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from .core import Example, Format, ImportedPair, Skipped, copy_image
from .table_pairs import read_table_pairs

TABLES = ("metadata.csv", "metadata.json", "metadata.jsonl")
INPUTS, IMAGE, PROMPT = ("edit_image", "kontext_images"), ("image",), ("prompt",)  # column names


def write_diffsynth(items: Iterable[Example], folder: Path, home: Path) -> int:
    """`metadata.csv`; the input is in both columns that the trainer's examples use, for Qwen-Image-Edit and for Kontext."""
    count = 0
    for side in ("target", "control"):
        (folder / side).mkdir()
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "prompt", "edit_image", "kontext_images"])
        for item in items:
            count += 1
            control = copy_image(item.input, folder, "control", item.stem)
            table.writerow(
                [copy_image(item.target, folder, "target", item.stem), item.pair.instruction, control, control]
            )
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
        "--extra_inputs edit_image`; for Kontext `kontext_images` in place of `edit_image`."
    ),
    write=write_diffsynth,
    read=read_diffsynth,
)
