"""Pairs that the front end may look at: listed, their pictures, verdicts on them, thresholds tried out.

A node that ran publishes its pairs under a key, and only what was published is answered for: no path and no name of a
folder ever comes from the front end. A restart forgets the keys, not the verdicts, which lie with the pairs.
"""

import hashlib
import io
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..rethink.errors import RethinkError
from ..rethink.names import is_within
from ..rethink.pairs.jsonl_log import LatestIndex
from ..rethink.pairs.pixels import read_pixels
from ..rethink.pairs.review.filters import Thresholds, count_reasons, decide
from ..rethink.pairs.store import LOCK, EditPair, PairStore, Verdicts, is_safe_relative_path
from .comfy import server

KEPT = 32  # published stores; each holds the ids of its pairs
FOLDERS = 4  # of them whose lines are known
PAGE = 200  # pairs in an answer, at most
SIDES = (64, 4096)  # pixels of a picture that is asked for
MAX_PATH_BYTES = 400  # characters of a picture's name in a store

_published: OrderedDict[str, PairStore] = OrderedDict()
_reading = threading.Lock()  # requests come on many threads
_judged = 0


class StoreIndex:
    """Where the lines stand that tell about the pairs of a folder, for all that was published of it. What was appended
    since is read on, nothing is read twice."""

    def __init__(self, folder: Path):
        store = PairStore(folder)
        self.pairs, self.scores, self.verdicts = (
            LatestIndex(store.manifest),
            LatestIndex(store.scores),
            Verdicts(store.verdicts),
        )

    def refresh(self) -> None:
        """Take in what was appended since."""
        for log in (self.pairs, self.scores, self.verdicts):
            log.refresh()


@lru_cache(FOLDERS)
def _opened(folder: Path, born: int) -> StoreIndex:
    """born: when the folder became a store; one that was deleted and made again is another."""
    return StoreIndex(folder)


@contextmanager
def _known(store: PairStore) -> Iterator[StoreIndex]:
    """What is known of a store now; nobody else reads it meanwhile."""
    with _reading:
        known = _opened(store.folder, _born(store))
        known.refresh()
        yield known


def _born(store: PairStore) -> int:
    lock = store.folder / LOCK  # made with the store, and not written to
    return lock.stat().st_mtime_ns if lock.exists() else 0


def publish(store: PairStore) -> str:
    """A key under which the front end can ask about the pairs that a store has now."""
    with _known(store) as known:
        ids = [id for id in known.pairs if store.subset is None or id in store.subset]
    key = hashlib.sha256(" ".join([str(store.folder.resolve()), str(_born(store)), *ids]).encode()).hexdigest()[:16]
    _published[key] = PairStore(store.folder, ids)
    _published.move_to_end(key)
    while len(_published) > KEPT:
        _published.popitem(last=False)
    return key


def judged() -> int:
    """How many verdicts were given since the start: what depends on verdicts has to be made anew when it grows."""
    return _judged


def listing(key: str, after: str = "", count: str | int = "60", show: str = "all") -> dict:
    """{"pairs": [a record a pair], "counts": {"all", "accepted", "rejected", "open"}}: the pairs behind the id `after`,
    all or those accepted, rejected, or without a person's verdict ("open"). The counts are of all pairs."""
    store, most = _store(key), max(1, min(PAGE, _whole("count", count)))
    shown, behind = [], not after
    counts = {"all": 0, "accepted": 0, "rejected": 0, "open": 0}
    with _known(store) as known:
        for id in known.pairs:
            if id not in store.subset_ids:
                continue
            state, by = _state(known.verdicts.get(id))
            labels = ("all", state) if by == "person" else ("all", state, "open")
            for label in labels:
                counts[label] += 1
            if behind and show in labels and len(shown) < most:
                shown.append(id)
            behind = behind or id == after
        scores = {record["id"]: record for record in known.scores.records(id for id in shown if id in known.scores)}
        pairs = map(EditPair.from_json, known.pairs.records(shown))
        records = [_record(pair, known.verdicts.get(pair.id), scores.get(pair.id, {})) for pair in pairs]
    return {"counts": counts, "pairs": records}


