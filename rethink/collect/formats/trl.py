"""Conversations for trl's SFTTrainer and GRPOTrainer: `prompt` with image parts in place, `images`, and `completion` or
what a reward function needs. (trl 1.16, docs/source/dataset_formats.md.)"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..rows import Row
from ..rules import Part
from .core import DatasetFormat, write_jsonl


def write_trl(part: Part, rows: Iterable[Row], folder: Path) -> str:
    """Write `trl-sft.jsonl` or `trl-rl.jsonl`."""
    name = f"trl-{part}.jsonl"
    write_jsonl(folder / name, ({"prompt": row.messages, "images": row.images, **_rest(part, row)} for row in rows))
    return name


def _rest(part: Part, row: Row) -> dict:
    if part == "rl":
        return {"last_prompt" if name == "prompt" else name: value for name, value in row.task.items()}
    return {"completion": [{"role": "assistant", "content": [{"type": "text", "text": row.answer}]}]}


FORMAT = DatasetFormat(
    name="trl",
    title="trl's conversations",
    parts=("sft", "rl"),
    use="""`trl-sft.jsonl` is for `SFTTrainer` (`prompt`, `completion`, `images`; loss on the completion only). `trl-rl.jsonl` is for
`GRPOTrainer`: its reward functions get the columns `instruction`, `last_prompt`, `source`, `edited`, `semantic` and `quality` (the
scores of the edit shown). `python -m rethink train-thinker THINKER FOLDER -o OUTPUT` trains on the first file, and with
`--method grpo` on the second.

```python
from pathlib import Path
from datasets import Image, List, load_dataset

home = Path(FOLDER)
data = load_dataset("json", data_files=str(home / "trl-sft.jsonl"), split="train")
data = data.map(lambda row: {"images": [str(home / name) for name in row["images"]]}).cast_column("images", List(Image()))
```""",
    write=write_trl,
)
