"""KRIS-Bench on disk (mercurystraw/Kris_Bench; its scripts are also in ByteDance-Seed/Bagel)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...atomic import atomic_write
from ...errors import RethinkError
from ...names import is_portable
from ...progress import format_count
from ...text_files import check_text, read_json
from . import kris_scores as scores
from .core import (
    Benchmark,
    Item,
    Items,
    Judged,
    LoadBytes,
    Prompts,
    Question,
    Replies,
    Results,
    Scores,
    Shown,
    find_result_files,
    image_below,
    is_given,
    natural_key,
)
from .prompts import fill, find_code_file, read_constants

METRICS, LIST = "metrics.json", "final_data.json"
_FRAME = re.compile(r"(\d+)-(\d+)")
_PROMPTS = (
    "prompt_consist",
    "prompt_quality",
    "prompt_instruction_following",
    "prompt_dual_evaluation",
    "prompt_view_instruction_following",
    "prompt_consist_multi",
    "prompt_instruction_multi",
    "prompt_consist_temporal",
    "prompt_instruction_temporal",
)


def read_items(folder: Path, language: str = "en") -> Items:
    """The items of every `{category}/annotation.json`, or of Bagel's `final_data.json`, which is one list.

    Raises RethinkError where there are none.
    """
    if folder.is_file():
        return _read_list(folder, (folder.parent / "KRIS_Bench", folder.parent))
    home = folder / "KRIS_Bench" if (folder / "KRIS_Bench").is_dir() else folder
    items, problems = [], []
    found = [category for category in scores.CATEGORIES if (home / category / "annotation.json").is_file()]
    if not found and (lists := [place / LIST for place in (folder, home) if (place / LIST).is_file()]):
        return _read_list(lists[0], (home, folder))
    if not found:
        raise RethinkError(
            f"data: {folder} holds neither CATEGORY/annotation.json nor {LIST}; download KRIS_Bench there."
        )
    problems += [
        (category, "its annotation.json is missing") for category in scores.CATEGORIES if category not in found
    ]
    for category in found:
        try:
            record = read_json(home / category / "annotation.json", "data")
            if not isinstance(record, dict):
                raise RethinkError("its annotation.json holds no items by id")
        except RethinkError as error:
            problems.append((category, str(error)))
            continue
        for id in sorted(record, key=natural_key):
            try:
                items.append(_item(category, id, record[id], home / category))
            except RethinkError as error:
                problems.append((f"{category}/{id}", str(error)))
    return Items(tuple(items), tuple(problems))


def _read_list(file: Path, homes: Sequence[Path]) -> Items:
    """The items of a list of records with “id” and “type”. The images are in one folder per type."""
    record = read_json(file, "data")
    if not isinstance(record, list):
        raise RethinkError(f"data: {file} is not a list of items.")
    items: dict[str, Item] = {}
    problems = []
    for number, entry in enumerate(record, 1):
        name = f"item {number}"
        try:
            if not isinstance(entry, dict) or entry.get("type") not in scores.CATEGORIES:
                raise RethinkError("its “type” is not one of the 22")
            category, id = entry["type"], str(entry.get("id", ""))
            name = f"{category}/{id}"
            if name in items:
                raise RethinkError("its id appears twice")
            home = next((home / category for home in homes if (home / category).is_dir()), homes[0] / category)
            items[name] = _item(category, id, entry, home)
        except RethinkError as error:
            problems.append((name, str(error)))
    missing = [category for category in scores.CATEGORIES if not any(i.group == category for i in items.values())]
    problems += [(category, f"it has no items in {file.name}") for category in missing]
    return Items(tuple(items.values()), tuple(problems))


def _item(category: str, id: str, entry: Any, home: Path) -> Item:
    if not isinstance(entry, dict) or not is_portable(id):
        raise RethinkError("it is not a record, or its id is not a file name")
    instruction = check_text(entry.get("ins_en") or entry.get("instruction"), "its “ins_en”")
    if not instruction.strip():
        raise RethinkError("its “ins_en” is empty")
    names = entry.get("ori_img")
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not names:
        raise RethinkError("it lacks its “ori_img”")
    loads = [image_below(str(name), (home,)).read_bytes for name in names]
    images: dict[str, LoadBytes] = {f"source {n}" if n > 1 else "source": load for n, load in enumerate(loads, 1)}
    if category == scores.VIEWPOINT:
        images["truth"] = image_below(str(entry.get("gt_img") or ""), (home,)).read_bytes
    tags = {"id": id, "explanation": entry.get("explain_en") or entry.get("explain") or "", "files": tuple(names)}
    if category in scores.KNOWING and not is_given(tags["explanation"]):
        raise RethinkError("it lacks its “explain_en”, which the judge is told")
    return Item(f"{category}/{id}", category, instruction, images, tags)


def result_names(item: Item) -> tuple[str, ...]:
    """`{category}/{id}.jpg`; Bagel and EditThinker write PNG."""
    return tuple(f"{item.id}.{ending}" for ending in ("jpg", "png", "jpeg"))


def read_prompts(code: Path) -> Prompts:
    """The prompts of `prompts.py`."""
    return read_constants(find_code_file(code, "utils/prompts.py", "eval/gen/kris/prompts.py"), _PROMPTS)


def questions(item: Item, prompts: Prompts) -> tuple[Question, ...]:
    """Consistency, instruction (with knowledge where the item needs it) and quality. A label precedes every image."""
    edited = ("Edited image:", Shown("edited"))
    quality = Question(scores.QUALITY, (prompts["prompt_quality"], *edited))  # unchanged, including its doubled braces
    if item.group in (scores.MULTI, scores.TEMPORAL):
        return (*_ask_several(item, prompts), quality)
    both = ("Original image:", Shown("source"), *edited)
    consistency = Question(scores.CONSISTENCY, (fill(prompts["prompt_consist"], instruct=item.instruction), *both))
    if item.group in scores.KNOWING:
        explanation = item.tags["explanation"]
        prompt = fill(prompts["prompt_dual_evaluation"], instruct=item.instruction, explanation=explanation)
        return (consistency, Question("dual", (prompt, *both)), quality)
    name, truth = "prompt_instruction_following", ()
    if item.group == scores.VIEWPOINT:
        name, truth = "prompt_view_instruction_following", ("Ground truth image:", Shown("truth"))
    prompt = fill(prompts[name], instruct=item.instruction)
    return (consistency, Question(scores.INSTRUCTION, (prompt, *both, *truth)), quality)


def _ask_several(item: Item, prompts: Prompts) -> tuple[Question, Question]:
    """Questions about several images to combine, or about frames of which one is to be made, in order."""
    kind = "multi" if item.group == scores.MULTI else "temporal"
    parts, number = _frames(item) if kind == "temporal" else (_elements(item), 0)
    values = {"instruct": item.instruction} | ({"N": number} if kind == "temporal" else {})
    return (
        Question(scores.CONSISTENCY, (fill(prompts[f"prompt_consist_{kind}"], **values), *parts)),
        Question(scores.INSTRUCTION, (fill(prompts[f"prompt_instruction_{kind}"], **values), *parts)),
    )


def _elements(item: Item) -> tuple[str | Shown, ...]:
    roles = [role for role in item.images if role.startswith("source")]
    labeled = [part for n, role in enumerate(roles, 1) for part in (f"Reference image {n}:", Shown(role))]
    return (*labeled, "Predicted image:", Shown("edited"))


def _frames(item: Item) -> tuple[tuple[str | Shown, ...], int]:
    """The frames `id-n`, with the edit as the missing one of the four, and its number."""
    roles = [role for role in item.images if role.startswith("source")]
    numbers = [int(found[2]) if (found := _FRAME.search(name)) else 0 for name in item.tags["files"]]
    missing = sorted({1, 2, 3, 4} - set(numbers))
    number = missing[0] if len(missing) == 1 else max(numbers) + 1
    frames = [(n, f"Frame {n} (given):", Shown(role)) for n, role in zip(numbers, roles)]
    frames.append((number, f"Frame {number} (generated):", Shown("edited")))
    frames.sort(key=lambda frame: frame[0])
    return tuple(part for _, *parts in frames for part in parts), number


def read_results(folder: Path, items: Sequence[Item]) -> Results | None:
    """The scores of every `{category}/metrics.json`."""
    files = {file.parent.name: file for file in find_result_files(folder, METRICS, levels=1)}
    files = {category: file for category, file in files.items() if category in scores.CATEGORIES}
    if not files:
        return None
    known, judged = {item.id: item for item in items}, {}
    extra: dict[str, Item] = {}
    for category, file in files.items():
        record = read_json(file, "results")
        for id, entry in record.items() if isinstance(record, dict) else ():
            item = known.get(f"{category}/{id}") or Item(f"{category}/{id}", category, "")
            judged[item.id] = _scores(category, entry)
            if item.id not in known:
                extra[item.id] = item
    notes = (
        (f"{format_count(len(extra), 'item is', 'items are')} in the results but not in the data.",)
        if extra and items
        else ()
    )
    return Results((*items, *extra.values()), judged, notes)


def _scores(category: str, entry: Any) -> Scores | None:
    """The scores that are numbers; None where none is."""
    values = entry if isinstance(entry, dict) else {}
    found = {name: values.get(name) for name in scores.measures_of(category)}
    numbers = {
        name: float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        for name, value in found.items()
    }
    return numbers if any(value is not None for value in numbers.values()) else None


def write_results(
    folder: Path, model: str, items: Sequence[Item], replies: Mapping[str, Replies], judged: Judged
) -> None:
    """Write `{category}/metrics.json`: the scores of every item, null for those that the scripts must ask for again."""
    records: dict[str, dict[str, Any]] = {}
    for item in items:
        if item.id in judged:
            values = judged[item.id] or {}
            numbers = {
                name: None if (value := values.get(name)) is None else int(value)
                for name in scores.measures_of(item.group)
            }
            texts = {"instruction": item.instruction, "explain": item.tags.get("explanation", "")}
            records.setdefault(item.group, {})[item.id.partition("/")[2]] = texts | numbers
    for category, record in records.items():
        (folder / category).mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / category / METRICS) as part:
            part.write_text(json.dumps(record, ensure_ascii=False, indent=2), encoding="utf-8")


BENCHMARK = Benchmark(
    id="kris",
    title="KRIS-Bench",
    read_items=read_items,
    result_names=result_names,
    read_prompts=read_prompts,
    questions=questions,
    read_reply=scores.read_reply,
    item_score=scores.item_score,
    summarize=scores.summarize,
    read_results=read_results,
    write_results=write_results,
    headline=("overall", "average", scores.POOLED),
    headline_terms=scores.headline_terms,
    judge="gpt-4o",
    max_tokens=1000,
    temperature=1.0,
    partial=True,
)