def _state(verdict: dict | None) -> tuple[str, str]:
    """(accepted or rejected, by whom): a pair that nobody judged is accepted."""
    if verdict is None:
        return "accepted", ""
    return ("accepted" if verdict["accepted"] else "rejected"), verdict["by"]


def _record(pair: EditPair, verdict: dict | None, scores: dict) -> dict:
    state, by = _state(verdict)
    shown = ("id", "input", "target", "region", "instruction", "operation", "source", "input_caption", "target_caption")
    return {name: getattr(pair, name) for name in shown} | {
        "state": state,
        "by": by,
        "why": verdict["why"] if verdict else [],
        "scores": {name: value for name, value in scores.items() if isinstance(value, float)},
    }


def picture(key: str, path: str, side: str) -> bytes:
    """A picture of a pair, at most `side` pixels long, as WebP; without loss at the largest, for looking at pixels."""
    from PIL import Image

    store, longest = _store(key), max(SIDES[0], min(SIDES[1], _whole("side", side)))
    plain = isinstance(path, str) and path.isprintable() and len(path) <= MAX_PATH_BYTES and is_safe_relative_path(path)
    file = store.folder / path if plain else None
    if file is None or not is_within(file, store.folder / "images") or not file.is_file():
        raise RethinkError(f"path: “{path}” is no image of these pairs.")
    data = io.BytesIO()
    close = longest == SIDES[1]
    Image.fromarray(read_pixels(file, longest)).save(data, "WEBP", lossless=close, quality=88, method=0 if close else 4)
    return data.getvalue()


def verdict(key: str, id: str, accepted: bool | None) -> dict:
    """A person's verdict on a pair, None to take it back; kept with the pairs. → the state that the pair has now."""
    global _judged
    store = _store(key)
    if not (accepted is None or isinstance(accepted, bool)):
        raise RethinkError("accepted: expected true, false or null.")
    if not isinstance(id, str) or id not in store.subset_ids:
        raise RethinkError(f"id: there is no pair “{id}” among these.")
    store.set_verdict(id, accepted)
    _judged += 1
    with _known(store) as known:
        last = known.verdicts.get(id)
    state, by = _state(last)
    return {"state": state, "by": by, "why": last["why"] if last else []}


def tried(key: str, **thresholds) -> dict:
    """How many pairs thresholds would keep, from the scores alone: {"accepted", "rejected", "why": [[reason, count]]}.
    Nothing is written. What a person has said stands."""
    store, kinds = _store(key), {field.name: type(field.default) for field in fields(Thresholds)}
    values: dict[str, Any] = {n: kinds[n](_number(n, value)) for n, value in thresholds.items() if n in kinds}
    limits = Thresholds(**values)
    with _known(store) as known:
        by_person = {id: given for id, given in known.verdicts.items() if given["by"] == "person"}
    given = [by_person.get(made["id"], made) for made in decide(store, limits)]
    rejected = [made for made in given if not made["accepted"]]
    reasons = (why for made in rejected for why in (made["why"] or ["rejected by hand"]))
    return {"accepted": len(given) - len(rejected), "rejected": len(rejected), "why": count_reasons(reasons)[:8]}


def _whole(name: str, value: str | int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise RethinkError(f"{name}: expected a whole number.") from error


def _number(name: str, value: float | str) -> float:
    """A threshold, as the front end's sliders or an address say it; RethinkError for what is no number in reach."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise RethinkError(f"{name}: expected a number.") from error
    if not math.isfinite(number):
        raise RethinkError(f"{name}: expected a number, got {number}.")
    return number


def _store(key: str) -> PairStore:
    store = _published.get(key)
    if store is None:
        raise RethinkError("These pairs are not known any more, since ComfyUI was restarted. Run the workflow again.")
    return store


def serve() -> None:
    """Let the front end ask about published pairs, and judge them on a page that no other site can show."""
    server.forbid_framing("pairs/review.html")
    server.add_route("GET", "/rethink/pairs/{key}", listing)
    server.add_route("GET", "/rethink/pairs/{key}/picture", picture)
    server.add_route("POST", "/rethink/pairs/{key}/verdict", verdict)
    server.add_route("POST", "/rethink/pairs/{key}/tried", tried)
