"""What was measured of an edit, and what was not, with the reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..evaluation.benchmarks.core import mean
from ..evaluation.statistics import NOT_MEASURED

Group = Literal["judge", "CLIP", "outside the change", "reward models"]

FOLLOWING, RESTRAINT, NATURALNESS, ARTIFACTS = "instruction following", "over-editing", "naturalness", "artifacts"
SEMANTIC, QUALITY, OVERALL = "semantic", "quality", "overall"


@dataclass(frozen=True)
class Measurement:
    """One number about an edit. value: None where it was not measured, and `why` says why. spread: the standard deviation of
    several passes. scale: how it is read."""

    group: Group
    name: str
    value: float | None
    scale: str
    spread: float | None = None
    why: str = ""

    @property
    def text(self) -> str:
        """The value for people."""
        if self.value is None:
            return NOT_MEASURED
        spread = "" if self.spread is None else f" ± {self.spread:.2f}"
        return f"{self.value:.2f}{spread}" if self.group == "judge" else f"{self.value:.4g}"


@dataclass(frozen=True)
class EditScores:
    """All that is known of an edit. reasoning: of the judge's first pass. notes: in sentences."""

    measurements: tuple[Measurement, ...]
    reasoning: str = ""
    notes: tuple[str, ...] = ()

    def value(self, name: str) -> float | None:
        """A number by its name; None where it was not measured. Raises KeyError for an unknown name."""
        return next((found.value for found in self._named(name)), None)

    def _named(self, name: str) -> list[Measurement]:
        found = [each for each in self.measurements if each.name == name]
        if not found:
            raise KeyError(name)
        return found

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
        """The same in narrow lines: a paragraph a group, then what is missing."""
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
        """All of it as JSON has it."""
        rows = [
            {"group": m.group, "name": m.name, "value": m.value, "spread": m.spread, "scale": m.scale, "why": m.why}
            for m in self.measurements
        ]
        return {"measurements": rows, "reasoning": self.reasoning, "notes": list(self.notes)}


def summarize_passes(group: Group, name: str, scale: str, values: Sequence[float], why: str) -> Measurement:
    """The mean of several passes and their standard deviation; why: the reason where there is none."""
    average = mean(values)
    if average is None:
        return Measurement(group, name, None, scale, why=why)
    squares = math.fsum((value - average) ** 2 for value in values)
    return Measurement(group, name, average, scale, (squares / (len(values) - 1)) ** 0.5 if len(values) > 1 else None)
