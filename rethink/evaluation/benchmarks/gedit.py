"""GEdit-Bench on disk (stepfun-ai/Step1X-Edit; data stepfun-ai/GEdit-Bench)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...atomic import atomic_write
from ...errors import RethinkError
from ...names import is_portable
from ...text_files import check_text, decode_text
from . import gedit_scores as scores
from .core import (
    Benchmark,
    Item,
    Items,
    Judged,
    LoadBytes,
    Prompts,
    Published,
    Question,
    Replies,
    Results,
    Shown,
    as_flag,
    find_result_files,
)
from .prompts import find_code_file, read_constants
from .tables import find_tables, read_rows

LANGUAGES = {"en": "en", "cn": "cn", "zh": "cn"}  # the statistics ask for zh, the data says cn
IMAGES = ("input_image", "input_image_raw")
COLUMNS = (
    "source_image",
    "edited_image",
    "instruction",
    "sementics_score",  # its own spelling
    "quality_score",
    "intersection_exist",
    "instruction_language",
)
BACKBONE = "gpt4o"  # the folder that its statistics look in, whatever the judge
_PROMPTS = (
    "_context_no_delimit",
    "_prompts_0shot_two_image_edit_rule",
    "_prompts_0shot_tie_rule_SC",
    "_prompts_0shot_rule_PQ",
)


def read_items(folder: Path, language: str = "en") -> Items:
    """The rows of one language in the hub's files. Raises RethinkError where there are no files."""
    tables = find_tables(folder)
    if not tables:
        raise RethinkError(f"data: {folder} holds no .arrow or .parquet file; download stepfun-ai/GEdit-Bench there.")
    items: dict[str, Item] = {}
    problems: list[tuple[str, str]] = []
    for table in tables:
        try:
            for number, row in enumerate(read_rows(table, IMAGES)):
                where = f"{table.name}, row {number}"
                try:
                    item = _item(row)
                    if LANGUAGES.get(str(row["instruction_language"])) != LANGUAGES[language]:
                        continue
                    if item.id in items:
                        raise RethinkError("its key appears twice")
                    items[item.id] = item
                except (RethinkError, KeyError) as error:
                    problems.append((where, f"{error}" if isinstance(error, RethinkError) else f"it has no {error}"))
        except RethinkError as error:
            problems.append((table.name, str(error)))
    return Items(tuple(items.values()), tuple(problems))


def _item(row: Mapping[str, Any]) -> Item:
    key, task, language = row["key"], row["task_type"], row["instruction_language"]
    if language not in LANGUAGES:
        raise RethinkError(f"its language {language!r} is neither en nor cn")
    if task not in scores.TASKS:
        raise RethinkError(f"its task {task!r} is not one of the eleven")
    if not isinstance(key, str) or not is_portable(key):
        raise RethinkError(f"its key {key!r} is not a file name")
    instruction = check_text(row["instruction"], "its instruction")
    if not instruction.strip():
        raise RethinkError("its instruction is empty")
    load: LoadBytes = row["input_image"]
    tags = {"key": key, "language": language, "intersection": as_flag(row["Intersection_exist"])}
    return Item(f"{task}/{language}/{key}", task, instruction, {"source": load}, tags)


def result_names(item: Item) -> tuple[str, ...]:
    """`fullset/{task}/{language}/{key}.png`."""
    return (f"fullset/{item.id}.png",)


def source_name(item: Item) -> str:
    """`{key}_SRCIMG.png` beside the edit: the judge's script skips an item that lacks it."""
    return f"fullset/{item.id}_SRCIMG.png"


def read_prompts(code: Path) -> Prompts:
    """VIEScore's prompts."""
    return read_constants(
        find_code_file(code, "GEdit-Bench/viescore/vie_prompts.py", "viescore/vie_prompts.py"), _PROMPTS
    )


def questions(item: Item, prompts: Prompts) -> tuple[Question, ...]:
    """Source and edit for the semantics, the edit alone for its quality."""
    context, rule, semantics, quality = (prompts[name] for name in _PROMPTS)
    prompt = "\n".join((context, rule, semantics)).replace("<instruction>", item.instruction)
    return (
        Question("semantics", (prompt, Shown("source"), Shown("edited"))),
        Question("quality", ("\n".join((context, quality)), Shown("edited"))),
    )


