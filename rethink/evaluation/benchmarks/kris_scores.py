"""KRIS-Bench (arXiv 2505.16707): consistency, quality and instruction of 1…5, and knowledge where an item needs it.

The benchmark comes without a summary. The one in use (Bagel's) converts 1…5 to 0…100 and pools all numbers of a
dimension, so that an item with four numbers weighs more than one with three.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .core import Figure, Item, Judged, Scores, Summary, UnreadableReply, mean, mean_figure

CONSISTENCY, QUALITY, INSTRUCTION, KNOWLEDGE = (
    f"{name}_score" for name in ("consistency", "quality", "instruction", "knowledge")
)
DIMENSIONS: Mapping[str, tuple[str, ...]] = {
    "Attribute Perception": (
        "count_change",
        "color_change",
        "size_adjustment",
        "part_completion",
        "anomaly_correction",
    ),
    "Spatial Perception": ("viewpoint_change", "position_movement"),
    "Temporal Prediction": ("temporal_prediction",),
    "Social Science": ("humanities", "practical_knowledge"),
    "Natural Science": ("biology", "chemistry", "geography", "medicine", "mathematics", "physics"),
    "Logical Reasoning": ("abstract_reasoning", "rule-based_reasoning"),
    "Instruction Decomposition": ("multi-element_composition", "multi-instruction_execution"),
}
KINDS: Mapping[str, tuple[str, ...]] = {
    "Factual Knowledge": ("Attribute Perception", "Spatial Perception", "Temporal Prediction"),
    "Conceptual Knowledge": ("Social Science", "Natural Science"),
    "Procedural Knowledge": ("Logical Reasoning", "Instruction Decomposition"),
}
CATEGORIES = tuple(category for group in DIMENSIONS.values() for category in group)
KNOWING = tuple(
    category for name in ("Social Science", "Natural Science", "Logical Reasoning") for category in DIMENSIONS[name]
)
MULTI, TEMPORAL, VIEWPOINT = (
    "multi-element_composition",
    "temporal_prediction",
    "viewpoint_change",
)
POOLED, NO_TEMPORAL = "pooled numbers", "pooled numbers, temporal prediction left out"


def measures_of(category: str) -> tuple[str, ...]:
    """The scores that items of a category have."""
    three = (CONSISTENCY, QUALITY, INSTRUCTION)
    return (*three, KNOWLEDGE) if category in KNOWING else three


def read_reply(item: Item, question: str, reply: str) -> Scores:
    """Read a reply. question: the name of a score, or "dual" for instruction and knowledge at once.

    Raises UnreadableReply where the script finds nothing, and where it would take the first digit of 1…5 on its own in
    a text: it reads “1. The hat …” as a 1.
    """
    if question == "dual":
        return _read_dual(reply)
    strict = item.group in KNOWING  # whose script accepts null as an answer and requires a colon
    record = _find_object(reply, question)
    if record is not None:
        number = _as_int(record.get(question))
        if number is not None:
            return {question: number}
        if strict and record.get(question) is None:
            raise UnreadableReply(f"its “{question}” is null")
    labels = () if item.group in (MULTI, TEMPORAL) else (_label(question, ":" if strict else ":?"),)
    for pattern in (*labels, r"([1-5])\s*/\s*5", r"([1-5])\s+out\s+of\s+5"):
        if found := re.search(pattern, reply, re.IGNORECASE):
            return {question: float(found[1])}
    if alone := re.fullmatch(r"[\s*_`#]*([1-5])[\s*_`.]*", reply):
        return {question: float(alone[1])}
    raise UnreadableReply(f"it has no “{question}”")


def _read_dual(reply: str) -> Scores:
    names = (INSTRUCTION, KNOWLEDGE)
    record = _find_object(reply, INSTRUCTION)
    if record is not None and all(record.get(name) is None or _as_int(record[name]) is not None for name in names):
        scores: dict[str, float | None] = {name: _as_int(record.get(name)) for name in names}
    else:
        found = {name: re.search(_label(name, ":"), reply, re.IGNORECASE) for name in names}
        scores = {name: float(match[1]) if match else None for name, match in found.items()}
    if all(score is None for score in scores.values()):
        raise UnreadableReply(f"it has neither “{INSTRUCTION}” nor “{KNOWLEDGE}”")
    return scores


def _label(name: str, colon: str) -> str:
    """The pattern of “consistency score: 4”."""
    return rf"{name.partition('_')[0]}[_\s]*score\s*{colon.replace(':', '[:：]')}\s*([1-5])"


def _find_object(reply: str, key: str) -> dict[str, Any] | None:
    """The first text in braces, without inner braces, that has the key; None where it is not JSON."""
    found = re.search(r"\{[^{}]*" + re.escape(key) + r"[^{}]*\}", reply)
    try:
        return json.loads(found[0]) if found else None
    except (ValueError, RecursionError):
        return None


def _as_int(value: Any) -> float | None:
    """A JSON value as a number by Python's int(): 4.7 is 4, "4" is 4; None for anything else."""
    try:
        return float(int(value)) if isinstance(value, (int, float, str)) else None
    except (ValueError, OverflowError):
        return None


