"""Which save of a training is the best, by what is measured at each: a rule that one sentence says."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

CLOSE = 0.02  # held-out losses so near to the lowest, as a share of it, are not told apart
STEP = 0.005  # in which nearness to the targets is counted: less cannot be seen

Means = Mapping[str, float]


@dataclass(frozen=True)
class Save:
    """A LoRA that was saved.

    held_out: the mean loss over the held-out pairs, None without any. previews: files of the edits of some of them. scores: of
    each of those, `changed` and `kept` (`evaluation.target_match`) and, with a thinker, its score as `thinker`, 0 to 10, with
    its `note`.
    """

    step: int
    file: str
    loss: float
    held_out: float | None
    previews: tuple[str, ...] = ()
    scores: tuple[Mapping[str, float | str | None], ...] = ()


def mean_scores(scores: Sequence[Mapping[str, float | str | None]]) -> dict[str, float]:
    """The mean of every score over the previews that have it."""
    names = dict.fromkeys(name for each in scores for name in each)
    columns = {name: [value for each in scores if isinstance(value := each.get(name), (int, float))] for name in names}
    return {name: statistics.fmean(values) for name, values in columns.items() if values}


def choose_save(saves: Sequence[Save], held_out: int) -> tuple[int, str]:
    """(the step of the best save, why): of those whose held-out loss is close to the lowest, the one whose previews a thinker
    likes best, else the one whose previews come nearest to their targets, else the one of the lowest loss.

    held_out: over how many pairs the losses are.
    """
    losses = {save.step: save.held_out for save in saves if save.held_out is not None}
    if not losses:
        newest = saves[-1].step if saves else 0
        return newest, "the newest, as there are too few pairs to hold some out"
    lowest = min(losses.values())
    close = {
        save.step: mean_scores(save.scores) for save in saves if losses.get(save.step, math.inf) <= lowest * (1 + CLOSE)
    }
    for rank, describe in _RANKS:
        ranks = {step: value for step, means in close.items() if (value := rank(means)) is not None}
        if len(close) > 1 and len(ranks) == len(close):
            best = max(ranks, key=lambda step: (ranks[step], -losses[step]))
            within = (
                f"of the {len(close)} saves whose loss on {held_out} held-out pairs is within {CLOSE:.0%} of the lowest"
            )
            return best, f"{within} ({lowest:.5f}), {describe(close[best])}"
    best = min(losses, key=lambda step: losses[step])
    return best, f"the lowest loss on {held_out} held-out pairs, {lowest:.5f}, of {len(losses)} saves"


def _liking(means: Means) -> float | None:
    return means.get("thinker")


def _describe_liking(means: Means) -> str:
    return f"the one that the thinker scores highest ({means['thinker']:.1f} of 10)"


def _nearness(means: Means) -> float | None:
    if "changed" not in means:
        return None
    return round((means["changed"] + means.get("kept", 1.0)) / 2 / STEP)


def _describe_nearness(means: Means) -> str:
    kept = f", {means['kept']:.0%} of the rest kept" if "kept" in means else ""
    return f"the one whose previews come nearest to their targets ({means['changed']:.0%} of the change made{kept})"


_RANKS: tuple[tuple[Callable[[Means], float | None], Callable[[Means], str]], ...] = (
    (_liking, _describe_liking),
    (_nearness, _describe_nearness),
)
