"""Which save of a training is the best, by what is measured at each: a rule that one sentence says."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CLOSE = 0.02  # of saves that say no more than their mean: by what share of the lowest another one may be higher


@dataclass(frozen=True)
class Save:
    """A LoRA that was saved.

    held_out: the mean loss over the held-out pairs, None without any; losses: those it is the mean of, of the same pairs with the same
    noise for every save. previews: files of the edits of some of them. scores: of
    each of those, `changed` and `kept` (`evaluation.target_match`) and, with a thinker, its score as `thinker`, 0 to 10, with
    its `note`. preview_editor: the name of the editor that they were made with; "" where that is the one that learns.
    """

    step: int
    file: str
    loss: float
    held_out: float | None
    previews: tuple[str, ...] = ()
    scores: tuple[Mapping[str, float | str | None], ...] = ()
    losses: tuple[float, ...] = ()
    preview_editor: str = ""


def mean_scores(scores: Sequence[Mapping[str, float | str | None]]) -> dict[str, float]:
    """The mean of every score over the previews that have it."""
    names = dict.fromkeys(name for each in scores for name in each)
    columns = {name: [value for each in scores if isinstance(value := each.get(name), (int, float))] for name in names}
    return {name: statistics.fmean(values) for name, values in columns.items() if values}


def choose_save(saves: Sequence[Save], held_out: int) -> tuple[int, str]:
    """(the step of the best save, why): of those whose held-out loss is within a standard error of the lowest, the one whose
    previews a thinker likes best, else the newest, which has learned longest without unlearning.

    held_out: over how many pairs the losses are. The rule of one standard error: Breiman et al., Classification and Regression
    Trees (1984), section 3.4.3; here of the differences between two saves, loss by loss.
    """
    measured = [save for save in saves if save.held_out is not None]
    if not measured:
        newest = saves[-1].step if saves else 0
        return newest, "the newest, as there are too few pairs to hold some out"
    lowest = min(measured, key=_loss)
    close = [save for save in measured if _is_close(save, lowest)]
    if len(close) == 1:
        return (
            lowest.step,
            f"the lowest loss on {held_out} held-out pairs, {lowest.held_out:.5f}, of {len(measured)} saves",
        )
    best, which = _prefer(close)
    return best, (
        f"of the {len(close)} saves whose loss on {held_out} held-out pairs is within a standard error of the lowest "
        f"({lowest.held_out:.5f}), {which}"
    )


def _loss(save: Save) -> float:
    return math.inf if save.held_out is None else save.held_out


def _is_close(save: Save, lowest: Save) -> bool:
    """Whether the losses of two saves do not tell them apart."""
    if len(save.losses) != len(lowest.losses) or len(save.losses) < 2:
        return _loss(save) <= _loss(lowest) * (1 + CLOSE)
    differences = [one - other for one, other in zip(save.losses, lowest.losses)]
    return statistics.fmean(differences) <= statistics.stdev(differences) / math.sqrt(len(differences))


def _prefer(saves: Sequence[Save]) -> tuple[int, str]:
    """(the step of the one to take, which that is)."""
    likings = {save.step: mean_scores(save.scores).get("thinker") for save in saves}
    ranks = {step: liking for step, liking in likings.items() if liking is not None}
    if len(ranks) == len(saves):
        best = max(ranks, key=lambda step: (ranks[step], step))
        return best, f"the one that the thinker scores highest ({ranks[best]:.1f} of 10)"
    return max(save.step for save in saves), "the newest"
