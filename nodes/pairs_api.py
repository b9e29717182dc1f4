"""What the front end may ask about pairs: lists, images, verdicts, the effect of thresholds.

A node publishes its pairs under a key, and only published pairs are served: no path and no folder name ever comes from
the front end. A restart forgets the keys, but not the verdicts, which are stored with the pairs.
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
from ..rethink.pairs.review.filters import Thresholds, count_reasons, decide_verdicts
from ..rethink.pairs.store import LOCK, EditPair, PairStore, Verdicts, is_safe_relative_path
from .comfy import server

MAX_PUBLISHED = 32  # stores; each holds the ids of its pairs
MAX_INDEXES = 4  # of stores, in memory
MAX_PAGE = 200  # pairs
SIDES = (64, 4096)  # smallest and largest side of an image that may be asked for, in pixels
MAX_PATH_BYTES = 400  # of an image's name in a store

_published: OrderedDict[str, PairStore] = OrderedDict()
_reading = threading.Lock()  # requests come on many threads
_verdict_count = 0


class StoreIndex:
    """Where the records of a folder's pairs are, shared by everything published from it. Nothing is read twice."""

    def __init__(self, folder: Path):
        store = PairStore(folder)
        self.pairs, self.scores, self.verdicts = (
            LatestIndex(store.manifest),
            LatestIndex(store.scores),
            Verdicts(store.verdicts),
        )

    def refresh(self) -> None:
        """Read what was appended since the last call."""
        for log in (self.pairs, self.scores, self.verdicts):
            log.refresh()


@lru_cache(MAX_INDEXES)
def _load_index(folder: Path, created: int) -> StoreIndex:
    """created: when the folder became a store; a store that was deleted and made again is a different one."""
    return StoreIndex(folder)


@contextmanager
def _index_of(store: PairStore) -> Iterator[StoreIndex]:
    """The current index of a store, locked against other requests."""
    with _reading:
        index = _load_index(store.folder, _creation_time(store))
        index.refresh()
        yield index


def _creation_time(store: PairStore) -> int:
    lock = store.folder / LOCK  # created with the store, and never written to
    return lock.stat().st_mtime_ns if lock.exists() else 0


def publish(store: PairStore) -> str:
    """A key under which the front end can ask about the pairs that are in a store now."""
    with _index_of(store) as index:
        ids = [id for id in index.pairs if store.subset is None or id in store.subset]
    key = hashlib.sha256(
        " ".join([str(store.folder.resolve()), str(_creation_time(store)), *ids]).encode()
    ).hexdigest()[:16]
    _published[key] = PairStore(store.folder, ids)
    _published.move_to_end(key)
    while len(_published) > MAX_PUBLISHED:
        _published.popitem(last=False)
    return key


def verdict_count() -> int:
    """The number of verdicts since the start: nodes that depend on verdicts run again when it grows."""
    return _verdict_count


def list_pairs(key: str, after: str = "", count: str | int = "60", show: str = "all") -> dict:
    """{"pairs": [a record per pair], "counts": {"all", "accepted", "rejected", "open"}}: the pairs after the id `after`,
    all or those accepted, rejected, or without a person's verdict ("open"). The counts are of all pairs."""
    store, limit = _store(key), max(1, min(MAX_PAGE, _whole("count", count)))
    shown, reached = [], not after
    counts = {"all": 0, "accepted": 0, "rejected": 0, "open": 0}
    with _index_of(store) as index:
        for id in index.pairs:
            if id not in store.subset_ids:
                continue
            state, by = _state(index.verdicts.get(id))
            labels = ("all", state) if by == "person" else ("all", state, "open")
            for label in labels:
                counts[label] += 1
            if reached and show in labels and len(shown) < limit:
                shown.append(id)
            reached = reached or id == after
        scores = {record["id"]: record for record in index.scores.records(id for id in shown if id in index.scores)}
        pairs = map(EditPair.from_json, index.pairs.records(shown))
        records = [_record(pair, index.verdicts.get(pair.id), scores.get(pair.id, {})) for pair in pairs]
    return {"counts": counts, "pairs": records}


