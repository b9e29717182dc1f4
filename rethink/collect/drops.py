"""Runs dropped by rules: how many by each, with an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..text_files import show_name

LONGEST = 4096  # characters of a folder name in a report, the most it can have: its end tells it apart from others


class Drops(Counter[str]):
    """The number of runs dropped by reason, with the first folder for each reason."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, str] = {}

    def add(self, why: str, run: str) -> None:
        """Count a run. run: its folder."""
        self[why] += 1
        self.first.setdefault(why, run)

    def counts(self, rules: Mapping[str, str]) -> list[tuple[str, int]]:
        """(text of a rule, number of runs it dropped), in the order of the rules."""
        return [(words, self[why]) for why, words in rules.items() if self[why]]

    def describe(self, rules: Mapping[str, str]) -> list[str]:
        """One line for every rule that dropped runs, with the first folder."""
        return [f"{self[why]} × {words} ({self._example(why)})" for why, words in rules.items() if self[why]]

    def _example(self, why: str) -> str:
        return show_name(self.first[why], LONGEST) + (", …" if self[why] > 1 else "")
