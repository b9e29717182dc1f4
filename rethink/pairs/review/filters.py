"""Which pairs are kept. Measuring and deciding are apart: the scores stay in the store, so that thresholds can be moved
without computing anything again, and every rejected pair says why."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, tee
from typing import TYPE_CHECKING

from ...errors import RethinkError
from ...evaluation.pixel_metrics import CHANGED, NearDuplicates, apart, measure
from ...records import harmless
from ..jsonl_log import Last
from ..pixels import read_mask
from ..store import EditPair, PairStore

if TYPE_CHECKING:
    from ...evaluation.clip_similarity import Clip

BATCH = 32


@dataclass(frozen=True)
class Thresholds:
    """What a pair must reach. A score that a pair does not have (no captions, no CLIP) is not asked for.

    image, direction, caption: CLIP cosines, input to target, change to change, each picture to its caption; the
        released InstructPix2Pix's 0.7, 0.2 and 0.2 (the paper's text says 0.75 for the first).
    critic: marks of 0…10 that a thinker gave the pair (see `grade_pairs`).
    best: keep so many of the pairs from one source and one instruction's captions, by direction (0: all; theirs: 4).
    changed: at least this share of the pixels visibly differs. outside: at most this share of the pixels outside the
        region differs. shift: at most so far moved, as a share of the side, where no region says what may change.
    smallest_region, largest_region: share of the picture that the region may have. border: may it touch the border?
    side, aspect: pixels of the shorter side; longer to shorter side.
    duplicates: pairs whose pictures differ in at most so many of 64 bits are the same (0…3; -1: keep them).
    """

    image: float = 0.7
    direction: float = 0.2
    caption: float = 0.2
    critic: float = 6.0
    best: int = 0
    changed: float = CHANGED
    outside: float = 0.0
    shift: float = 0.02
    smallest_region: float = 0.0005
    largest_region: float = 1.0
    border: bool = True
    side: int = 64
    aspect: float = 4.0
    duplicates: int = 2

    def __post_init__(self):
        for name in ("image", "direction", "caption"):
            if not -1 <= getattr(self, name) <= 1:
                raise RethinkError(f"{name}: expected a cosine in -1…1, got {getattr(self, name)}.")
        if not -1 <= self.duplicates <= 3 or self.best < 0:
            raise RethinkError("duplicates: expected -1…3; best: expected 0 or more.")


# What each threshold asks for, as a user reads it.
THRESHOLD_HELP = {
    "image": "Input and target are at least this alike, by CLIP. The paper's text says 0.75.",
    "direction": "The change of the picture goes at least this far along the change of its caption, by CLIP.",
    "caption": "Both pictures fit their captions at least this well, by CLIP.",
    "best": "Keep this many of the pairs of one caption, those of the best direction. 0: all. The paper: 4.",
    "changed": "At least this share of the pixels differs visibly; else nothing has changed.",
    "outside": "At most this share of the pixels differs where nothing should.",
    "shift": "Moved against each other by at most this share of the side, where nothing says what may.",
    "smallest_region": "The place that changes is at least this share of the picture.",
    "largest_region": "The place that changes is at most this share of the picture.",
    "border": "Whether the place that changes may touch the border.",
    "side": "The shorter side has at least this many pixels.",
    "aspect": "The longer side is at most this many times the shorter one.",
    "critic": "The thinker marks the pair with at least this many of ten.",
    "duplicates": "Pairs whose pictures differ in at most this many of 64 bits of a hash are the same. -1: keep.",
}

Reject = tuple[str, Callable[[Mapping, EditPair, Thresholds], bool], str]

# (the score that is asked for, whether it fails, the sentence that says why)
RULES: tuple[Reject, ...] = (
    ("same_size", lambda s, p, t: not s["same_size"], "input and target differ in size"),
    ("height", lambda s, p, t: min(s["height"], s["width"]) < t.side, "too few pixels ({height}×{width})"),
    (
        "height",
        lambda s, p, t: max(s["height"], s["width"]) > t.aspect * min(s["height"], s["width"]),
        "too long and thin",
    ),
    ("changed", lambda s, p, t: s["changed"] < t.changed, "too little changed ({changed:.2%} of the pixels)"),
    ("outside", lambda s, p, t: s["outside"] > t.outside, "what should be equal is not ({outside:.2%})"),
    (
        "shift",
        lambda s, p, t: s["shift"] > t.shift and p.operation != "distort",
        "moved against each other ({shift:.1%} of the side)",
    ),
    ("region", lambda s, p, t: s["region"] < t.smallest_region, "the region is too small ({region:.2%})"),
    ("region", lambda s, p, t: s["region"] > t.largest_region, "the region is too large ({region:.0%})"),
    ("border", lambda s, p, t: s["border"] and not t.border, "the region touches the border"),
    (
        "clip_sim_image",
        lambda s, p, t: s["clip_sim_image"] < t.image,
        "the pictures are too unlike ({clip_sim_image:.2f})",
    ),
    (
        "clip_sim_0",
        lambda s, p, t: s["clip_sim_0"] < t.caption,
        "the input is not what its caption says ({clip_sim_0:.2f})",
    ),
    (
        "clip_sim_1",
        lambda s, p, t: s["clip_sim_1"] < t.caption,
        "the target is not what its caption says ({clip_sim_1:.2f})",
    ),
    (
        "clip_sim_dir",
        lambda s, p, t: s["clip_sim_dir"] < t.direction,
        "not the change that was asked for ({clip_sim_dir:.2f})",
    ),
    ("critic", lambda s, p, t: s["critic"] < t.critic, "the critic does not approve ({critic:g} of 10: {critic_why})"),
)


def score(
    store: PairStore,
    clip: Clip | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    spread: Callable[[Iterator[list[EditPair]]], Iterator[list[dict]]] | None = None,
) -> int:
    """Measure every pair that has no score yet, in the store held for writing; with a CLIP its similarities too, where
    they are not there by the same CLIP. What could not be read is tried again: it may have been mended.

    `spread` takes batches of pairs to other processes and gives what `scored` makes of them; None: all here.
    Returns how many were measured. A pair whose files cannot be read gets {"broken": why} for its score.
    """
    scores, measured, broken, marks = Last(store.scores), set(), {}, {}
    for record in scores.of(scores):
        if "broken" in record:
            broken[record["id"]] = record
        elif clip is None or record.get("clip") == clip.name:
            measured.add(record["id"])
        elif marked := {name: value for name, value in record.items() if name.startswith("critic")}:
            marks[record["id"]] = marked  # they stay when the pair is measured anew
    missing = {pair.id for pair in store if pair.id not in measured}
    pairs, done = (pair for pair in store if pair.id in missing), 0
    batches = iter(lambda: list(islice(pairs, BATCH)), [])
    results = spread(batches) if spread else (scored(store, batch, clip) for batch in batches)
    with closing(results):
        for records in results:
            new = (record for record in records if record != broken.get(record["id"]))
            store.scores.append(*({**marks.get(record["id"], {}), **record} for record in new))
            done += len(records)
            on_progress(done, len(missing))
    return done


def scored(store: PairStore, batch: list[EditPair], clip: Clip | None) -> list[dict]:
    """The scores of some pairs, {"id": …, …} each."""
    records, readable = [], []
    for pair in batch:
        try:
            before, after = store.read_image(pair.input), store.read_image(pair.target)
            region = read_mask(store.folder / pair.region, after.shape[:2]) if pair.region else None
        except RethinkError as error:
            records.append({"id": pair.id, "broken": str(error)})
            continue
        record = {"id": pair.id, **measure(before, after, region)}
        records.append(record)
        readable.append((pair, record, before, after))
    if clip and readable:
        _add_similarities(readable, clip)
    return records


def _add_similarities(readable: list[tuple], clip: Clip) -> None:
    """A target that several pairs of the batch share is embedded once."""
    import torch

    from ...evaluation.clip_similarity import similarities

    targets = {pair.target: after for pair, _, _, after in readable}
    embedded = clip.images([before for _, _, before, _ in readable] + list(targets.values()))
    place = {path: len(readable) + i for i, path in enumerate(targets)}
    images = torch.stack([embedded[: len(readable)], embedded[[place[pair.target] for pair, *_ in readable]]])
    captioned = [i for i, (pair, *_) in enumerate(readable) if pair.input_caption and pair.target_caption]
    for (_, record, *_), found in zip(readable, similarities(images, None)):
        record.update(found, clip=clip.name)
    if captioned:
        captions = [readable[i][0].input_caption for i in captioned] + [
            readable[i][0].target_caption for i in captioned
        ]
        texts = clip.texts(captions).unflatten(0, (2, -1))
        for i, found in zip(captioned, similarities(images[:, captioned], texts)):
            readable[i][1].update(found)


def decide(store: PairStore, thresholds: Thresholds) -> Iterator[dict]:
    """A verdict {"id", "accepted", "why", "by": "filter"} a pair, from the scores alone. A pair without is no verdict."""
    twins, groups, reasons = DuplicateFinder(thresholds.duplicates), defaultdict(list), {}
    known = Last(store.scores)
    pairs = (pair for pair in store if pair.id in known)
    for pair, scores in with_scores(pairs, known):
        reasons[pair.id] = why = reject_reasons(scores, pair, thresholds) or twins.reject_reasons(scores, pair)
        if thresholds.best and not why and "clip_sim_dir" in scores:
            group = pair.source, pair.input_caption, pair.target_caption
            groups[group].append((-scores["clip_sim_dir"], pair.id))
    for group in groups.values():
        for _, id in sorted(group)[thresholds.best :]:
            reasons[id] = [f"not among the best {thresholds.best} of its caption"]
    for id, why in reasons.items():
        yield {"id": id, "accepted": not why, "why": why, "by": "filter"}


def with_scores(pairs: Iterable[EditPair], known: Last) -> Iterator[tuple[EditPair, dict]]:
    """Every pair, all of which have scores, with them."""
    ahead, behind = tee(pairs)
    return zip(behind, known.of(pair.id for pair in ahead))


def reject_reasons(scores: Mapping, pair: EditPair, thresholds: Thresholds) -> list[str]:
    """Every reason to reject a pair by its own scores; empty: none."""
    if "broken" in scores:
        return [scores["broken"]]
    return [
        sentence.format(**scores)
        for name, fails, sentence in RULES
        if name in scores and fails(scores, pair, thresholds)
    ]


class DuplicateFinder:
    """Finds, among the pairs that it is shown one after another, those whose target another source has too, or that are
    as good as another pair of the same target, operation and instruction.

    What few pixels changed hashes nearly all alike: only those that agree in everything else are compared.
    """

    def __init__(self, distance: int):
        self.distance = distance
        self.targets, self.known, self.edits = NearDuplicates(distance), set(), defaultdict(list)

    def reject_reasons(self, scores: Mapping, pair: EditPair) -> list[str]:
        """The reason to reject a pair; empty: none, and it is remembered."""
        if self.distance < 0:
            return []
        edits = self.edits[pair.target, pair.operation, pair.instruction]
        twin = None if pair.target in self.known else self.targets.find(scores["hash_target"])
        near = (id for hash, id in edits if apart(hash, scores["hash_edit"]) <= self.distance)
        if twin := twin or next(near, None):
            return [f"nearly the same as another pair ({twin})"]
        if pair.target not in self.known:
            self.known.add(pair.target)
            self.targets.add(scores["hash_target"], pair.id)
        edits.append((scores["hash_edit"], pair.id))
        return []


def filter_pairs(store: PairStore, thresholds: Thresholds) -> tuple[int, int]:
    """Write the verdicts that changed to the store held for writing. Returns (accepted, rejected)."""
    old = {
        verdict["id"]: (verdict["accepted"], verdict["why"]) for verdict in store.verdicts if verdict["by"] == "filter"
    }
    counts = [0, 0]
    for verdict in decide(store, thresholds):
        counts[not verdict["accepted"]] += 1
        if old.get(verdict["id"]) != (verdict["accepted"], verdict["why"]):
            store.verdicts.append(verdict)
    return counts[0], counts[1]


def kinds_of(reasons: Iterable[str]) -> list[tuple[str, int]]:
    """Reasons without what stands in brackets, so that one kind of reason counts as one; the commonest first.

    Names of a stranger's files in them are no markup, wherever they are shown.
    """
    return Counter(harmless(re.sub(r" \(.*\)", "", reason)).strip() for reason in reasons).most_common()


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