def _state(verdict: dict | None) -> tuple[str, str]:
    """(accepted or rejected, by whom). A pair without a verdict is accepted."""
    if verdict is None:
        return "accepted", ""
    return ("accepted" if verdict["accepted"] else "rejected"), verdict["by"]


def _record(pair: EditPair, verdict: dict | None, scores: dict) -> dict:
    state, by = _state(verdict)
    shown = ("id", "input", "references", "target", "region", "instruction", "operation", "source")
    shown += ("input_caption", "target_caption")
    return {name: getattr(pair, name) for name in shown} | {
        "state": state,
        "by": by,
        "why": verdict["why"] if verdict else [],
        "scores": {name: value for name, value in scores.items() if isinstance(value, float)},
    }


def read_image(key: str, path: str, side: str) -> bytes:
    """An image of a pair as WebP, at most `side` pixels long; lossless at the largest size, to inspect pixels."""
    from PIL import Image

    store, longest = _store(key), max(SIDES[0], min(SIDES[1], _whole("side", side)))
    plain = isinstance(path, str) and path.isprintable() and len(path) <= MAX_PATH_BYTES and is_safe_relative_path(path)
    file = store.folder / path if plain else None
    if file is None or not is_within(file, store.folder / "images") or not file.is_file():
        raise RethinkError(f"path: “{path}” is not an image of these pairs.")
    data = io.BytesIO()
    close = longest == SIDES[1]
    Image.fromarray(read_pixels(file, longest)).save(data, "WEBP", lossless=close, quality=88, method=0 if close else 4)
    return data.getvalue()


def set_verdict(key: str, id: str, accepted: bool | None) -> dict:
    """Store a person's verdict on a pair; None withdraws it. Returns the pair's new state."""
    global _verdict_count
    store = _store(key)
    if not (accepted is None or isinstance(accepted, bool)):
        raise RethinkError("accepted: expected true, false or null.")
    if not isinstance(id, str) or id not in store.subset_ids:
        raise RethinkError(f"id: there is no pair “{id}” among these.")
    store.set_verdict(id, accepted)
    _verdict_count += 1
    with _index_of(store) as index:
        last = index.verdicts.get(id)
    state, by = _state(last)
    return {"state": state, "by": by, "why": last["why"] if last else []}


def preview_thresholds(key: str, **thresholds: Any) -> dict:
    """Count the pairs that thresholds would keep, from the scores alone: {"accepted", "rejected", "why": [[reason,
    count]]}. Nothing is written, and a person's verdicts take precedence."""
    store, kinds = _store(key), {field.name: type(field.default) for field in fields(Thresholds)}
    values: dict[str, Any] = {n: kinds[n](_number(n, value)) for n, value in thresholds.items() if n in kinds}
    limits = Thresholds(**values)
    with _index_of(store) as index:
        by_person = {id: verdict for id, verdict in index.verdicts.items() if verdict["by"] == "person"}
    verdicts = [by_person.get(verdict["id"], verdict) for verdict in decide_verdicts(store, limits)]
    rejected = [verdict for verdict in verdicts if not verdict["accepted"]]
    reasons = (why for verdict in rejected for why in (verdict["why"] or ["rejected manually"]))
    return {"accepted": len(verdicts) - len(rejected), "rejected": len(rejected), "why": count_reasons(reasons)[:8]}


def _whole(name: str, value: str | int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise RethinkError(f"{name}: expected a whole number.") from error


def _number(name: str, value: float | str) -> float:
    """A threshold from a slider or an address. Raises RethinkError for anything but a finite number."""
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
        raise RethinkError("These pairs are no longer known, because ComfyUI was restarted. Run the workflow again.")
    return store


def serve() -> None:
    """Add the routes, and keep other sites from embedding the review page."""
    server.forbid_framing("pairs/review.html")
    server.add_route("GET", "/rethink/pairs/{key}", list_pairs)
    server.add_route("GET", "/rethink/pairs/{key}/picture", read_image)
    server.add_route("POST", "/rethink/pairs/{key}/verdict", set_verdict)
    server.add_route("POST", "/rethink/pairs/{key}/tried", preview_thresholds)
