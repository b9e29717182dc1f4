"""Decide which pairs are kept. Measuring and deciding are separate: scores stay in the store, so that thresholds can be
changed without computing anything again. Every rejected pair has its reasons."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, tee
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...errors import RethinkError
from ...evaluation.pixel_metrics import CHANGED, measure
from ...options import check_limits, option
from ...records import defuse_markup
from ..inverse.operations import OPERATIONS
from ..jsonl_log import LatestIndex
from ..pixels import read_mask
from ..store import EditPair, PairStore
from .duplicates import DuplicateFinder

if TYPE_CHECKING:
    from ...evaluation.clip_similarity import Clip
    from ..models import LazyClip

BATCH = 32


@dataclass(frozen=True)
class Thresholds:
    """What a pair must reach. Scores that a pair does not have (no captions, no CLIP) are not required.

    image, direction, caption: CLIP cosines of input to target, change to change, and each image to its caption. The
        defaults are the released InstructPix2Pix's 0.7, 0.2 and 0.2 (the paper's text says 0.75 for the first).
    critic: a thinker's score of the pair, 0…10 (see `grade_pairs`).
    best: keep this many pairs per source and pair of captions, by direction (0: all; InstructPix2Pix: 4).
    changed: at least this fraction of the pixels visibly differs. outside: at most this fraction of the pixels outside
        the region differs. shift: at most this fraction of the side, for pairs without a region.
    smallest_region, largest_region: fractions of the image. border: whether the region may touch its border.
    side: pixels of the shorter side, at least. aspect: longer to shorter side, at most.
    duplicates: pairs whose hashes differ in at most this many of 64 bits are the same (0…3; -1: keep them).
    """

    image: float = option(
        0.7,
        "Minimum CLIP similarity of input and target. The paper's text says 0.75.",
        low=-1,
        high=1,
        step=0.01,
    )
    direction: float = option(
        0.2,
        "Minimum CLIP similarity between the change of the image and the change of its caption.",
        low=-1,
        high=1,
        step=0.01,
    )
    caption: float = option(0.2, "Minimum CLIP similarity of each image to its caption.", low=-1, high=1, step=0.01)
    critic: float = option(6.0, "Minimum score that the thinker gives the pair, 0 to 10.", low=0, high=10, step=0.5)
    best: int = option(
        0,
        "Keep this many pairs per caption, those with the best direction. 0: all. The paper keeps 4.",
        low=0,
        high=1000,
    )
    changed: float = option(
        CHANGED,
        "Minimum fraction of the pixels that visibly differ. With less, nothing has changed.",
        low=0,
        high=1,
        step=0.001,
    )
    outside: float = option(
        0.0, "Maximum fraction of the pixels that differ where nothing should.", low=0, high=1, step=0.001
    )
    shift: float = option(
        0.02,
        "Maximum shift between input and target, as a fraction of the side. Only for pairs without a region.",
        low=0,
        high=1,
        step=0.005,
    )
    smallest_region: float = option(
        0.0005,
        "Minimum size of the region that changes, as a fraction of the image.",
        low=0,
        high=1,
        step=0.0005,
        advanced=True,
    )
    largest_region: float = option(
        1.0,
        "Maximum size of the region that changes, as a fraction of the image.",
        low=0,
        high=1,
        step=0.01,
        advanced=True,
    )
    border: bool = option(True, "Whether the region that changes may touch the border of the image.", advanced=True)
    side: int = option(64, "Minimum length of the shorter side, in pixels.", low=1, high=8192, advanced=True)
    aspect: float = option(
        4.0, "Maximum ratio of the longer side to the shorter one.", low=1, high=100, step=0.1, advanced=True
    )
    duplicates: int = option(
        2,
        "Pairs whose hashes differ in at most this many of 64 bits are duplicates. -1: keep them.",
        low=-1,
        high=3,
        advanced=True,
    )

    def __post_init__(self):
        check_limits(self)


Scores = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """A reason to reject a pair. score: the score that it needs. sentence: the reason, with scores in braces."""

    score: str
    fails: Callable[[Scores, EditPair, Thresholds], bool]
    sentence: str


def _moves(pair: EditPair) -> bool:
    return pair.operation in OPERATIONS and OPERATIONS[pair.operation].moves


# s: the scores, p: the pair, t: the thresholds
RULES = (
    Rule("same_size", lambda s, p, t: not s["same_size"], "input and target differ in size"),
    Rule("height", lambda s, p, t: min(s["height"], s["width"]) < t.side, "too few pixels ({height}×{width})"),
    Rule(
        "height",
        lambda s, p, t: max(s["height"], s["width"]) > t.aspect * min(s["height"], s["width"]),
        "too long and thin",
    ),
    Rule("changed", lambda s, p, t: s["changed"] < t.changed, "too little changed ({changed:.2%} of the pixels)"),
    Rule("outside", lambda s, p, t: s["outside"] > t.outside, "what should be equal is not ({outside:.2%})"),
    Rule(
        "shift",
        lambda s, p, t: s["shift"] > t.shift and not _moves(p),
        "moved against each other ({shift:.1%} of the side)",
    ),
    Rule("region", lambda s, p, t: s["region"] < t.smallest_region, "the region is too small ({region:.2%})"),
    Rule("region", lambda s, p, t: s["region"] > t.largest_region, "the region is too large ({region:.0%})"),
    Rule("border", lambda s, p, t: s["border"] and not t.border, "the region touches the border"),
    Rule(
        "clip_sim_image",
        lambda s, p, t: s["clip_sim_image"] < t.image,
        "the images are too unlike ({clip_sim_image:.2f})",
    ),
    Rule(
        "clip_sim_0",
        lambda s, p, t: s["clip_sim_0"] < t.caption,
        "the input is not what its caption says ({clip_sim_0:.2f})",
    ),
    Rule(
        "clip_sim_1",
        lambda s, p, t: s["clip_sim_1"] < t.caption,
        "the target is not what its caption says ({clip_sim_1:.2f})",
    ),
    Rule(
        "clip_sim_dir",
        lambda s, p, t: s["clip_sim_dir"] < t.direction,
        "not the change that was asked for ({clip_sim_dir:.2f})",
    ),
    Rule(
        "critic",
        lambda s, p, t: s["critic"] < t.critic,
        "the critic does not approve ({critic:g} of 10: {critic_why})",
    ),
)


def score(
    store: PairStore,
    clip: Clip | LazyClip | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    executor: Callable[[Iterator[list[EditPair]]], Generator[list[dict[str, Any]], None, None]] | None = None,
) -> int:
    """Measure every pair that has no scores yet, in the store held for writing. With a CLIP, also add the similarities
    that are missing or from another CLIP. Pairs that could not be read are tried again: they may have been repaired.

    executor: turns batches of pairs into the results of `score_batch` in other processes; None: all here.
    Returns how many pairs were measured. A pair whose files cannot be read gets {"broken": why} as its scores.
    """
    scores = LatestIndex(store.scores)
    scored: set[str] = set()
    broken: dict[str, dict[str, Any]] = {}
    grades: dict[str, dict[str, Any]] = {}
    for record in scores.records(scores):
        if "broken" in record:
            broken[record["id"]] = record
        elif clip is None or record.get("clip") == clip.name:
            scored.add(record["id"])
        elif grade := {name: value for name, value in record.items() if name.startswith("critic")}:
            grades[record["id"]] = grade  # kept when the pair is measured again
    missing = {pair.id for pair in store if pair.id not in scored}
    pairs, done = (pair for pair in store if pair.id in missing), 0
    batches = iter(lambda: list(islice(pairs, BATCH)), [])
    results = executor(batches) if executor else (score_batch(store, batch, clip) for batch in batches)
    with closing(results):
        for records in results:
            new = (record for record in records if record != broken.get(record["id"]))
            store.scores.append(*({**grades.get(record["id"], {}), **record} for record in new))
            done += len(records)
            on_progress(done, len(missing))
    return done


def score_batch(store: PairStore, batch: list[EditPair], clip: Clip | LazyClip | None) -> list[dict[str, Any]]:
    """The scores of some pairs, each {"id": …, …}."""
    records: list[dict[str, Any]] = []
    readable: list[_Loaded] = []
    for pair in batch:
        try:
            before, after, *_ = map(store.read_image, (pair.input, pair.target, *pair.references))
            region = read_mask(store.folder / pair.region, after.shape[:2]) if pair.region else None
        except RethinkError as error:
            records.append({"id": pair.id, "broken": str(error)})
            continue
        record = {"id": pair.id, **measure(before, after, region)}
        records.append(record)
        readable.append(_Loaded(pair, record, before, after))
    if clip and readable:
        _add_similarities(readable, clip)
    return records


class _Loaded(NamedTuple):
    """A pair with its images, uint8 [H, W, 3], and the record of its scores."""

    pair: EditPair
    record: dict[str, Any]
    before: np.ndarray
    after: np.ndarray


def _add_similarities(loaded: list[_Loaded], clip: Clip | LazyClip) -> None:
    """Add the CLIP similarities. A target that several pairs of the batch share is embedded once."""
    import torch

    from ...evaluation.clip_similarity import similarities

    targets = {item.pair.target: item.after for item in loaded}
    embedded = clip.images([item.before for item in loaded] + list(targets.values()))
    place = {path: len(loaded) + i for i, path in enumerate(targets)}
    images = torch.stack([embedded[: len(loaded)], embedded[[place[item.pair.target] for item in loaded]]])
    for item, cosines in zip(loaded, similarities(images, None)):
        item.record.update(cosines, clip=clip.name)
    captioned = [i for i, item in enumerate(loaded) if item.pair.input_caption and item.pair.target_caption]
    if captioned:
        pairs = [loaded[i].pair for i in captioned]
        texts = clip.texts([pair.input_caption for pair in pairs] + [pair.target_caption for pair in pairs])
        for i, cosines in zip(captioned, similarities(images[:, captioned], texts.unflatten(0, (2, -1)))):
            loaded[i].record.update(cosines)


def decide_verdicts(store: PairStore, thresholds: Thresholds) -> Iterator[dict[str, Any]]:
    """A verdict {"id", "accepted", "why", "by": "filter"} per pair with scores, from the scores alone."""
    duplicates, reasons = DuplicateFinder(thresholds.duplicates), {}
    groups: dict[tuple[str, str, str], list[tuple[float, str]]] = defaultdict(list)
    known = LatestIndex(store.scores)
    pairs = (pair for pair in store if pair.id in known)
    for pair, scores in with_scores(pairs, known):
        why = reject_reasons(scores, pair, thresholds) or duplicates.reject_reasons(scores, pair)
        reasons[pair.id] = why
        if thresholds.best and not why and "clip_sim_dir" in scores:
            group = pair.source, pair.input_caption, pair.target_caption
            groups[group].append((-scores["clip_sim_dir"], pair.id))
    for group in groups.values():
        for _, id in sorted(group)[thresholds.best :]:
            reasons[id] = [f"not among the best {thresholds.best} of its caption"]
    for id, why in reasons.items():
        yield {"id": id, "accepted": not why, "why": why, "by": "filter"}


def with_scores(pairs: Iterable[EditPair], known: LatestIndex) -> Iterator[tuple[EditPair, dict[str, Any]]]:
    """Each pair with its scores. Every pair must have some."""
    ahead, behind = tee(pairs)
    return zip(behind, known.records(pair.id for pair in ahead))


def reject_reasons(scores: Scores, pair: EditPair, thresholds: Thresholds) -> list[str]:
    """Every reason to reject a pair by its own scores; empty where there is none."""
    if "broken" in scores:
        return [scores["broken"]]
    return [
        rule.sentence.format(**scores)
        for rule in RULES
        if rule.score in scores and rule.fails(scores, pair, thresholds)
    ]


def filter_pairs(store: PairStore, thresholds: Thresholds) -> tuple[int, int]:
    """Write the verdicts that changed to the store held for writing. Returns (accepted, rejected)."""
    old = {
        verdict["id"]: (verdict["accepted"], verdict["why"]) for verdict in store.verdicts if verdict["by"] == "filter"
    }
    counts = [0, 0]
    for verdict in decide_verdicts(store, thresholds):
        counts[not verdict["accepted"]] += 1
        if old.get(verdict["id"]) != (verdict["accepted"], verdict["why"]):
            store.verdicts.append(verdict)
    return counts[0], counts[1]


def count_reasons(reasons: Iterable[str]) -> list[tuple[str, int]]:
    """(reason, count), the most common first. Parentheses are cut off, so that reasons that differ only in numbers
    count as one.

    File names in a reason cannot act as markup, wherever they are shown.
    """
    return Counter(defuse_markup(re.sub(r" \(.*\)", "", reason)).strip() for reason in reasons).most_common()


def histogram(values: Iterable[float], bins: int = 20) -> list[tuple[float, int]]:
    """(lower edge, count) of `bins` equal bins; empty without values."""
    values = list(values)
    if not values:
        return []
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    return [(low + i * width, count) for i, count in enumerate(counts)]