def read_results(folder: Path, items: Sequence[Item]) -> Results | None:
    """The scores in `*_gpt_score.csv`: those of the tasks, or the combined file where there are none."""
    files = find_result_files(folder, "*_gpt_score.csv")
    of_tasks = [file for file in files if not file.name.endswith("_combined_gpt_score.csv")]
    if not files:
        return None
    known, found, judged, notes = {item.id: item for item in items}, [], {}, []
    languages = {item.tags["language"] for item in items}
    for file in of_tasks or files:
        for number, row in enumerate(_csv_rows(file)):
            item = _scored_item(file, row, known)
            if item is None:
                notes.append(f"{file.name}: row {number + 1} names no task and key and was left out.")
                continue
            if languages and item.tags["language"] not in languages:
                continue
            if item.id in judged:  # a run that was killed and restarted duplicates rows; its statistics count both
                notes.append(
                    f"{item.id} appears more than once and is counted each time, as in the benchmark's script."
                )
                again = f"{item.id}#{len(found)}"
                item = Item(again, item.group, item.instruction, item.images, item.tags)
            found.append(item)
            judged[item.id] = _read_row(row)
    absent = [item for item in items if item.id not in judged]
    return Results((*found, *absent), judged, tuple(dict.fromkeys(notes)))


def _csv_rows(file: Path) -> Iterator[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(decode_text(file.read_bytes(), str(file)), newline=""))
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise RethinkError(f"{file} has no column {', '.join(missing)}; it was not written by GEdit-Bench's script.")
    yield from reader


def _scored_item(file: Path, row: Mapping[str, str], known: Mapping[str, Item]) -> Item | None:
    """The item of a row, by the path of its edit, …/fullset/{task}/{language}/{key}.png."""
    parts = Path(row["edited_image"].replace("\\", "/")).parts
    name = file.name.removesuffix("_gpt_score.csv")
    task = next((task for task in scores.TASKS if name.endswith(f"_{task}")), parts[-3] if len(parts) > 2 else "")
    language = LANGUAGES.get(row["instruction_language"])
    if task not in scores.TASKS or language is None or not parts:
        return None
    key = Path(parts[-1]).stem
    id = f"{task}/{language}/{key}"
    tags = {"key": key, "language": language, "intersection": as_flag(row["intersection_exist"])}
    found = known.get(id)
    return Item(id, task, found.instruction if found else row["instruction"], found.images if found else {}, tags)


def _read_row(row: Mapping[str, str]) -> dict[str, float | None] | None:
    try:
        found = {name: float(row[column]) for name, column in zip(("semantics", "quality"), COLUMNS[3:5])}
    except (TypeError, ValueError):
        return None
    return dict(found) if all(0 <= value < float("inf") for value in found.values()) else None


def write_results(
    folder: Path, model: str, items: Sequence[Item], replies: Mapping[str, Replies], judged: Judged
) -> None:
    """Write a CSV per task and a combined one, as the benchmark's statistics read them; only items with scores."""
    home = folder / BACKBONE / "eval_results_new"
    home.mkdir(parents=True, exist_ok=True)
    rows = {task: [] for task in scores.TASKS}
    for item in items:
        values = judged.get(item.id)
        if values is not None and scores.item_score(item, values) is not None:
            rows[item.group].append(_row(folder, item, values))
    for task, lines in rows.items():
        _write_csv(home / f"{model}_{task}_gpt_score.csv", lines)
    _write_csv(home / f"{model}_combined_gpt_score.csv", [line for lines in rows.values() for line in lines])


def _row(folder: Path, item: Item, values: Mapping[str, float | None]) -> tuple[object, ...]:
    edited = folder / result_names(item)[0]
    source = edited.with_name(f"{edited.stem}_SRCIMG.png")
    language, shared = item.tags["language"], item.tags["intersection"]
    return (source, edited, item.instruction, values["semantics"], values["quality"], shared, language)


def _write_csv(file: Path, rows: Sequence[Sequence[object]]) -> None:
    with atomic_write(file) as part, part.open("w", encoding="utf-8", errors="replace", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        writer.writerows(rows)


_BOARD = "README of meituan-longcat/LongCat-Image"
BENCHMARK = Benchmark(
    id="gedit",
    title="GEdit-Bench",
    read_items=read_items,
    result_names=result_names,
    read_prompts=read_prompts,
    questions=questions,
    read_reply=scores.read_reply,
    item_score=scores.item_score,
    summarize=scores.summarize,
    read_results=read_results,
    write_results=write_results,
    headline=("mean of tasks", "overall", ""),
    headline_terms=scores.headline_terms,
    judge="gpt-4.1",
    max_tokens=1400,
    temperature=1.0,
    source_name=source_name,
    resizes=True,
    scale=(0, 10),
    published=(
        Published("FLUX.1 Kontext [dev]", "mean of tasks, en", 6.00, "gpt-4.1", _BOARD),
        Published("Qwen-Image-Edit", "mean of tasks, en", 7.56, "gpt-4.1", _BOARD),
    ),
)
