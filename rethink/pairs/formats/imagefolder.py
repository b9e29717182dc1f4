"""HF imagefolder: a table of image files, as diffusers' training scripts and Rethink's own read it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...atomic import move
from .core import Example, Format, ImportedPair, Skipped, copy_image, copy_references
from .table_pairs import read_table_pairs

# What `write_imagefolder` writes comes first.
TABLES = ("metadata.jsonl", "metadata.json", "metadata.csv")
REFERENCES = "reference_images_file_names"


def write_imagefolder(items: Iterable[Example], folder: Path, home: Path) -> int:
    """`metadata.jsonl` with `*_file_name` columns, which HF `datasets` turns into image columns without that suffix.

    Where any pair has references, every row has a list of them, possibly empty, since the column must not have gaps.
    """
    count = with_references = 0
    plain, lists = folder / "metadata.jsonl", folder / "lists.jsonl"
    with open(plain, "w", encoding="utf-8") as lines, open(lists, "w", encoding="utf-8") as more:
        for item in items:
            count += 1
            with_references += bool(item.references)
            files = {"input": item.input, "edited": item.target}
            record = {
                f"{side}_image_file_name": copy_image(file, folder, side, item.stem) for side, file in files.items()
            }
            further = copy_references(item, folder, "input")
            prompt = {"edit_prompt": item.pair.instruction}
            lines.write(json.dumps({**record, **prompt}) + "\n")
            more.write(json.dumps({**record, REFERENCES: further, **prompt}) + "\n")
    if with_references:
        move(lists, plain)
    else:
        lists.unlink()
    return count


def read_imagefolder(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """A table with the columns that `write_imagefolder` writes."""
    before, after, prompt = "input_image_file_name", "edited_image_file_name", "edit_prompt"
    yield from read_table_pairs(folder, TABLES, (before,), (after,), (prompt,), references=REFERENCES)


FORMAT = Format(
    name="imagefolder",
    title="HF imagefolder, for diffusers' training scripts and for Rethink's own",
    target="`edited/` holds the TARGET (what the model learns to produce), `input/` what it gets as input.",
    use=(
        "`train_instruct_pix2pix.py --train_data_dir FOLDER` (its default columns), or `train_dreambooth_lora_flux_kontext.py "
        "--dataset_name FOLDER --image_column edited_image --cond_image_column input_image --caption_column edit_prompt`."
    ),
    write=write_imagefolder,
    read=read_imagefolder,
    references=f"the files listed in `{REFERENCES}`, which HF `datasets` turns into the column `reference_images`.",
)
