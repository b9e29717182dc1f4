"""What was measured about an edit, and what was not, with the reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..evaluation.benchmarks.core import mean
from ..evaluation.measures import Group, Measure
from ..evaluation.statistics import NOT_MEASURED


@dataclass(frozen=True)
class Measurement:
    """One number about an edit. value: None if it was not measured; `why` says why. spread: the standard deviation over
    several passes."""

    measure: Measure
    value: float | None
    spread: float | None = None
    why: str = ""

    @property
    def group(self) -> Group:
        return self.measure.group

    @property
    def name(self) -> str:
        return self.measure.name

    @property
    def scale(self) -> str:
        return self.measure.scale

    @property
    def text(self) -> str:
        """The value as shown to people."""
        if self.value is None:
            return NOT_MEASURED
        spread = "" if self.spread is None else f" ± {self.spread:.2f}"
        return f"{self.value:.2f}{spread}" if self.group == "judge" else f"{self.value:.4g}"


@dataclass(frozen=True)
class EditScores:
    """All measurements of an edit. reasoning: from the judge's first pass. notes: full sentences. unanswered: whether a judge was
    asked but never answered."""

    measurements: tuple[Measurement, ...]
    reasoning: str = ""
    notes: tuple[str, ...] = ()
    unanswered: bool = False

    def find(self, measure: Measure) -> Measurement:
        """The measurement of a measure. Raises KeyError if this record does not have it."""
        found = next((each for each in self.measurements if each.measure == measure), None)
        if found is None:
            raise KeyError(measure.name)
        return found

    def value(self, measure: Measure) -> float | None:
        """The value of a measure; None if it was not measured. Raises KeyError as `find` does."""
        return self.find(measure).value

    def __str__(self) -> str:
        names = max(len(each.name) for each in self.measurements)
        values = max(len(each.text) for each in self.measurements)
        lines, group = [], ""
        for each in self.measurements:
            lines += [f"{each.group}:"] if each.group != group else []
            group = each.group
            lines.append(f"  {each.name:<{names}}  {each.text:>{values}}  {each.why or each.scale}")
        return "\n".join([*lines, *self.notes, *([f"The judge: {self.reasoning}"] if self.reasoning else [])])

    @property
    def brief(self) -> str:
        """The same in narrow lines: one paragraph per group, then what is missing."""
        lines = []
        for group in dict.fromkeys(each.group for each in self.measurements):
            known = [m for m in self.measurements if m.group == group and m.value is not None]
            lines += [f"{group}: {' · '.join(f'{each.name} {each.text}' for each in known)}"] if known else []
        reasons: dict[str, list[str]] = {}
        for each in self.measurements:
            if each.value is None:
                reasons.setdefault(each.why, []).append(each.name)
        lines += [f"{NOT_MEASURED}: {', '.join(names)} ({why})" for why, names in reasons.items()]
        return "\n".join([*lines, *self.notes, *([self.reasoning] if self.reasoning else [])])

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        rows = [
            {"group": m.group, "name": m.name, "value": m.value, "spread": m.spread, "scale": m.scale, "why": m.why}
            for m in self.measurements
        ]
        return {"measurements": rows, "reasoning": self.reasoning, "notes": list(self.notes)}


def summarize_passes(measure: Measure, values: Sequence[float], why: str) -> Measurement:
    """The mean of several passes and their standard deviation; why: the reason if there are no values."""
    average = mean(values)
    if average is None:
        return Measurement(measure, None, why=why)
    squares = math.fsum((value - average) ** 2 for value in values)
    return Measurement(measure, average, (squares / (len(values) - 1)) ** 0.5 if len(values) > 1 else None)
