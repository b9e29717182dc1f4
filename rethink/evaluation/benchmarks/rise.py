"""RISEBench on disk (PhoenixZ810/RISEBench; data PhoenixZ/RISEBench)."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...atomic import atomic_write
from ...errors import RethinkError
from ...names import is_portable
from ...text_files import check_text, read_json
from . import rise_scores as scores
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
    Scores,
    Shown,
    UnreadableReply,
    describe_strangers,
    find_result_files,
    image_below,
    is_given,
)
from .prompts import fill, find_code_file, read_constants
from .spreadsheet import read_sheet

LISTS = ("datav2_total_w_subtask.json", "data_total.json")
JUDGES = {"judge1": "consistency", "judge2": "reasoning", "judge3": "plausibility"}  # in its files of replies
COLUMNS = {"consistency": "ApprConsistency", "reasoning": "Reasoning", "plausibility": "VisualPlausibility"}
REPLY_COLUMNS = {"judge1": "judge_cons", "judge2": "judge_reas", "judge3": "judge_qua"}  # of its spreadsheet
MOST_BYTES = 2**28
_PROMPTS = (
    "prompt_consist",
    "prompt_reasoning",
    "prompt_reasoning_w_input",
    "prompt_generation",
    "prompt_spatial_cons",
    "prompt_spatial_ref",
    "prompt_spatial_ref_w_input",
    "prompt_spatial_ref_img",
    "prompt_spatial_qual",
    "prompt_logical_cons_ans",
    "prompt_logical_cons",
    "prompt_logical_txt",
    "prompt_logical_img_wo_q",
)


def read_items(folder: Path, language: str = "en") -> Items:
    """The items of `datav2_total_w_subtask.json`, or of another of its lists, with images beside it or in `data`."""
    file = _find_list(folder)
    record = read_json(file, "data")
    if not isinstance(record, list):
        raise RethinkError(f"data: {file} is not a list of items.")
    home = file.parent
    items: dict[str, Item] = {}
    problems = []
    for number, entry in enumerate(record):
        name = str(entry.get("index", f"item {number}")) if isinstance(entry, dict) else f"item {number}"
        try:
            item = _item(entry, (home / "data", home, home.parent))
            if item.id in items:
                raise RethinkError("its index appears twice")
            items[item.id] = item
        except RethinkError as error:
            problems.append((name, str(error)))
    return Items(tuple(items.values()), tuple(problems))


def _find_list(folder: Path) -> Path:
    if folder.is_file():
        return folder
    for name in (*LISTS, "data*.json"):
        if found := sorted(folder.glob(f"**/{name}"), key=lambda file: len(file.parts)):
            return found[0]
    raise RethinkError(
        f"data: {folder} holds no {LISTS[0]}; download PhoenixZ/RISEBench there and unpack its data.zip."
    )


def _item(entry: Any, roots: Sequence[Path]) -> Item:
    if not isinstance(entry, dict):
        raise RethinkError("it is not a record")
    index, category = entry.get("index"), entry.get("category")
    index = str(index) if isinstance(index, int) else index
    if not isinstance(index, str) or not is_portable(index):
        raise RethinkError("its index is not a file name")
    if category not in scores.CATEGORIES:
        raise RethinkError(f"its category {category!r} is not one of the four")
    instruction = check_text(entry.get("instruction"), "its instruction")
    if not instruction.strip():
        raise RethinkError("its instruction is empty")
    tags = {name: value for name, value in entry.items() if name not in ("index", "category", "instruction", "image")}
    _check_reference(category, tags)
    images: dict[str, LoadBytes] = {"source": image_below(str(entry.get("image", "")), roots).read_bytes}
    if is_given(tags.get("reference_img")):
        images["reference"] = image_below(str(tags["reference_img"]), roots).read_bytes
    return Item(index, category, instruction, images, tags)


def _check_reference(category: str, tags: Mapping[str, Any]) -> None:
    """Check that an item has the text or image that shows what is right."""
    needed = ("reference_txt", "reference_img") if category == scores.LOGICAL else ("reference",)
    if category == "spatial_reasoning":
        needed = ("reference", "reference_img")
    if not any(is_given(tags.get(name)) for name in needed):
        raise RethinkError(f"it lacks its “{'” or “'.join(needed)}”")


def result_names(item: Item) -> tuple[str, ...]:
    """`images/{category}/{index}` as PNG or JPEG; EditThinker leaves out `images`."""
    stems = (f"images/{item.group}/{item.id}", f"{item.group}/{item.id}")
    return tuple(f"{stem}.{ending}" for stem in stems for ending in ("png", "jpg", "jpeg"))


def read_prompts(code: Path) -> Prompts:
    """The prompts of `utils.py`."""
    return read_constants(find_code_file(code, "utils.py"), _PROMPTS)


def questions(item: Item, prompts: Prompts) -> tuple[Question, ...]:
    """Consistency unless it is free, reasoning, and plausibility unless the item is logical."""
    ask = _ask_logical if item.group == scores.LOGICAL else _ask_spatial
    ask = _ask_change if item.group in ("temporal_reasoning", "causal_reasoning") else ask
    return tuple(question for question in ask(item, prompts) if question.name in scores.measures_of(item))


def _ask_change(item: Item, prompts: Prompts) -> tuple[Question, ...]:
    """Questions for temporal and causal items, where a text says what should have happened."""
    first = Shown("source") if is_given(item.tags.get("reasoning_img")) else None
    name = "prompt_reasoning_w_input" if first else "prompt_reasoning"
    reasoning = fill(prompts[name], instruct=item.instruction, reference=item.tags["reference"])
    consistency = fill(prompts["prompt_consist"], instruct=item.instruction)
    return _three(Shown("source"), first, consistency, reasoning, prompts["prompt_generation"])


def _ask_spatial(item: Item, prompts: Prompts) -> tuple[Question, ...]:
    with_image = is_given(item.tags.get("reference_img"))
    first = Shown("reference" if with_image else "source")
    name = "prompt_spatial_ref_w_input" if is_given(item.tags.get("reasoning_img")) else "prompt_spatial_ref"
    name = "prompt_spatial_ref_img" if with_image else name
    reference = {} if with_image else {"reference": item.tags["reference"]}
    reasoning = fill(prompts[name], instruct=item.instruction, **reference)
    consistency = fill(prompts["prompt_spatial_cons"], instruct=item.instruction)
    shown = None if name == "prompt_spatial_ref" else first
    return _three(first, shown, consistency, reasoning, prompts["prompt_spatial_qual"])


def _ask_logical(item: Item, prompts: Prompts) -> tuple[Question, ...]:
    values = {"instruct": item.instruction, "reference": item.tags.get("reference_txt")}
    if is_given(item.tags.get("reference_txt")):
        consistency = fill(prompts["prompt_logical_cons_ans"], **values)
        return _three(Shown("source"), None, consistency, fill(prompts["prompt_logical_txt"], **values), "")
    consistency = fill(prompts["prompt_logical_cons"], instruct=item.instruction)
    first = Shown("reference")
    return _three(first, first, consistency, prompts["prompt_logical_img_wo_q"], "")


def _three(
    first: Shown, shown: Shown | None, consistency: str, reasoning: str, plausibility: str
) -> tuple[Question, ...]:
    """first: the image for the question of consistency. shown: the image beside the edit for its reasoning, if any."""
    edited = Shown("edited")
    return (
        Question("consistency", (consistency, first, edited)),
        Question("reasoning", (reasoning, *((shown,) if shown else ()), edited)),
        Question("plausibility", (plausibility, edited)),
    )


def read_results(folder: Path, items: Sequence[Item]) -> Results | None:
    """The replies in `{model}.pkl`, from which the script resumes, or the rows of its final `{model}_judge.xlsx`.

    A spreadsheet describes its items itself, so it needs no data.
    """
    files = _only_one(find_result_files(folder, "*.pkl"))
    if files:
        record = {str(index): replies for index, replies in _read_replies(files[0]).items()}
        return _results(record, items, _scores)
    files = _only_one(find_result_files(folder, "*_judge.xlsx"))
    if not files:
        return None
    rows = {str(row["index"]): row for row in read_sheet(files[0]) if isinstance(row.get("index"), (str, float))}
    if not rows:
        raise RethinkError(f"results: {files[0]} has no row with an “index”.")
    return _results(rows, items or _items_of(rows), _row_scores)


def _only_one(files: list[Path]) -> list[Path]:
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:5])
        raise RethinkError(
            f"results: {files[0].parent} holds the replies of several runs ({names}); keep only one of them there."
        )
    return files


def _results(record: Mapping[str, Any], items: Sequence[Item], read: Callable[[Item, Any], Scores | None]) -> Results:
    known = {item.id: item for item in items}
    judged = {index: read(known[index], found) for index, found in record.items() if index in known}
    strange = [index for index in record if index not in known]
    notes = (describe_strangers(len(strange)),) if strange else ()
    return Results(tuple(items), judged, notes)


def _items_of(rows: Mapping[str, Mapping[str, Any]]) -> list[Item]:
    """The items that a spreadsheet has rows for, without images."""
    return [
        Item(index, str(row["category"]), str(row.get("instruction") or ""), tags=dict(row))
        for index, row in rows.items()
        if row.get("category") in scores.CATEGORIES
    ]


def _row_scores(item: Item, row: Mapping[str, Any]) -> Scores | None:
    """The scores from a row's replies, or its numbers if it has no replies."""
    replies = {judge: row[column] for judge, column in REPLY_COLUMNS.items() if isinstance(row.get(column), str)}
    if replies:
        return _scores(item, replies)
    numbers = {name: row.get(COLUMNS[name]) for name in scores.measures_of(item)}
    if all(isinstance(value, float) and 1 <= value <= 5 for value in numbers.values()):
        return numbers
    return None


