"""HF imagefolder: a table of image files, as diffusers' training scripts and Rethink's own read it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from .core import Example, Format, ImportedPair, Skipped, copy_image
from .table_pairs import read_table_pairs

# What `write_imagefolder` writes comes first.
TABLES = ("metadata.jsonl", "metadata.json", "metadata.csv")


def write_imagefolder(items: Iterable[Example], folder: Path, home: Path) -> int:
    """`metadata.jsonl` with `*_file_name` columns, which HF `datasets` turns into image columns without that suffix."""
    count = 0
    for side in ("input", "edited"):
        (folder / side).mkdir()
    with open(folder / "metadata.jsonl", "w", encoding="utf-8") as lines:
        for item in items:
            count += 1
            files = {"input": item.input, "edited": item.target}
            record = {
                f"{side}_image_file_name": copy_image(file, folder, side, item.stem) for side, file in files.items()
            }
            lines.write(json.dumps({**record, "edit_prompt": item.pair.instruction}) + "\n")
    return count


def read_imagefolder(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """A table with the columns that `write_imagefolder` writes."""
    before, after, prompt = "input_image_file_name", "edited_image_file_name", "edit_prompt"
    yield from read_table_pairs(folder, TABLES, (before,), (after,), (prompt,))


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
)
