"""What an answer of a thinker is worth in reinforcement learning: its form, its scores, and the edit that its prompt makes.

EditThinker's reward (arXiv 2512.05965, section 4): α·format + β·(−|S − E|) + γ·(E_t − E_{t−1}), with S what the thinker says of the
edit it was shown, E what an independent judge says. Every part is 0…1 here; what that adds to all rewards of a group alike is
no advantage to any.
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
ENOUGH, ONE_SIDED = 48, 0.1  # questions that tell of a data set, and the share of one kind of edits that is too little


@dataclass(frozen=True)
class Preset:
    """Weights of the parts; what they measure; how strongly the policy is held to where it began (KL)."""

    form: float
    agreement: float
    improvement: float
    measure: Measure
    kl: float


# The paper names its weights, but gives no values for them: here they are equal, for points of the whole scale (the part of
# improvement goes over twice that scale). The released code has no agreement, looks at the semantic score alone, and no KL.
PRESETS = {
    "paper": Preset(1.0, 1.0, 2.0, "both", 1e-3),
    "code": Preset(1.0, 0.0, 1.0, "semantic", 0.0),
}


@dataclass(frozen=True)
class RewardRules:
    """What is rewarded, and how much."""

    preset: str = option(
        "paper",
        "The reward as the paper of EditThinker says (form, agreement with the judge, improvement), or as its released code does "
        "(form and improvement, of the semantic score). Other than in that code, the last edit is judged anew, where it takes its "
        "score from the data; an edit that changes nothing scores 0; and an answer whose edit fails has no reward, where it is "
        "scored as a critic.",
        choices=tuple(PRESETS),
        advanced=True,
    )
    format_weight: float = option(
        AS_PRESET,
        "Weight of an answer in the form that was asked for. -1: the preset's.",
        low=-1,
        high=100,
        step=0.1,
        advanced=True,
    )
    agreement_weight: float = option(
        AS_PRESET,
        "Weight of scores that are near the judge's. -1: the preset's.",
        low=-1,
        high=100,
        step=0.1,
        advanced=True,
    )
    improvement_weight: float = option(
        AS_PRESET,
        "Weight of an edit by the new prompt that the judge scores higher than the last one. -1: the preset's.",
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
        """By the name of the part."""
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
    """What a judge says of an edit, 0…10 each."""

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
    """What an answer is worth. None: it could not be measured, as the editor or the judge failed; that is not a zero.

    before: the judge's scores of the edit that the answer is about; after: of the edit by its prompt. An answer with no prompt
    has made no edit by its own fault: that is worth nothing.
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
    """1 − |S − E| / 10, of the semantic score or the mean of both; 0 without scores."""
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
    """Of the groups of a step: answers without reward; groups; of these, those whose rewards are all equal; those whose question is
    about an edit that the judge has scored, and would accept; those with at most one reward, from which nothing is learned either."""

    unrewarded: int
    groups: int
    skipped: int
    judged: int = 0
    good: int = 0
    incomparable: int = 0


def count_groups(answers: Iterable[tuple[Hashable, float | None, Scores | None]]) -> GroupCounts:
    """answers: of a step: (its group, its reward or None, the judge's scores of the edit that the question is about)."""
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
    """A sentence where all groups of a training were skipped, see `GroupCounts`; "" where not, or without any."""
    if not groups or skipped < groups:
        return ""
    return (
        f"Nothing was taught: at none of {groups} questions did two answers have different rewards, and it is differences that are "
        "learned from. Raise temperature or rollouts, or train longer, on more runs."
    )


def warn_of_questions(judged: int, good: int) -> str:
    """A sentence where (nearly) all of the edits that a thinker is asked about are wrong, or right: it is rewarded for saying always
    the same then, and learns to; "" where not, or before ENOUGH of them are known."""
    share = good / judged if judged >= ENOUGH else 0.5
    if ONE_SIDED <= share <= 1 - ONE_SIDED:
        return ""
    kind, verdict, others = ("wrong", "find fault with", "right") if share < 0.5 else ("right", "approve", "wrong")
    return (
        f"Of {judged} questions, {good} are about edits that the judge accepts. A thinker that is asked about {kind} edits alone learns to "
        f"{verdict} everything, whatever its reward says; add runs with edits that are {others}."
    )
