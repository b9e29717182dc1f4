"""The reward of a thinker's answer in reinforcement learning: its format, its scores, and the edit that its prompt produces.

EditThinker's reward (arXiv 2512.05965, section 4): α·format + β·(−|S − E|) + γ·(E_t − E_{t−1}), where S is the thinker's score of the
edit it was shown and E that of an independent judge. Here, every part is scaled to 0…1; the constant that this adds to all rewards
of a group does not change their advantages.
"""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Literal

from ..errors import RethinkError
from ..loop_config import ACCEPT
from ..options import check_limits, option
from ..steps import Critique

Measure = Literal["semantic", "both"]
AS_PRESET = -1.0
ENOUGH, ONE_SIDED = 48, 0.1  # questions needed to judge a dataset, and the share of one kind of edit that is too small


@dataclass(frozen=True)
class Preset:
    """Weights of the parts, the scores they measure, and how strongly the policy is held to its start (KL)."""

    form: float
    agreement: float
    improvement: float
    measure: Measure
    kl: float


# The paper names its weights but gives no values; here they are equal per point of the full scale (the improvement part covers
# twice that scale). The released code has no agreement part and no KL, and only uses the semantic score.
PRESETS = {
    "paper": Preset(1.0, 1.0, 2.0, "both", 1e-3),
    "code": Preset(1.0, 0.0, 1.0, "semantic", 0.0),
}


@dataclass(frozen=True)
class RewardRules:
    """What is rewarded and how much."""

    preset: str = option(
        "paper",
        "paper: the reward in the EditThinker paper (format, agreement with the judge, improvement). code: the one in its released "
        "code (format, and improvement of the semantic score). Unlike that code, Rethink judges the last edit again instead of "
        "taking its score from the data, gives an edit that changes nothing a score of 0, and gives an answer whose edit fails no "
        "reward instead of scoring it as a critic.",
        choices=tuple(PRESETS),
        advanced=True,
    )
    format_weight: float = option(
        AS_PRESET,
        "Weight of answering in the requested format. -1: the preset's.",
        low=-1,
        high=100,
        step=0.1,
        advanced=True,
    )
    agreement_weight: float = option(
        AS_PRESET,
        "Weight of scores close to the judge's. -1: the preset's.",
        low=-1,
        high=100,
        step=0.1,
        advanced=True,
    )
    improvement_weight: float = option(
        AS_PRESET,
        "Weight of a new prompt whose edit the judge scores higher than the last one. -1: the preset's.",
        low=-1,
        high=100,
        step=0.1,
        advanced=True,
    )

    def __post_init__(self):
        check_limits(self)
        if not sum(self.weights.values()):
            raise RethinkError("format_weight: all weights are 0, so nothing is learned; raise one.")

    @property
    def weights(self) -> dict[str, float]:
        """Weights by the name of the part."""
        of_preset = PRESETS[self.preset]
        return {
            "format": _or_preset(self.format_weight, of_preset.form),
            "agreement": _or_preset(self.agreement_weight, of_preset.agreement),
            "improvement": _or_preset(self.improvement_weight, of_preset.improvement),
        }

    @property
    def measure(self) -> Measure:
        return PRESETS[self.preset].measure


def _or_preset(value: float, preset: float) -> float:
    return preset if value < 0 else value


@dataclass(frozen=True)
class Scores:
    """A judge's scores of an edit, 0…10 each."""

    semantic: float
    quality: float

    @property
    def overall(self) -> float:
        return (self.semantic * self.quality) ** 0.5


@dataclass(frozen=True)
class Reward:
    """The reward of one answer and its parts, 0…1 each."""

    value: float
    parts: dict[str, float]


def reward_of(answer: Critique, before: Scores | None, after: Scores | None, rules: RewardRules) -> Reward | None:
    """The reward of an answer. None, which is not zero, if it could not be measured because the editor or the judge failed.

    before: the judge's scores of the edit that the answer is about; after: those of the edit made with its prompt. An answer
    without a prompt is itself to blame for the missing edit, so that part is 0.
    """
    if before is None or (answer.next_prompt and after is None):
        return None
    parts = {
        "format": float(answer.status == "ok" and bool(answer.next_prompt)),
        "agreement": _agreement(answer, before, rules.measure),
        "improvement": 0.0 if after is None else _improvement(before, after, rules.measure),
    }
    weights = rules.weights
    return Reward(sum(weights[name] * parts[name] for name in parts) / sum(weights.values()), parts)


def _agreement(answer: Critique, judge: Scores, measure: Measure) -> float:
    """1 − |S − E| / 10, for the semantic score or the mean of both; 0 without scores."""
    if answer.semantic is None or answer.quality is None:
        return 0.0
    distances = [abs(answer.semantic - judge.semantic), abs(answer.quality - judge.quality)]
    return 1 - statistics.fmean(distances[:1] if measure == "semantic" else distances) / 10


def _improvement(before: Scores, after: Scores, measure: Measure) -> float:
    """((E_t − E_{t−1}) / 10 + 1) / 2."""
    if measure == "semantic":
        return ((after.semantic - before.semantic) / 10 + 1) / 2
    return ((after.overall - before.overall) / 10 + 1) / 2


@dataclass(frozen=True)
class GroupCounts:
    """Counts over the groups of a step.

    unrewarded: answers without reward. groups: all groups. skipped: groups whose rewards are all equal. judged: groups whose
    question is about an edit that the judge has scored; good: those it would accept. incomparable: groups with at most one reward,
    which teach nothing either.
    """

    unrewarded: int
    groups: int
    skipped: int
    judged: int = 0
    good: int = 0
    incomparable: int = 0


def count_groups(answers: Iterable[tuple[Hashable, float | None, Scores | None]]) -> GroupCounts:
    """Count the groups of a step. answers: (group, reward or None, the judge's scores of the edit that the question is about)."""
    groups: dict[Hashable, list[float]] = {}
    before: dict[Hashable, Scores] = {}
    unrewarded = 0
    for group, reward, scores in answers:
        rewards = groups.setdefault(group, [])
        if reward is None:
            unrewarded += 1
        else:
            rewards.append(reward)
        if scores is not None:
            before[group] = scores
    incomparable = sum(len(rewards) < 2 for rewards in groups.values())
    skipped = sum(len(rewards) >= 2 and max(rewards) - min(rewards) < 1e-6 for rewards in groups.values())
    good = sum(min(scores.semantic, scores.quality) >= ACCEPT for scores in before.values())
    return GroupCounts(unrewarded, len(groups), skipped, len(before), good, incomparable)


def warn_of_equal_rewards(groups: int, skipped: int) -> str:
    """A warning if all groups of a training were skipped, see `GroupCounts`; "" if not, or if there were none."""
    if not groups or skipped < groups:
        return ""
    return (
        f"Nothing was learned: no two answers to any of the {groups} questions had different rewards, and training learns from those "
        "differences. Raise temperature or rollouts, or train longer, on more runs."
    )


def warn_of_questions(judged: int, good: int) -> str:
    """A warning if nearly all edits that a thinker is asked about are wrong, or right, since it is then rewarded for always saying
    the same; "" if not, or before ENOUGH of them are known."""
    share = good / judged if judged >= ENOUGH else 0.5
    if ONE_SIDED <= share <= 1 - ONE_SIDED:
        return ""
    kind, verdict, others = ("wrong", "find fault with", "right") if share < 0.5 else ("right", "approve", "wrong")
    return (
        f"Of {judged} questions, {good} are about edits that the judge accepts. A thinker that is only asked about {kind} edits learns "
        f"to {verdict} everything, whatever its reward; add runs with edits that are {others}."
    )
