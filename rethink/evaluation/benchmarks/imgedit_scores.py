"""ImgEdit-Bench, basic suite (arXiv 2505.20275): lines that end in a number, averaged.

The prompt asks that the second and third score be no higher than the first. The script does not enforce
this, nor do we.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...progress import format_count
from .core import Figure, Item, Judged, Scores, Summary, UnreadableReply, count, group_terms, mean

TYPES = ("extract", "style", "add", "adjust", "background", "replace", "remove", "action", "compose")
BY_TYPE, BY_ITEM = "mean of types", "mean of items"


def read_scores(reply: object) -> list[int]:
    """The numbers of the lines “…: 4”, as the benchmark's script counts them: `**4**`, `4/5`, `4.` and `:4` are not.

    Raises UnreadableReply where there is none (the script drops the item), and for anything that makes the script fail.
    """
    if not isinstance(reply, str):  # {"error": …}, which the benchmark's own run writes for a call that failed
        raise UnreadableReply("it is not text: the call failed")
    ends = [parts[1] for line in reply.splitlines() if len(parts := line.strip().split(": ")) == 2]
    digits = [end for end in ends if end.isdigit()]
    if not digits:
        raise UnreadableReply("it has no line that ends in “: ” and a number")
    if not all(end.isdecimal() for end in digits):  # "²", which isdigit accepts and int does not
        raise UnreadableReply("a number in it is written with raised digits")
    return [int(end) for end in digits]


def read_reply(item: Item, question: str, reply: object) -> Scores:
    """The item's score: the mean of its lines, to two decimals. Raises UnreadableReply."""
    numbers = read_scores(reply)
    return {"score": round(sum(numbers) / len(numbers), 2)}


def item_score(item: Item, scores: Scores) -> float | None:
    """1…5, if the judge keeps to that."""
    return scores.get("score")


def headline_terms(items: Sequence[Item], judged: Judged) -> dict[str, tuple[float, float]]:
    """The value and weight of each item in the mean of means."""
    return group_terms(items, judged, item_score)


def summarize(items: Sequence[Item], judged: Judged) -> Summary:
    """The mean of every type to two decimals, their mean as on the leaderboard, and the mean of items as reported elsewhere."""
    by_type: dict[str, list[float]] = {name: [] for name in TYPES}
    for item in items:
        score = (judged.get(item.id) or {}).get("score")
        if score is not None:
            by_type.setdefault(item.group, []).append(score)
    means = {name: round(sum(scores) / len(scores), 2) for name, scores in by_type.items() if scores}
    scores = [score for group in by_type.values() for score in group]
    figures = [
        Figure("overall", "score", mean(means.values()), len(scores), BY_TYPE),
        Figure("overall", "score", mean(scores), len(scores), BY_ITEM),
        *(Figure(name, "score", value, len(by_type[name])) for name, value in means.items()),
    ]
    absent = [name for name in TYPES if name not in means]
    notes = [f"No scores for {', '.join(absent)}: the mean is of {format_count(len(means), 'type')}."] if absent else []
    return Summary(tuple(figures), *count(items, judged), tuple(notes))
