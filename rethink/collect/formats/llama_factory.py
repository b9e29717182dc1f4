"""LLaMA-Factory's ShareGPT layout with OpenAI's tags, and the `dataset_info.json` that names it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from ...atomic import atomic_write
from ..rows import Row, defuse_placeholders, flat_text
from ..rules import Part
from .core import DatasetFormat, write_jsonl

FILE = "llama-factory-sft.jsonl"
INFO = {
    "rethink_sft": {
        "file_name": FILE,
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    }
}


def write_llama_factory(part: Part, rows: Iterable[Row], folder: Path) -> str:
    """Write `llama-factory-sft.jsonl`, with one `<image>` for each image of a row, and `dataset_info.json`."""
    write_jsonl(folder / FILE, ({"messages": _messages(row), "images": row.images} for row in rows))
    with atomic_write(folder / "dataset_info.json") as temporary:
        temporary.write_text(json.dumps(INFO, indent=2) + "\n", encoding="utf-8")
    return FILE


def _messages(row: Row) -> list[dict[str, str]]:
    question = {"role": "user", "content": flat_text(row.messages)}
    return [question, {"role": "assistant", "content": defuse_placeholders(row.answer)}]


FORMAT = DatasetFormat(
    name="llama-factory",
    title="LLaMA-Factory's ShareGPT",
    parts=("sft",),
    use="""`dataset_info.json` names the dataset `rethink_sft`. In the trainer's YAML: `dataset_dir: FOLDER`, `media_dir: FOLDER`,
`dataset: rethink_sft`, `template: qwen3_vl`, `cutoff_len: 16384`, `image_max_pixels: 1048576`, and, as in the paper,
`freeze_vision_tower: true`, `freeze_multi_modal_projector: true`, `learning_rate: 2.0e-5`, `lr_scheduler_type: cosine`,
`warmup_ratio: 0.1`, `num_train_epochs: 1`.""",
    write=write_llama_factory,
)
