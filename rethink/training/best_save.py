"""Which save of a training is the best, by what is measured at each: a rule that one sentence says."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST = 0.05  # by what share of the lowest loss another may be higher at most, however wide the standard error is
MOST_OF_MEANS = 0.02  # the same where there is none: of one pair, and in records that have no more than the means


@dataclass(frozen=True)
class Save:
    """A LoRA that was saved.

    held_out: the mean loss over the held-out pairs, None without any; losses: those it is the mean of, of the same pairs with the same
    noise for every save, pair by pair. previews: files of the edits of some of them. scores: of
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
    """(the step of the best save, why): of those whose held-out loss is close to the lowest, the one whose previews a thinker
    likes best, else the newest, which has learned longest without unlearning.

    held_out: over how many pairs the losses are. Close is within a standard error (Breiman et al., Classification and Regression
    Trees (1984), section 3.4.3), here of the differences between two saves, pair by pair, and within `MOST`: of few pairs the
    error is so wide that what has been learned by heart would pass.
    """
    measured = [save for save in saves if save.held_out is not None]
    if not measured:
        newest = saves[-1].step if saves else 0
        return newest, "the newest, as there are too few pairs to hold some out"
    lowest = min(measured, key=_loss)
    close = [save for save in measured if _is_close(save, lowest, held_out)]
    if len(close) == 1:
        return (
            lowest.step,
            f"the lowest loss on {held_out} held-out pairs, {lowest.held_out:.5f}, of {len(measured)} saves",
        )
    best, which = _prefer(close)
    return best, (
        f"of the {len(close)} saves whose loss on {held_out} held-out pairs is close to the lowest ({lowest.held_out:.5f}), "
        f"{which}"
    )


def _loss(save: Save) -> float:
    return math.inf if save.held_out is None else save.held_out


def _is_close(save: Save, lowest: Save, held_out: int) -> bool:
    """Whether a save may be as good as that of the lowest loss."""
    higher, differences = _loss(save) - _loss(lowest), _differences(save, lowest, held_out)
    if len(differences) < 2:
        return higher <= MOST_OF_MEANS * _loss(lowest)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return higher <= min(error, MOST * _loss(lowest))


def _differences(save: Save, lowest: Save, held_out: int) -> list[float]:
    """By how much the loss of every pair is higher; [] where that is not known. What is measured of a pair at several times is
    one observation: the times are the same for all, the pairs are the sample."""
    count = len(save.losses)
    if not held_out or not count or count != len(lowest.losses) or count % held_out:
        return []
    losses = [one - other for one, other in zip(save.losses, lowest.losses)]
    times = count // held_out
    return [statistics.fmean(losses[start : start + times]) for start in range(0, count, times)]


def _prefer(saves: Sequence[Save]) -> tuple[int, str]:
    """(the step of the one to take, which that is)."""
    likings = {save.step: mean_scores(save.scores).get("thinker") for save in saves}
    ranks = {step: liking for step, liking in likings.items() if liking is not None}
    if len(ranks) == len(saves):
        best = max(ranks, key=lambda step: (ranks[step], step))
        return best, f"the one that the thinker scores highest ({ranks[best]:.1f} of 10)"
    return max(save.step for save in saves), "the newest"
