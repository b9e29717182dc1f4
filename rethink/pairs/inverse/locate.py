"""Find things in an image with a vision-language model: the boxes that pairs are made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...errors import RethinkError
from ...text_files import one_line
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
from ...thinkers.boxes import BOX_KEYS, PLAIN_BOX, read_edges, read_name
from ..jsonl_log import JsonlLog
from ..pixels import from_pixels, read_pixels
from .instructions import as_noun_phrase
from .sources import NamedBox, Source, Sources

MAX_BOXES = 8
SCALE = 1000  # of the boxes asked for: vision-language models are trained on thousandths

FIND = f"""Find {{what}} in this image. Answer with a JSON object and nothing else, at most {MAX_BOXES} places, the \
clearest first, none if there is nothing to find:
{{{{"places": [{{{{"box": [left, top, right, bottom], "place": "what it is, as two to five words, e.g. the shop's window"}}}}]}}}}
The box is in thousandths of the image's width and height."""


def locate_boxes(chat: ChatFn, pixels: np.ndarray, what: str, seed: int) -> tuple[NamedBox, ...]:
    """Where the chat sees `what` in uint8 [H, W, 3]. Raises RethinkError with the reason when it gives no usable box."""
    return ask(chat, [message("user", FIND.format(what=what), images=1)], [from_pixels(pixels)], seed, read_boxes)


def read_boxes(answer: str) -> tuple[NamedBox, ...]:
    """The boxes in an answer, without duplicates, up to MAX_BOXES: {"places": […]} as the prompt asks, or what models
    were trained on: a list of {"bbox_2d", "label"} (Qwen-VL), of {"box_2d", "label"} with top before left (Gemini), or
    label(left,top),(right,bottom) (Qwen2-VL). Coordinates are in thousandths, or in fractions of 0…1.

    Invalid boxes are left out. Raises RethinkError with the reason where none is left.
    """
    boxes: dict[tuple[float, ...], NamedBox] = {}
    reason = "the thinker found nothing of what was asked for"
    for record in _read_records(strip_reasoning(answer)):
        try:
            box = NamedBox(_read_fractions(record), as_noun_phrase(read_name(record)[:60]))
            boxes.setdefault(box.box, box)
        except (
            TypeError,
            KeyError,
            ValueError,
            OverflowError,
        ) as error:  # NamedBox raises a RethinkError, which is a ValueError
            reason = f"the thinker's boxes cannot be used: {error}"
    if not boxes:
        raise RethinkError(reason)
    return tuple(boxes.values())[:MAX_BOXES]


def _read_records(answer: str) -> list[dict[str, Any]]:
    """One JSON object per place in an answer. Raises RethinkError where there is none."""
    for value, _, _ in find_json_values(answer, "{["):
        records = _find_list(value) if isinstance(value, dict) else value
        if all(isinstance(record, dict) for record in records):
            return records
        if isinstance(value, dict):
            raise RethinkError("the thinker's boxes cannot be used: a place is not a JSON object")
    plain = [{"label": label, "box": box} for label, *box in PLAIN_BOX.findall(answer)]
    if not plain:
        raise RethinkError(f"the thinker's answer contains no JSON with places ({one_line(answer)[:80]!r})")
    return plain


def _find_list(record: dict[str, Any]) -> list[Any]:
    """The places in a JSON object: its list of them, or the object itself."""
    if any(key in record for key in BOX_KEYS):
        return [record]
    lists = [value for value in record.values() if isinstance(value, list)]
    if "places" in record:
        lists = [record["places"] or []]
    if len(lists) != 1 or not isinstance(lists[0], list):
        raise RethinkError("the thinker's boxes cannot be used: no list of places")
    return lists[0]


def _read_fractions(record: dict[str, Any]) -> tuple[float, float, float, float]:
    """The box in a record as fractions of width and height. Raises one of the errors that `read_boxes` catches."""
    edges = read_edges(record)
    scale = 1 if max(edges) < 2 else SCALE  # fractions may exceed 1 a little; no place is two thousandths large
    if max(edges) > 1.05 * scale or min(edges) < -0.05 * scale:
        raise ValueError(f"{str(list(edges))[:80]} is not a box in thousandths of the image")
    left, top, right, bottom = (min(1.0, max(0.0, edge / scale)) for edge in edges)
    return left, top, right, bottom


@dataclass(frozen=True)
class LocatedSources:
    """Sources with the boxes that a chat finds in them.

    answers: the log of answers, so that nothing is asked twice. Unanswered questions are asked again in the next run.
    map_fn: `map`, or a function that asks about several images at once.
    """

    sources: Sources
    chat: ChatFn
    what: str
    answers: JsonlLog
    longest_side: int
    map_fn: MapFn = map
    _new_answers: dict[str, dict] = field(default_factory=dict, init=False, repr=False)  # in this run, by source

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[Source | tuple[str, str]]:
        known = {r["source"]: r for r in self.answers if r["what"] == self.what and not r.get("failed")}
        streak = FailureStreak()

        def locate(source: Source | tuple[str, str]) -> tuple[Source | tuple[str, str], dict | None]:
            if isinstance(source, Source) and not source.boxes:
                return source, known.get(source.name) or self._answer(source)
            return source, None

        for source, record in self.map_fn(locate, self.sources):
            if isinstance(source, Source) and record is not None:
                streak.record(record.get("failed", False), record.get("why", ""))
                if "why" in record:
                    yield source.name, record["why"]
                    continue
                boxes = (NamedBox(tuple(named["box"]), named["place"]) for named in record["spots"])
                source = replace(source, boxes=tuple(boxes))
            yield source

    def _answer(self, source: Source) -> dict[str, Any]:
        if source.name not in self._new_answers:
            self._new_answers[source.name] = self._ask(source)
        return self._new_answers[source.name]

    def _ask(self, source: Source) -> dict[str, Any]:
        try:
            pixels = read_pixels(source.path, self.longest_side)
        except RethinkError as error:
            return {"why": str(error)}  # not the thinker's answer, so it is not logged
        record: dict[str, Any] = {"source": source.name, "what": self.what}
        try:
            boxes = locate_boxes(self.chat, pixels, self.what, 0)
            record["spots"] = [{"box": list(box.box), "place": box.place} for box in boxes]
        except RethinkError as error:
            record |= {"why": str(error), "failed": isinstance(error, ThinkerUnavailable)}
        self.answers.append(record)
        return record
