"""RISEBench (arXiv 2504.02826): consistency, reasoning and plausibility of 1…5; logical items have two answers of 0 or 1.

Two figures are in use in more than one variant, so both are given:

- accuracy: the share of items with the best score in everything that was asked. Before April 2026, items whose
  consistency is free never counted as right; since then they need the other two scores.
- score: by the weights as written, and as the script runs. In the script, a missing flag is NaN, which is true, so that
  every item except the logical ones is weighted like a free one as soon as one item in the file has the flag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .core import Figure, Item, Judged, Scores, Summary, UnreadableReply, as_flag, is_given, mean, mean_figure

CATEGORIES = ("temporal_reasoning", "causal_reasoning", "spatial_reasoning", "logical_reasoning")
LOGICAL = "logical_reasoning"
MEASURES = ("consistency", "reasoning", "plausibility")
NEW_RULE, OLD_RULE, READ_ONLY = "since April 2026", "before April 2026", "since April 2026, of items that were read"
AS_RUN, AS_WRITTEN = "weights as run", "weights as written"
_BEST = 5.0


def read_score(reply: str) -> int:
    """The number after “Final Score”, as the benchmark's script finds it.

    Raises UnreadableReply where there is none, or where there are several: these make the script mix up its columns or fail.
    """
    for words in ("Final Score", "Final Scores"):
        runs = re.findall(rf"{words}\*{{0,2}}:?\s*([\d*\s,]*)", reply, re.IGNORECASE)
        found = next((numbers for run in runs if (numbers := re.findall(r"\d+", run))), [])
        if len(found) > 1:
            raise UnreadableReply("it has several numbers after “Final Score”")
        if found:
            return int(found[0])
    raise UnreadableReply("it has no number after “Final Score”")


def read_reply(item: Item, question: str, reply: str) -> Scores:
    """Read a reply about one of the MEASURES: 0 and 1 of a logical item become 1 and 5. Raises UnreadableReply."""
    number = read_score(reply)
    return {question: float(4 * min(number, 1) + 1 if item.group == LOGICAL else number)}


def measures_of(item: Item) -> tuple[str, ...]:
    """Which of the MEASURES an item is judged by."""
    names = MEASURES[:2] if item.group == LOGICAL else MEASURES
    return names[1:] if is_free(item) else names


def is_free(item: Item) -> bool:
    """Whether its consistency is not judged."""
    value = item.tags.get("consistency_free")
    return item.group != LOGICAL and is_given(value) and as_flag(value)


def item_score(item: Item, scores: Scores) -> float | None:
    """1…5, by the weights as written."""
    return _score(item, scores, is_free(item))


def _score(item: Item, scores: Scores, free: bool) -> float | None:
    if not _is_read(item, scores):
        return None
    consistency, reasoning, plausibility = (scores.get(name) or 0.0 for name in MEASURES)
    if item.group == LOGICAL:
        score = 0.3 * consistency + 0.7 * reasoning
    elif free:
        score = 0.2 * plausibility + 0.8 * reasoning
    else:
        score = 0.3 * consistency + 0.5 * reasoning + 0.2 * plausibility
    return max(1.0, score * 0.5) if reasoning == 1 else score


def _is_read(item: Item, scores: Scores) -> bool:
    return all(scores.get(name) is not None for name in measures_of(item))


def _is_right(item: Item, scores: Scores, new_rule: bool) -> bool:
    return (new_rule or not is_free(item)) and all(scores.get(name) == _BEST for name in measures_of(item))


def headline_terms(items: Sequence[Item], judged: Judged) -> dict[str, tuple[float, float]]:
    """100 for every item that is right by the rule since April 2026, 0 for every other judged item; equal weights."""
    rows = [(item, judged[item.id]) for item in items if item.id in judged]
    return {item.id: (100.0 * (scores is not None and _is_right(item, scores, True)), 1.0) for item, scores in rows}


def percent(score: float | None) -> float | None:
    """1…5 as 0…100."""
    return None if score is None else 25 * (score - 1)


def summarize(items: Sequence[Item], judged: Judged) -> Summary:
    """Accuracy and scores overall, of every category and of every subtask.

    An item with an unreadable reply counts as wrong, as in the script, and is left out of the means.
    """
    known = [item for item in items if item.id in judged]
    rows = [(item, scores) for item in known if (scores := judged[item.id]) is not None and _is_read(item, scores)]
    flagged = any("consistency_free" in item.tags for item in items)
    groups = {"overall": known} | {name: [item for item in known if item.group == name] for name in CATEGORIES}
    subtasks = dict.fromkeys(str(item.tags["subtask"]) for item in known if item.tags.get("subtask"))
    groups |= {name: [item for item in known if item.tags.get("subtask") == name] for name in subtasks}
    figures = []
    for name, members in groups.items():
        ids = {item.id for item in members}
        figures += _figures(name, [row for row in rows if row[0].id in ids], len(members), flagged) if members else []
    unread = len(known) - len(rows)
    text = f"Items with an unreadable reply count as wrong in the accuracy, as in the benchmark's script: {unread}."
    return Summary(tuple(figures), len(known), len(rows), len(items) - len(known), (text,) if unread else ())


def _figures(name: str, rows: Sequence[tuple[Item, Scores]], members: int, flagged: bool) -> list[Figure]:
    right = {
        rule: sum(_is_right(item, scores, rule == NEW_RULE) for item, scores in rows) for rule in (NEW_RULE, OLD_RULE)
    }
    figures = [Figure(name, "accuracy", 100 * hits / members, members, rule) for rule, hits in right.items()]
    if rows and len(rows) < members:
        figures.append(Figure(name, "accuracy", 100 * right[NEW_RULE] / len(rows), len(rows), READ_ONLY))
    for variant in (AS_RUN, AS_WRITTEN):
        values = [_score(item, scores, _weighed_as_free(item, variant, flagged)) for item, scores in rows]
        average = mean(value for value in values if value is not None)
        figures.append(Figure(name, "score", average, len(rows), variant))
        figures.append(Figure(name, "score in percent", percent(average), len(rows), variant))
    for measure in MEASURES:
        values = [value for _, scores in rows if (value := scores.get(measure)) is not None]
        figures += [mean_figure(name, measure, values)] if values else []
    return figures


def _weighed_as_free(item: Item, variant: str, flagged: bool) -> bool:
    """flagged: whether any item in the file has the flag, so that its table has the column."""
    if variant == AS_WRITTEN or not flagged:
        return is_free(item)
    value = item.tags.get("consistency_free")
    return not is_given(value) or bool(value)
