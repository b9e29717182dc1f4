"""EasyR1's JSON lines for GRPO: a reward function there sees only the response and `answer`, so `answer` contains the task."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..rows import Row, flat_text
from ..rules import Part
from .core import DatasetFormat, write_jsonl

FILE = "easyr1-rl.jsonl"


def write_easyr1(part: Part, rows: Iterable[Row], folder: Path) -> str:
    """`easyr1-rl.jsonl`: prompt, images and answer, a string of JSON."""
    records = ({"prompt": flat_text(row.messages), "images": row.images, "answer": row.task_json} for row in rows)
    write_jsonl(folder / FILE, records)
    return FILE


FORMAT = DatasetFormat(
    name="easyr1",
    title="EasyR1's JSON lines",
    parts=("rl",),
    use="""`data.train_files=FOLDER/easyr1-rl.jsonl data.image_dir=FOLDER data.prompt_key=prompt data.image_key=images
data.answer_key=answer data.max_prompt_length=16384 data.max_response_length=2048`; `data.format_prompt` is a file that contains
`{{ content }}`, since the prompts already say how to answer; `data.val_files` needs other runs. For versions without `.jsonl`
support, rename the file to `.json`. `answer` is a JSON string: in the reward function, `json.loads(ground_truth)` has
`instruction`, `prompt`, `source`, `edited`, `semantic` and `quality` (the scores of the edit shown).""",
    write=write_easyr1,
)