class _PlainUnpickler(pickle.Unpickler):
    """Read only texts, numbers, lists and dicts: a pickle that names any class or function is rejected."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it holds {module}.{name}, not only texts")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def _read_replies(file: Path) -> Mapping[str, Any]:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise RethinkError("it is too large")
        record = _PlainUnpickler(io.BytesIO(file.read_bytes())).load()
    except Exception as error:  # a broken pickle raises anything
        raise RethinkError(f"results: {file} cannot be read: {error}.") from error
    if not isinstance(record, dict):
        raise RethinkError(f"results: {file} holds no replies by index.")
    return record


def _scores(item: Item, replies: Any) -> Scores | None:
    """All of an item's scores, or None: as in the script, one unreadable reply invalidates the others."""
    texts = {name: replies.get(judge) for judge, name in JUDGES.items()} if isinstance(replies, dict) else {}
    found: dict[str, float | None] = {}
    for name in scores.measures_of(item):
        if not isinstance(reply := texts.get(name), str):
            return None
        try:
            found |= scores.read_reply(item, name, reply)
        except UnreadableReply:
            return None
    return found


def write_results(
    folder: Path, model: str, items: Sequence[Item], replies: Mapping[str, Replies], judged: Judged
) -> None:
    """Write `{model}.pkl`: the replies of every item that has all of them. The script continues from there."""
    found = {}
    for item in items:
        texts, names = replies.get(item.id, {}), scores.measures_of(item)
        if all(name in texts for name in names):
            found[item.id] = {judge: texts[name] for judge, name in JUDGES.items() if name in names}
            if scores.is_free(item):
                found[item.id]["judge1"] = None
    with atomic_write(folder / f"{model}.pkl") as part:
        part.write_bytes(pickle.dumps(found, protocol=4))


_PAPER = partial(Published, judge="gpt-4.1", source="RISEBench's leaderboard")
BENCHMARK = Benchmark(
    id="rise",
    title="RISEBench",
    read_items=read_items,
    result_names=result_names,
    read_prompts=read_prompts,
    questions=questions,
    read_reply=scores.read_reply,
    item_score=scores.item_score,
    summarize=scores.summarize,
    read_results=read_results,
    write_results=write_results,
    headline=("overall", "accuracy", scores.NEW_RULE),
    headline_terms=scores.headline_terms,
    judge="gpt-4.1-2025-04-14",
    max_tokens=4096,
    temperature=0.0,
    published=(
        _PAPER("FLUX.1 Kontext [dev]", f"accuracy {scores.OLD_RULE}", 5.8),
        _PAPER("Qwen-Image-Edit", f"accuracy {scores.OLD_RULE}", 8.9),
        _PAPER("Qwen-Image-Edit", f"accuracy {scores.NEW_RULE}", 9.2),
    ),
)
