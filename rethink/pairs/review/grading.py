"""Have a vision-language model grade how well each pair shows the edit that its instruction names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import RethinkError
from ...text_files import one_line
from ...thinkers.answer_text import is_quoted
from ...thinkers.asking import (
    ChatFn,
    FailureStreak,
    MapFn,
    ThinkerUnavailable,
    ask,
    find_json_values,
    message,
    strip_reasoning,
)
from ...thinkers.critique_format import read_score
from ..jsonl_log import LatestIndex
from ..pixels import from_pixels
from ..store import EditPair, PairStore
from .filters import with_scores

GRADE = """Two images: before and after an edit. The instruction was: {instruction}
Is the second image what a careful editor would make of the first? It should show what was asked for, and differ in \
nothing else. Answer with a JSON object and nothing else: {{"score": 0 to 10, "why": "one short sentence"}}"""
GRADE_WITH_REFERENCES = GRADE.replace(
    "Two images: before and after an edit.",
    "{images} images: image 1 before an edit, then images that its instruction speaks of, and the last one after the edit.",
).replace("the second image what a careful editor would make of the first", "the last image what it asks for")


def grade_pairs(
    store: PairStore,
    chat: ChatFn,
    name: str = "",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    map_fn: MapFn = map,
) -> int:
    """Have a critic grade every measured pair that it has not graded yet, in the store held for writing: {"critic": 0…10,
    "critic_why", "critic_name"}.

    name: of the critic. map_fn: `map`, or a function that asks about several pairs at once. Returns the number of pairs
    asked about. An answer without a grade leaves {"critic_failed": why}; without any answer, the pair is asked about
    again next time.
    """
    scores = LatestIndex(store.scores)
    ungraded = {r["id"] for r in scores.records(scores) if "broken" not in r and r.get("critic_name") != name}
    total, streak = sum(pair.id in ungraded for pair in store), FailureStreak()
    pairs = (pair for pair in store if pair.id in ungraded)

    def grade(scored: tuple[EditPair, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
        pair, scores_before = scored
        return scores_before, _grade(store, pair, chat)

    # Not bound to a name: an exception releases the iterator, and with it the questions still to be asked.
    for done, (scores_before, answer) in enumerate(map_fn(grade, with_scores(pairs, scores)), 1):
        streak.record(answer.get("failed", False), answer.get("critic_failed", ""))
        if not answer.get("failed"):
            others = {key: value for key, value in scores_before.items() if not key.startswith("critic")}
            store.scores.append({**others, **answer, "critic_name": name})
        on_progress(done, total)
    return total


def _grade(store: PairStore, pair: EditPair, chat: ChatFn) -> dict[str, Any]:
    try:
        images = [from_pixels(store.read_image(path)) for path in (pair.input, *pair.references, pair.target)]
        words = GRADE_WITH_REFERENCES if pair.references else GRADE
        text = words.format(instruction=pair.instruction, images=len(images))
        return ask(chat, [message("user", text, images=len(images))], images, pair.seed, read_grade)
    except ThinkerUnavailable as error:
        return {"critic_failed": str(error), "failed": True}
    except RethinkError as error:
        return {"critic_failed": str(error)}


def read_grade(answer: str) -> dict[str, Any]:
    """{"critic": 0…10, "critic_why"} from an answer. Raises RethinkError with the reason where it has no single score
    of its own."""
    answer = strip_reasoning(answer)
    grades = [found for found in find_json_values(answer, "{") if isinstance(found[0], dict) and "score" in found[0]]
    if not grades:
        raise RethinkError(f"the critic's answer contains no JSON object with a score ({one_line(answer)[:80]!r})")
    if len({read_score(record["score"]) for record, _, _ in grades}) > 1:
        raise RethinkError("the critic gives several different scores")
    record, start, end = grades[0]
    if len(grades) == 1 and is_quoted(answer[:start], answer[end:], reasoned=not answer[:start].strip()):
        raise RethinkError("the critic's score is inside prose, as if quoted")
    grade = read_score(record["score"])
    if grade is None:
        raise RethinkError(f"the critic's score is not a number from 0 to 10: {str(record['score'])[:40]!r}")
    return {"critic": grade, "critic_why": one_line(str(record.get("why") or ""))[:200]}
