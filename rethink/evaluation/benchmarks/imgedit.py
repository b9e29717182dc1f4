"""ImgEdit-Bench's basic suite on disk (PKU-YuanGroup/ImgEdit; data sysuyy/ImgEdit's Benchmark.tar)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...atomic import atomic_write
from ...errors import RethinkError
from ...names import is_portable
from ...text_files import check_text, read_json, read_jsonl
from . import imgedit_scores as scores
from .core import (
    Benchmark,
    Item,
    Items,
    Judged,
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
)
from .prompts import find_code_file, read_json_prompts

LISTS = ("basic_edit.json", "singleturn.json", "basic_edit.jsonl", "singleturn.jsonl")
RESULT, RESULT_LINES = "result.json", "result.jsonl"
REPLIES = ("reply", "result", "response")  # what a line may call it


def read_items(folder: Path, language: str = "en") -> Items:
    """The items of `basic_edit.json` or `singleturn.json`, or of the same as JSON lines, with their images beside the
    file or below the folder."""
    file = _find_list(folder)
    record = read_json(file, "data") if file.suffix == ".json" else dict(_lines(file, "data", ()))
    if not isinstance(record, dict):
        raise RethinkError(f"data: {file} is not a list of edits by key.")
    items, problems = [], []
    for key, entry in record.items():
        try:
            items.append(_item(key, entry, (file.parent, folder)))
        except RethinkError as error:
            problems.append((key, str(error)))
    return Items(tuple(items), tuple(problems))


def _find_list(folder: Path) -> Path:
    if folder.is_file():
        return folder
    for name in LISTS:
        if found := sorted(folder.glob(f"**/{name}"), key=lambda file: len(file.parts)):
            return found[0]
    raise RethinkError(f"data: {folder} holds neither {' nor '.join(LISTS[:2])}; unpack ImgEdit's Benchmark.tar there.")


def _lines(file: Path, name: str, fields: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """(key, value) of every line: {key: value}, or a record with a “key” and, by one of the names of `fields`, its value."""
    for number, record in enumerate(read_jsonl(file, name), 1):
        if len(record) == 1 and isinstance(key := next(iter(record)), str):
            yield key, record[key]
        elif isinstance(key := record.get("key"), str):
            yield key, next((record[field] for field in fields if field in record), record)
        else:
            raise RethinkError(f"{name}: line {number} of {file} has no “key”.")


def _item(key: str, entry: Any, roots: Sequence[Path]) -> Item:
    if not is_portable(key):
        raise RethinkError("its key is not a file name")
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(name), str) for name in ("id", "prompt", "edit_type")
    ):
        raise RethinkError("it lacks its “id”, “prompt” or “edit_type”")
    if entry["edit_type"] not in scores.TYPES:
        raise RethinkError(f"its edit_type “{entry['edit_type']}” is not one of the nine")
    instruction = check_text(entry["prompt"], "its prompt")
    if not instruction.strip():
        raise RethinkError("its prompt is empty")
    load = image_below(entry["id"], roots)
    return Item(key, entry["edit_type"], instruction, {"source": load.read_bytes}, {"image": entry["id"]})


def result_names(item: Item) -> tuple[str, ...]:
    """`{key}.png`; Bagel and EditThinker write into `gen_image`."""
    return (f"{item.id}.png", f"gen_image/{item.id}.png")


def read_prompts(code: Path) -> Prompts:
    """A prompt for every type of edit."""
    file = find_code_file(code, "Benchmark/Basic/prompts.json", "judge_prompt.json")
    return read_json_prompts(file, scores.TYPES)


def questions(item: Item, prompts: Prompts) -> tuple[Question, ...]:
    """One call: source and edit."""
    prompt = prompts[item.group].replace("<edit_prompt>", item.instruction)
    return (Question("score", (prompt, Shown("source"), Shown("edited"))),)


def read_results(folder: Path, items: Sequence[Item]) -> Results | None:
    """The replies in `result.json`, or in `result.jsonl`, where the last line for an item counts."""
    files = find_result_files(folder, RESULT) or find_result_files(folder, RESULT_LINES)
    if not files:
        return None
    lines = files[0].name == RESULT_LINES
    record = dict(_lines(files[0], "results", REPLIES)) if lines else read_json(files[0], "results")
    if not isinstance(record, dict):
        raise RethinkError(f"results: {files[0]} holds no replies by key.")
    known = {item.id: item for item in items}
    judged = {key: _scores(known[key], reply) for key, reply in record.items() if key in known}
    strange = [key for key in record if key not in known]
    notes = (describe_strangers(len(strange)),) if strange else ()
    return Results(tuple(items), judged, notes)


def _scores(item: Item, reply: Any) -> Scores | None:
    try:
        return scores.read_reply(item, "score", reply)
    except UnreadableReply:
        return None


def write_results(
    folder: Path, model: str, items: Sequence[Item], replies: Mapping[str, Replies], judged: Judged
) -> None:
    """Write `result.json`: the replies by the items' keys, from which the benchmark's two steps continue."""
    found = {item.id: replies[item.id]["score"] for item in items if "score" in replies.get(item.id, {})}
    with atomic_write(folder / RESULT) as part:
        part.write_text(json.dumps(found, indent=4), encoding="utf-8")


_BOARD = partial(
    Published, figure=f"overall, {scores.BY_TYPE}", judge="gpt-4.1", source="leaderboard of PKU-YuanGroup/ImgEdit"
)
BENCHMARK = Benchmark(
    id="imgedit",
    title="ImgEdit-Bench",
    read_items=read_items,
    result_names=result_names,
    read_prompts=read_prompts,
    questions=questions,
    read_reply=scores.read_reply,
    item_score=scores.item_score,
    summarize=scores.summarize,
    read_results=read_results,
    write_results=write_results,
    headline=("overall", "score", scores.BY_TYPE),
    headline_terms=scores.headline_terms,
    judge="gpt-4.1",
    max_tokens=4096,
    temperature=1.0,
    published=(_BOARD("FLUX.1 Kontext [dev]", value=3.71), _BOARD("OmniGen2", value=3.44)),
)
