"""Measures that need packages and models of their own, for Score Edit and Compare Editors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RethinkError, describe_error
from .edited_part import EditedPart
from .record import Measurement

if TYPE_CHECKING:
    from torch import Tensor

    from ..evaluation.learned_measures import LearnedMeasure

FURTHER = ("none", "perceptual", "all")
# (source, an edit of it, instruction) → the value, or why there is none
MeasureEdit = Callable[["Tensor", EditedPart, str], Measurement]


@dataclass(frozen=True)
class FurtherMeasures:
    """Which of `learned_measures` to use. kind: one of FURTHER. folder: has a subfolder for each. device: where they run."""

    kind: str = "none"
    folder: Path | None = None
    device: str = "cpu"

    def rows(self) -> list[LearnedMeasure]:
        """The chosen measures."""
        from ..evaluation import learned_measures

        return [row for row in learned_measures.MEASURES if self.kind == "all" or row.kind == self.kind]

    def open(self, row: LearnedMeasure) -> MeasureEdit:
        """Open a measure; if that fails, the error is the reason why its value is missing."""
        from ..evaluation import learned_measures

        compare, failure = None, ""
        try:
            compare = learned_measures.open_measure(row, self.folder, self.device)
        except RethinkError as error:
            failure = describe_error(error)

        def measure(source: Tensor, part: EditedPart, instruction: str) -> Measurement:
            if compare is None:
                return Measurement(row.measure, None, why=failure)
            try:
                value = learned_measures.measure(compare, source, _seen(row, part), instruction)
            except RethinkError as error:
                return Measurement(row.measure, None, why=describe_error(error))
            return Measurement(row.measure, value)

        return measure


NO_FURTHER = FurtherMeasures()


def _seen(row: LearnedMeasure, part: EditedPart) -> Tensor:
    """The image that a measure compares with the source."""
    if row.kind == "reward":
        return part.edited
    if part.part is None:
        raise RethinkError(part.why)
    return part.part.edited
