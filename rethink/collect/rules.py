"""Which runs, and which of their steps, go into a dataset, and into which part of it.

The rules of ThinkEdit-140k (EditThinker, arXiv 2512.05965, section 4): keep a run if a later turn is at least as good as the
first, cut it at the best, unroll it into steps, balance them by task and score, and split by the variance of the scores.
Everything is decided from `RunFacts`, in two passes, so a run costs only a few bytes of memory.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import pvariance
from typing import Literal

import numpy as np

from ..options import MAX_SEED, check_limits, option
from .drops import Drops
from .runs import REASONS, RunFacts

Part = Literal["sft", "rl"]
PARTS: tuple[Part, ...] = ("sft", "rl")
RULES = {
    **REASONS,
    "single": "only one turn, which was not accepted",
    "harm": "no later turn is as good as the first",
}
Group = tuple[Part, str, int]  # part, kind of task, score


@dataclass(frozen=True)
class CollectRules:
    """How runs are chosen and split."""

    sft_share: float = option(
        0.84,
        "Share of runs for supervised learning: those whose scores vary least. The others are for reinforcement learning. "
        "ThinkEdit: 140 of 167.",
        low=0,
        high=1,
        step=0.01,
    )
    balance: float = option(
        2.0,
        "Limit each combination of task and score to this many times the steps of the median one. 0: keep all.",
        low=0,
        high=1000,
        step=0.5,
    )
    seed: int = option(0, "Decides which steps are left out where there are too many.", low=0, high=MAX_SEED)

    def __post_init__(self):
        check_limits(self)


def drop_reason(facts: RunFacts) -> str:
    """A key of RULES: why a run is not kept; "" if it is."""
    from ..training.conversations import scores_did_no_harm

    if facts.why:
        return facts.why
    stopped = facts.stopped
    if facts.scores is not None:  # a judge that replaces the run's scores also replaces its verdict
        stopped = "accepted" if facts.accepted else ""
    if scores_did_no_harm([turn.overall for turn in facts.turns], stopped):
        return ""
    return "single" if len(facts.turns) < 2 else "harm"


@dataclass(frozen=True, eq=False)
class Choice:
    """What the rules decided.

    runs, kept: how many there are. dropped: runs by the key of RULES. same_judge: runs whose judge is their own thinker; harmed:
    runs where the judge accepts an edit of the first turn but not the result.
    is_sft: for every kept run, in order. most: for every group with too many steps, the highest `step_rank` that is kept.
    steps, chosen: steps per part, before and after balancing.
    """

    runs: int
    kept: int
    dropped: Drops
    same_judge: int
    harmed: int
    is_sft: np.ndarray
    most: dict[Group, int]
    steps: Counter[Part]
    chosen: Counter[Part]
    rules: CollectRules

    def choose(self, runs: Iterable[RunFacts]) -> Iterator[tuple[Part, RunFacts, list[int]]]:
        """Every kept run that has steps, with its part and the positions of these steps among its turns. runs: the same as before."""
        for part, facts in share_out(runs, self.is_sft):
            places = [
                place
                for place in range(facts.best_turn + 1)
                if (most := self.most.get(group_of(part, facts, place))) is None
                or step_rank(facts, place, self.rules.seed) <= most
            ]
            if places:
                yield part, facts, places


def apply_rules(runs: Iterable[RunFacts], rules: CollectRules) -> Choice:
    """Decide which runs and steps are kept. `runs` is iterated twice."""
    dropped = Drops()
    variances, total, same_judge, harmed = array("d"), 0, 0, 0
    for facts in runs:
        total += 1
        same_judge += facts.same_judge
        harmed += facts.harmed
        if why := drop_reason(facts):
            dropped.add(why, facts.run)
        else:
            variances.append(pvariance([turn.overall for turn in facts.turns]))
    is_sft = np.zeros(len(variances), bool)
    calmest = np.argsort(np.frombuffer(variances, float) if variances else np.zeros(0), kind="stable")
    is_sft[calmest[: round(rules.sft_share * len(variances))]] = True

    ranks: dict[Group, array] = defaultdict(lambda: array("Q"))
    for part, facts in share_out(runs, is_sft):
        for place in range(facts.best_turn + 1):
            ranks[group_of(part, facts, place)].append(step_rank(facts, place, rules.seed))
    most = _limits(ranks, rules.balance)
    steps: Counter[Part] = Counter()
    chosen: Counter[Part] = Counter()
    for group, members in ranks.items():
        steps[group[0]] += len(members)
        limit = most.get(group)
        chosen[group[0]] += len(members) if limit is None else sum(rank <= limit for rank in members)
    return Choice(total, len(variances), dropped, same_judge, harmed, is_sft, most, steps, chosen, rules)


def share_out(runs: Iterable[RunFacts], is_sft: np.ndarray) -> Iterator[tuple[Part, RunFacts]]:
    """The kept runs with their parts."""
    kept = (facts for facts in runs if not drop_reason(facts))
    return (("sft" if sft else "rl", facts) for sft, facts in zip(is_sft, kept))


def group_of(part: Part, facts: RunFacts, place: int) -> Group:
    """The group in which a step is balanced."""
    return part, facts.kind, round(facts.turns[place].overall)


def step_rank(facts: RunFacts, place: int, seed: int) -> int:
    """A 64-bit number by which steps are drawn; it does not depend on the other steps."""
    text = f"{seed} {facts.content} {place}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _limits(ranks: dict[Group, array], balance: float) -> dict[Group, int]:
    """{group: the highest rank that is kept} for the groups with too many steps for their part."""
    limits: dict[Group, int] = {}
    for part in PARTS:
        sizes = sorted(len(members) for group, members in ranks.items() if group[0] == part)
        if not sizes or not balance:
            continue
        most = max(1, int(balance * sizes[len(sizes) // 2]))
        for group, members in ranks.items():
            if group[0] == part and len(members) > most:
                limits[group] = int(np.partition(np.frombuffer(members, np.uint64), most - 1)[most - 1])
    return limits