def percent(score: float) -> float:
    """1…5 as 0…100."""
    return 25 * (score - 1)


def item_score(item: Item, scores: Scores) -> float | None:
    """The mean of its numbers, 0…100; None where one is missing."""
    values = [scores.get(name) for name in measures_of(item.group)]
    found = [percent(value) for value in values if value is not None]
    return mean(found) if len(found) == len(values) else None


def headline_terms(items: Sequence[Item], judged: Judged) -> dict[str, tuple[float, float]]:
    """Every item's mean, weighted by how many numbers it has."""
    terms = {}
    for item in items:
        scores = judged.get(item.id) or {}
        values = [percent(v) for name in measures_of(item.group) if (v := scores.get(name)) is not None]
        if values:
            terms[item.id] = (mean(values) or 0.0, float(len(values)))
    return terms


def summarize(items: Sequence[Item], judged: Judged) -> Summary:
    """The pooled means of categories, dimensions and kinds of knowledge, and of everything."""
    pool: dict[str, dict[str, list[float]]] = {
        category: {name: [] for name in measures_of(category)} for category in CATEGORIES
    }
    known = [item for item in items if item.id in judged]
    for item in known:
        scores = judged[item.id] or {}
        for name, values in pool.get(item.group, {}).items():
            score = scores.get(name)
            if score is not None and math.isfinite(score):
                values.append(percent(score))
    read = sum(item_score(item, judged[item.id] or {}) is not None for item in known)
    missing = len(items) - len(known)
    notes = []
    if known and not any(pool[TEMPORAL].values()):
        notes.append("Temporal prediction has no scores: both overall means are the same.")
    return Summary(tuple(_figures(pool)), len(known), read, missing, tuple(notes))


def _figures(pool: Mapping[str, Mapping[str, list[float]]]) -> list[Figure]:
    def together(categories: Sequence[str], name: str = "") -> list[float]:
        return [
            value
            for category in categories
            for measure, values in pool[category].items()
            if not name or measure == name
            for value in values
        ]

    without = tuple(category for category in CATEGORIES if category != TEMPORAL)
    figures = [
        mean_figure("overall", "average", together(CATEGORIES), POOLED),
        mean_figure("overall", "average", together(without), NO_TEMPORAL),
    ]
    for kind, dimensions in KINDS.items():
        categories = [category for dimension in dimensions for category in DIMENSIONS[dimension]]
        figures.append(mean_figure(kind, "average", together(categories)))
    for name, categories in (*DIMENSIONS.items(), *((category, (category,)) for category in CATEGORIES)):
        figures.append(mean_figure(name, "average", together(categories)))
        figures += [mean_figure(name, measure, together(categories, measure)) for measure in measures_of(categories[0])]
    return [figure for figure in figures if figure.items]
