"""Two more questions to a thinker that sees: where something is, and whether a pair shows the edit that it names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ..errors import RethinkError
from ..thinkers.answer_text import is_quoted
from ..thinkers.critique_format import read_score
from .inverse.instructions import (
    Chat,
    Each,
    FailureStreak,
    ThinkerUnavailable,
    ask,
    called,
    json_values,
    message,
    one_line,
    strip_reasoning,
)
from .inverse.sources import Folder, NamedBox, Source
from .jsonl_log import JsonlLog, Last
from .pixels import from_pixels, read_picture
from .review.filters import with_scores
from .store import EditPair, PairStore

MOST_SPOTS = 8
SIDE = 1000  # boxes are asked for on this scale, as vision-language models are trained to give them

FIND = f"""Find {{what}} in this picture. Answer with a JSON object and nothing else, at most {MOST_SPOTS} places, the \
clearest first, none if there is nothing to find:
{{{{"places": [{{{{"box": [left, top, right, bottom], "place": "what it is, as two to five words, e.g. the shop's window"}}}}]}}}}
The box is in thousandths of the picture's width and height."""

JUDGE = """Two pictures: before and after an edit. The instruction was: {instruction}
Is the second picture what a careful editor would make of the first? It should show what was asked for, and differ in \
nothing else. Answer with a JSON object and nothing else: {{"score": 0 to 10, "why": "one short sentence"}}"""


def find_spots(chat: Chat, picture, what: str, seed: int) -> tuple[NamedBox, ...]:
    """Where the chat sees `what` in uint8 [H, W, 3]. Raises RethinkError with the reason when it gives no usable box."""
    return ask(chat, [message("user", FIND.format(what=what), pictures=1)], [from_pixels(picture)], seed, read_spots)


def read_spots(answer: str) -> tuple[NamedBox, ...]:
    """The places in an answer, each once, at most MOST_SPOTS: {"places": […]} as asked for, or as models were trained to
    answer: a list of {"bbox_2d", "label"} (Qwen-VL), of {"box_2d", "label"} with top before left (Gemini), or
    label(left,top),(right,bottom) (Qwen2-VL). Boxes are in thousandths, or in shares of 0…1.

    A box that is none is left out. Raises RethinkError with the reason where none is left.
    """
    spots: dict[tuple[float, ...], NamedBox] = {}
    reason = "the thinker found nothing of what was asked for"
    for place in _places(strip_reasoning(answer)):
        try:
            spot = NamedBox(_shares(place), called(_name(place)[:60]))
            spots.setdefault(spot.box, spot)
        except (TypeError, KeyError, ValueError, OverflowError) as error:  # a RethinkError of Spot is a ValueError
            reason = f"the thinker's boxes cannot be used: {error}"
    if not spots:
        raise RethinkError(reason)
    return tuple(spots.values())[:MOST_SPOTS]


_KEYS = ("box", "bbox_2d", "box_2d", "bbox", "bounding_box", "coordinates")
_NAMES = ("place", "label", "name")
_PLAIN_BOX = re.compile(r"([^()\n]{0,60})\((\d{1,4}),\s*(\d{1,4})\),\s*\((\d{1,4}),\s*(\d{1,4})\)")


def _places(answer: str) -> list[dict]:
    """What an answer says of places, each a JSON object. Raises RethinkError where it says nothing of any."""
    for value, _, _ in json_values(answer, "{["):
        places = _listed(value) if isinstance(value, dict) else value
        if all(isinstance(place, dict) for place in places):
            return places
        if isinstance(value, dict):
            raise RethinkError("the thinker's boxes cannot be used: a place is no JSON object")
    plain = [{"label": label, "box": box} for label, *box in _PLAIN_BOX.findall(answer)]
    if not plain:
        raise RethinkError(f"the thinker's answer holds no JSON of places ({one_line(answer)[:80]!r})")
    return plain


def _listed(record: dict) -> list:
    """The places in a JSON object: its list of them, or the object itself where it is one."""
    if any(key in record for key in _KEYS):
        return [record]
    lists = [value for value in record.values() if isinstance(value, list)]
    if "places" in record:
        lists = [record["places"] or []]
    if len(lists) != 1 or not isinstance(lists[0], list):
        raise RethinkError("the thinker's boxes cannot be used: no list of places")
    return lists[0]


def _name(place: dict) -> str:
    return next((place[key].strip() for key in _NAMES if isinstance(place.get(key), str)), "")


def _shares(place: dict) -> tuple[float, ...]:
    """A place's box as shares of width and height. Raises what its caller takes for “no box”."""
    key = next((key for key in _KEYS if place.get(key)), "box")
    box = place[key]
    if isinstance(box, dict):
        box = [box[edge] for edge in ("left", "top", "right", "bottom")]
    edges = [float(edge) for edge in box]
    if len(edges) != 4 or not all(map(math.isfinite, edges)):
        raise ValueError(f"expected four numbers, got {str(box)[:80]}")
    if key == "box_2d":  # Gemini's, top first
        edges = [edges[1], edges[0], edges[3], edges[2]]
    scale = 1 if max(edges) < 2 else SIDE  # shares stick out of the picture, too; no place is two thousandths large
    if max(edges) > 1.05 * scale or min(edges) < -0.05 * scale:
        raise ValueError(f"{str(box)[:80]} is no box in thousandths of the picture")
    return tuple(min(1.0, max(0.0, edge / scale)) for edge in edges)


