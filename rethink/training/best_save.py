"""Choosing the best save of a training by what was measured at each, with a one-sentence reason."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..progress import format_count

MOST = 0.05  # how far another loss may be above the lowest, as a share of it, however wide the standard error is
MOST_OF_MEANS = 0.02  # the same without a standard error: for a single pair, and in records that only have the means


@dataclass(frozen=True)
class Save:
    """A saved LoRA.

    held_out: the mean loss over the held-out pairs, None without any; losses: the individual losses, pair by pair, with the same
    pairs and noise at every save. previews: files with the edits of some pairs. scores: for each preview, `changed` and `kept`
    (`evaluation.target_match`) and, with a thinker, its score as `thinker`, 0 to 10, with its `note`. preview_editor: the name of
    the editor that made the previews; "" for the one being trained.
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
    """The mean of each score over the previews that have it."""
    names = dict.fromkeys(name for each in scores for name in each)
    columns = {name: [value for each in scores if isinstance(value := each.get(name), (int, float))] for name in names}
    return {name: statistics.fmean(values) for name, values in columns.items() if values}


def choose_save(saves: Sequence[Save], held_out: int) -> tuple[int, str]:
    """(the step of the best save, why). Among saves whose held-out loss is close to the lowest, this is the one whose previews the
    thinker scores highest, or without a thinker the newest, which has trained longest without overfitting.

    held_out: the number of pairs that the losses cover. Close means within one standard error (Breiman et al., Classification and
    Regression Trees (1984), section 3.4.3) of the pairwise differences between two saves, and within `MOST`: with few pairs, the
    standard error is so wide that an overfitted save would pass.
    """
    measured = [save for save in saves if save.held_out is not None]
    if not measured:
        newest = saves[-1].step if saves else 0
        return newest, "the newest, since there are too few pairs to hold any out"
    lowest = min(measured, key=_loss)
    close = [save for save in measured if _is_close(save, lowest, held_out)]
    pairs = format_count(held_out, "held-out pair")
    if len(close) == 1:
        return (
            lowest.step,
            f"the lowest loss of {format_count(len(measured), 'save')} on {pairs} ({lowest.held_out:.5f})",
        )
    best, which = _prefer(close)
    return best, (
        f"{which} of the {len(close)} saves whose loss on {pairs} is close to the lowest ({lowest.held_out:.5f})"
    )


def _loss(save: Save) -> float:
    return math.inf if save.held_out is None else save.held_out


def _is_close(save: Save, lowest: Save, held_out: int) -> bool:
    """Whether a save may be as good as the one with the lowest loss."""
    higher, differences = _loss(save) - _loss(lowest), _differences(save, lowest, held_out)
    if len(differences) < 2:
        return higher <= MOST_OF_MEANS * _loss(lowest)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return higher <= min(error, MOST * _loss(lowest))


def _differences(save: Save, lowest: Save, held_out: int) -> list[float]:
    """How much higher the loss of each pair is; [] if unknown. Measurements of one pair at several timesteps count as one
    observation: the timesteps are the same for all pairs, and the pairs are the sample."""
    count = len(save.losses)
    if not held_out or not count or count != len(lowest.losses) or count % held_out:
        return []
    losses = [one - other for one, other in zip(save.losses, lowest.losses)]
    times = count // held_out
    return [statistics.fmean(losses[start : start + times]) for start in range(0, count, times)]


def _prefer(saves: Sequence[Save]) -> tuple[int, str]:
    """(the step of the preferred save, which one it is)."""
    likings = {save.step: mean_scores(save.scores).get("thinker") for save in saves}
    ranks = {step: liking for step, liking in likings.items() if liking is not None}
    if len(ranks) == len(saves):
        best = max(ranks, key=lambda step: (ranks[step], step))
        return best, f"the one with the highest thinker score ({ranks[best]:.1f} of 10)"
    return max(save.step for save in saves), "the newest"
