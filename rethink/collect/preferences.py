"""The best and the worst edit of a run, for preference training (DPO).

A folder in Hugging Face's imagefolder layout: `load_dataset("imagefolder", data_dir=FOLDER)` gives the columns `input_image`, `chosen`,
`rejected` and `edit_prompt`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..pairs.jsonl_log import disk_full_as_error
from ..pairs.whole_folder import whole_folder
from ..records import json_text
from ..text_files import one_line
from ..trajectory import SOURCE_FILE, Trajectory

README = """# {count} preferences

The best and the worst edit of thinking runs, for preference training. Each line of `metadata.jsonl` has

- `input_image_file_name`: the image before the edit; `edit_prompt`: the user's instruction;
- `chosen_file_name`: the edit with the highest score, **the better one**; `rejected_file_name`: the one with the lowest;
- `chosen_score`, `rejected_score`: out of 10.

```python
from datasets import load_dataset

data = load_dataset("imagefolder", data_dir={folder!r}, split="train")  # input_image, chosen, rejected, edit_prompt
```

Diffusion-DPO's own scripts take `jpg_0` and `jpg_1` (columns of bytes), `label_0` (1: the first is the better one) and `caption`:
use `chosen`, `rejected`, 1 and `edit_prompt`.

Made with Rethink.
"""


@dataclass(frozen=True, eq=False)
class Preference:
    """Two edits of a run, by the indices of their steps, with their scores."""

    trajectory: Trajectory
    chosen: int
    rejected: int
    chosen_score: float
    rejected_score: float


def write_preferences(preferences: Iterable[Preference], folder: Path) -> int:
    """Write the preferences to a folder atomically, replacing an earlier one of ours that nobody changed. Returns their number.

    Raises RethinkError if something else is there, or the disk is full.
    """
    count = 0
    with disk_full_as_error(folder), whole_folder(folder, replace=True) as temporary:
        (temporary / "images").mkdir()
        with open(temporary / "metadata.jsonl", "w", encoding="utf-8", newline="\n") as lines:
            for count, preference in enumerate(preferences, 1):
                lines.write(json_text(_record(preference, f"{count - 1:08d}", temporary)) + "\n")
        (temporary / "README.md").write_text(README.format(count=count, folder=str(folder)), encoding="utf-8")
    return count


def _record(preference: Preference, stem: str, folder: Path) -> dict:
    run = preference.trajectory
    files = {
        "input_image": SOURCE_FILE,
        "chosen": run.steps[preference.chosen].file,
        "rejected": run.steps[preference.rejected].file,
    }
    record = {}
    for role, name in files.items():
        record[f"{role}_file_name"] = f"images/{stem}-{role}.png"
        shutil.copyfile(run.folder / name, folder / record[f"{role}_file_name"])
    return {
        **record,
        "edit_prompt": one_line(run.instruction),
        "chosen_score": float(preference.chosen_score),
        "rejected_score": float(preference.rejected_score),
    }