@dataclass(frozen=True)
class LocatedSources:
    """A folder's sources with the places that a chat finds in them; `seen` remembers its answers, so that nothing is
    asked twice; what came to nothing is asked again in another run. each: `map`, or what asks several times at once."""

    folder: Folder
    chat: Chat
    what: str
    seen: JsonlLog
    longest_side: int
    each: Each = map
    _asked: dict[str, dict] = field(default_factory=dict, init=False, repr=False)  # in this run, by source

    def __len__(self) -> int:
        return len(self.folder)

    def __iter__(self) -> Iterator[Source | tuple[str, str]]:
        known = {r["source"]: r for r in self.seen if r["what"] == self.what and not r.get("failed")}
        patience = FailureStreak()

        def looked(source: Source | tuple[str, str]) -> tuple[Source | tuple[str, str], dict | None]:
            asks = isinstance(source, Source) and not source.spots
            return source, (known.get(source.name) or self._answer(source)) if asks else None

        for source, record in self.each(looked, self.folder):
            if record is not None:
                patience.after(record.get("failed", False), record.get("why", ""))
                if "why" in record:
                    yield source.name, record["why"]
                    continue
                spots = (NamedBox(tuple(spot["box"]), spot["place"]) for spot in record["spots"])
                source = replace(source, spots=tuple(spots))
            yield source

    def _answer(self, source: Source) -> dict:
        if source.name not in self._asked:
            self._asked[source.name] = self._ask(source)
        return self._asked[source.name]

    def _ask(self, source: Source) -> dict:
        try:
            picture = read_picture(source.path, self.longest_side)
        except RethinkError as error:
            return {"why": str(error)}  # which is not what the thinker said
        record = {"source": source.name, "what": self.what}
        try:
            spots = find_spots(self.chat, picture, self.what, 0)
            record["spots"] = [{"box": list(spot.box), "place": spot.place} for spot in spots]
        except RethinkError as error:
            record |= {"why": str(error), "failed": isinstance(error, ThinkerUnavailable)}
        self.seen.append(record)
        return record


def grade_pairs(
    store: PairStore,
    chat: Chat,
    name: str = "",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    each: Each = map,
) -> int:
    """Let the critic of this name mark every measured pair that has no mark of his yet, in the store held for writing:
    {"critic", "critic_why", "critic_name"}.

    Returns how many were asked about. What cannot be read as a mark leaves {"critic_failed": why}, which is none; a critic
    that does not answer is asked again the next time. each: `map`, or what asks several times at once.
    """
    scores = Last(store.scores)
    unmarked = {r["id"] for r in scores.of(scores) if "broken" not in r and r.get("critic_name") != name}
    total, patience = sum(pair.id in unmarked for pair in store), FailureStreak()
    pairs = (pair for pair in store if pair.id in unmarked)

    def marked(scored: tuple[EditPair, dict]) -> tuple[dict, dict]:
        pair, measured = scored
        return measured, _grade(store, pair, chat)

    # Bound to no name: whatever raises here lets go of it, and with it of the questions that are not asked yet.
    for done, (measured, mark) in enumerate(each(marked, with_scores(pairs, scores)), 1):
        patience.after(mark.get("failed", False), mark.get("critic_failed", ""))
        if not mark.get("failed"):
            others = {key: value for key, value in measured.items() if not key.startswith("critic")}
            store.scores.append({**others, **mark, "critic_name": name})
        on_progress(done, total)
    return total


def _grade(store: PairStore, pair: EditPair, chat: Chat) -> dict:
    try:
        images = [from_pixels(store.read_image(path)) for path in (pair.input, pair.target)]
        text = JUDGE.format(instruction=pair.instruction)
        return ask(chat, [message("user", text, pictures=2)], images, pair.seed, _read_mark)
    except ThinkerUnavailable as error:
        return {"critic_failed": str(error), "failed": True}
    except RethinkError as error:
        return {"critic_failed": str(error)}


def _read_mark(answer: str) -> dict:
    answer = strip_reasoning(answer)
    marks = [found for found in json_values(answer, "{") if isinstance(found[0], dict) and "score" in found[0]]
    if not marks:
        raise RethinkError(f"the critic's answer holds no JSON object with a score ({one_line(answer)[:80]!r})")
    if len({read_score(record["score"]) for record, _, _ in marks}) > 1:
        raise RethinkError("the critic gives several marks that differ")
    record, start, end = marks[0]
    if len(marks) == 1 and is_quoted(answer[:start], answer[end:], reasoned=not answer[:start].strip()):
        raise RethinkError("the critic's mark stands within prose, as if it were quoted")
    mark = read_score(record["score"])
    if mark is None:
        raise RethinkError(f"the critic's mark is no number of 0…10: {str(record['score'])[:40]!r}")
    return {"critic": mark, "critic_why": one_line(str(record.get("why") or ""))[:200]}
