"""Two more questions to a thinker that sees: where something is, and whether a pair shows the edit that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ..errors import RethinkError
from .descriptions import Chat, Each, Patience, ThinkerFailed, ask, called, message, one_line, read_json
from .filters import with_scores
from .pictures import from_pixels, read_picture
from .sources import Folder, Source, Spot
from .store import EditPair, Last, Ledger, PairStore

MOST_SPOTS = 8
SIDE = 1000  # boxes are asked for on this scale, as vision-language models are trained to give them

FIND = f"""Find {{what}} in this picture. Answer with a JSON object and nothing else, at most {MOST_SPOTS} places, the \
clearest first, none if there is nothing to find:
{{{{"places": [{{{{"box": [left, top, right, bottom], "place": "what it is, as two to five words, e.g. the shop's window"}}}}]}}}}
The box is in thousandths of the picture's width and height."""

JUDGE = """Two pictures: before and after an edit. The instruction was: {instruction}
Is the second picture what a careful editor would make of the first? It should show what was asked for, and differ in \
nothing else. Answer with a JSON object and nothing else: {{"score": 0 to 10, "why": "one short sentence"}}"""


def find_spots(chat: Chat, picture, what: str, seed: int) -> tuple[Spot, ...]:
    """Where the chat sees `what` in uint8 [H, W, 3]. Raises RethinkError with the reason when it gives no usable box."""
    return ask(chat, [message("user", FIND.format(what=what), pictures=1)], [from_pixels(picture)], seed, _read_spots)


def _read_spots(answer: str) -> tuple[Spot, ...]:
    places = read_json(answer).get("places")
    try:
        spots = tuple(
            Spot(_shares(place["box"]), called(str(place.get("place", ""))[:60])) for place in places[:MOST_SPOTS]
        )
    except (TypeError, KeyError, ValueError) as error:  # a RethinkError of Spot is a ValueError
        raise RethinkError(f"the thinker's boxes cannot be used: {error}") from error
    if not spots:
        raise RethinkError("the thinker found nothing of what was asked for")
    return spots


def _shares(box) -> tuple[float, ...]:
    return tuple(min(1.0, max(0.0, float(edge) / SIDE)) for edge in box)


@dataclass(frozen=True)
class Found:
    """A folder's sources with the places that a chat finds in them; `seen` remembers its answers, so that nothing is
    asked twice; what came to nothing is asked again in another run. each: `map`, or what asks several times at once."""

    folder: Folder
    chat: Chat
    what: str
    seen: Ledger
    longest_side: int
    each: Each = map
    _asked: dict[str, dict] = field(default_factory=dict, init=False, repr=False)  # in this run, by source

    def __len__(self) -> int:
        return len(self.folder)

    def __iter__(self) -> Iterator[Source | tuple[str, str]]:
        known = {r["source"]: r for r in self.seen if r["what"] == self.what and not r.get("failed")}
        patience = Patience()

        def looked(source: Source | tuple[str, str]) -> tuple[Source | tuple[str, str], dict | None]:
            asks = isinstance(source, Source) and not source.spots
            return source, (known.get(source.name) or self._answer(source)) if asks else None

        for source, record in self.each(looked, self.folder):
            if record is not None:
                patience.after(record.get("failed", False), record.get("why", ""))
                if "why" in record:
                    yield source.name, record["why"]
                    continue
                spots = (Spot(tuple(spot["box"]), spot["place"]) for spot in record["spots"])
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
            record |= {"why": str(error), "failed": isinstance(error, ThinkerFailed)}
        self.seen.append(record)
        return record


def criticise(
    store: PairStore, chat: Chat, name: str = "", on_progress: Callable[[int, int], None] = lambda done, total: None,
    *, each: Each = map,
) -> int:  # fmt: skip
    """Let the critic of this name mark every measured pair that has no mark of his yet, in the store held for writing:
    {"critic", "critic_why", "critic_name"}.

    Returns how many were asked about. What cannot be read as a mark leaves {"critic_failed": why}, which is none; a critic
    that does not answer is asked again the next time. each: `map`, or what asks several times at once.
    """
    scores = Last(store.scores)
    unmarked = {r["id"] for r in scores.of(scores) if "broken" not in r and r.get("critic_name") != name}
    total, patience = sum(pair.id in unmarked for pair in store), Patience()
    pairs = (pair for pair in store if pair.id in unmarked)

    def marked(scored: tuple[EditPair, dict]) -> tuple[dict, dict]:
        pair, measured = scored
        return measured, _mark(store, pair, chat)

    # Bound to no name: whatever raises here lets go of it, and with it of the questions that are not asked yet.
    for done, (measured, mark) in enumerate(each(marked, with_scores(pairs, scores)), 1):
        patience.after(mark.get("failed", False), mark.get("critic_failed", ""))
        if not mark.get("failed"):
            others = {key: value for key, value in measured.items() if not key.startswith("critic")}
            store.scores.append({**others, **mark, "critic_name": name})
        on_progress(done, total)
    return total


def _mark(store: PairStore, pair: EditPair, chat: Chat) -> dict:
    try:
        images = [from_pixels(store.read_image(path)) for path in (pair.input, pair.target)]
        text = JUDGE.format(instruction=pair.instruction)
        return ask(chat, [message("user", text, pictures=2)], images, pair.seed, _read_mark)
    except ThinkerFailed as error:
        return {"critic_failed": str(error), "failed": True}
    except RethinkError as error:
        return {"critic_failed": str(error)}


def _read_mark(answer: str) -> dict:
    record = read_json(answer)
    mark = record.get("score")
    if isinstance(mark, bool) or not isinstance(mark, (int, float)) or not 0 <= mark <= 10:
        raise RethinkError(f"the critic's mark is no number of 0…10: {mark!r}")
    return {"critic": mark, "critic_why": one_line(str(record.get("why", "")))[:200]}
