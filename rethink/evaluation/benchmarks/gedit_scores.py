"""GEdit-Bench (arXiv 2504.17761): VIEScore's two questions, each a list of scores of 0…10 of which the lowest counts.

An item scores √(semantics · quality), a task the mean of its items, and the benchmark the mean of its eleven tasks in
one language.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...progress import format_count
from .core import Figure, Item, Judged, Scores, Summary, UnreadableReply, as_flag, count, group_terms, mean, mean_figure

TASKS = (
    "background_change",
    "color_alter",
    "material_alter",
    "motion_change",
    "ps_human",
    "style_change",
    "subject-add",
    "subject-remove",
    "subject-replace",
    "text_change",
    "tone_transfer",
)
MEASURES = ("semantics", "quality", "overall")
INTERSECTION = "intersection subset"
_FENCE = "||V^=^V||"  # that the judge is asked to put around its answer


def read_scores(reply: str) -> list[float]:
    """The scores in a reply, as the benchmark's script finds them. 12 of 10 is accepted there, and here.

    Raises UnreadableReply where the script asks again: from its second try on, it draws a random number or never ends.
    """
    record = _find_record(reply)
    found = record.get("score") if isinstance(record, dict) else None
    scores: list[Any] = found if isinstance(found, list) else [found]
    if not scores or not all(_is_number(score) for score in scores):
        raise UnreadableReply("it has no list of scores")
    return [float(score) for score in scores]


def _find_record(reply: str) -> Any:
    """The JSON object in a reply: between two fences, otherwise from the first brace to the last. Without braces, two
    numbers in brackets, or a single number of 0…10."""
    if reply.count(_FENCE) == 2:
        return _parse(reply.split(_FENCE)[1])
    start, end = reply.find("{"), reply.rfind("}")
    if start >= 0 and end >= 0:
        return _parse(reply[start : end + 1])
    listed = reply[reply.find("[") : reply.rfind("]") + 1] if "[" in reply else ""
    if re.fullmatch(r"\[\d+, ?\d+\]", listed):
        return _parse(f'{{"score": {listed}}}')
    try:
        number = int(reply)
    except ValueError:
        number = -1
    if 0 <= number <= 10:
        return {"score": number}
    raise UnreadableReply(
        "it contains no object in braces, no two numbers in brackets, and is not a number from 0 to 10"
    )


def _parse(text: str) -> Any:
    text = text.strip().replace("\n", "")
    for candidate in (text, _quote(text)):
        try:
            record = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and "score" in record:
            return record
    raise UnreadableReply("its object in braces is not JSON with a score")


def _quote(text: str) -> str:
    """Add missing quotation marks to an object's keys or texts, where each value ends at the next comma."""

    def quote_value(entry: re.Match) -> str:
        value = entry["value"].strip()
        if re.fullmatch(r"-?\d+(\.\d+)?", value):
            value = f"[{value}]"
        elif value.lower() not in ("true", "false", "null"):
            value = f'"{value}"'
        return f"{entry['key']}: {value}{entry['end']}"

    return re.sub(r'(?P<key>".*?"):(?P<value>.*?)(?P<end>[,}])', quote_value, re.sub(r"(\w+):", r'"\1":', text))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def read_reply(item: Item, question: str, reply: str) -> Scores:
    """Read a reply to the question "semantics" or "quality". Raises UnreadableReply."""
    return {question: min(read_scores(reply))}


def item_score(item: Item, scores: Scores) -> float | None:
    """√(semantics · quality), 0…10."""
    semantics, quality = scores.get("semantics"), scores.get("quality")
    return None if semantics is None or quality is None else math.sqrt(semantics * quality)


def headline_terms(items: Sequence[Item], judged: Judged) -> dict[str, tuple[float, float]]:
    """The value and weight of each item in the mean of means."""
    return group_terms(items, judged, item_score)


def summarize(items: Sequence[Item], judged: Judged) -> Summary:
    """The mean of every task and their mean, over all items and over those edited by every editor in the paper."""
    rows = [(item, values) for item in items if (values := _values(item, judged)) is not None]
    shared = [(item, values) for item, values in rows if as_flag(item.tags.get("intersection"))]
    figures = [*_figures(rows, ""), *_figures(shared, INTERSECTION)]
    absent = [task for task in TASKS if not any(item.group == task for item, _ in rows)]
    notes = (
        [f"No scores for {', '.join(absent)}: the mean is of {format_count(len(TASKS) - len(absent), 'task')}."]
        if absent
        else []
    )
    return Summary(tuple(figures), *count(items, judged, _is_read), tuple(notes))


def _is_read(scores: Scores) -> bool:
    return all(scores.get(name) is not None for name in ("semantics", "quality"))


def _values(item: Item, judged: Judged) -> Mapping[str, float] | None:
    scores = judged.get(item.id)
    if scores is None or not _is_read(scores):
        return None
    return {name: float(value) for name, value in scores.items() if value is not None} | {
        "overall": item_score(item, scores) or 0.0
    }


def _figures(rows: Sequence[tuple[Item, Mapping[str, float]]], variant: str) -> list[Figure]:
    tasks = list(dict.fromkeys((*TASKS, *(item.group for item, _ in rows))))
    by_task = [
        mean_figure(task, measure, [values[measure] for item, values in rows if item.group == task], variant)
        for task in tasks
        for measure in MEASURES
    ]
    means = []
    for measure in MEASURES:
        of_tasks = [f.value for f in by_task if f.measure == measure and f.value is not None and f.name in TASKS]
        means.append(Figure("mean of tasks", measure, mean(of_tasks), len(rows), variant))
    return means + [figure for figure in by_task if figure.items]
