"""verl's parquet for GRPO, with the images' bytes inside, as in its multimodal examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ...atomic import atomic_write
from ...errors import lazy_import
from ..rows import Row, flat_text
from ..rules import Part
from .core import DatasetFormat

FILE = "verl-rl.parquet"
ROWS_AT_ONCE = 32  # rows in memory, with their images


def write_verl(part: Part, rows: Iterable[Row], folder: Path) -> str:
    """Write `verl-rl.parquet`: data_source, prompt, images, ability, reward_model, extra_info."""
    arrow, parquet = lazy_import("pyarrow"), lazy_import("pyarrow.parquet")
    schema = _schema(arrow)
    with atomic_write(folder / FILE) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for records in _batches(_record(row, number, folder) for number, row in enumerate(rows)):
            writer.write_table(arrow.Table.from_pylist(records, schema))
    return FILE


def _schema(arrow: Any) -> Any:
    text = arrow.string()
    message = arrow.struct([("role", text), ("content", text)])
    return arrow.schema(
        [
            ("data_source", text),
            ("prompt", arrow.list_(message)),
            ("images", arrow.list_(arrow.struct([("bytes", arrow.binary())]))),
            ("ability", text),
            ("reward_model", arrow.struct([("style", text), ("ground_truth", text)])),
            ("extra_info", arrow.struct([("split", text), ("index", arrow.int64()), ("id", text)])),
        ]
    )


def _record(row: Row, number: int, folder: Path) -> dict[str, Any]:
    return {
        "data_source": "rethink",
        "prompt": [{"role": "user", "content": flat_text(row.messages)}],
        "images": [{"bytes": (folder / name).read_bytes()} for name in row.images],
        "ability": "image_editing",
        "reward_model": {"style": "rule", "ground_truth": row.task_json},
        "extra_info": {"split": "train", "index": number, "id": row.id},
    }


def _batches(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(records, ROWS_AT_ONCE)):
        yield batch


FORMAT = DatasetFormat(
    name="verl",
    title="verl's parquet",
    parts=("rl",),
    use="""`data.train_files=FOLDER/verl-rl.parquet data.prompt_key=prompt data.image_key=images data.max_prompt_length=16384
data.max_response_length=2048`: the defaults are too short for a question with two images. `reward_model.ground_truth` is a JSON string: in
`compute_score`, `json.loads(ground_truth)` has `instruction`, `prompt`, `source`, `edited`, `semantic` and `quality` (the scores of
the edit shown). The images' bytes are in the file.""",
    write=write_verl,
)
