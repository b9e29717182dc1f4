"""Runs that rules have dropped: how many at each, and an example to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..text_files import show_name

LONGEST = 4096  # characters of a folder in a report, as many as it can have: its end is what tells it from others


class Drops(Counter[str]):
    """How many runs were dropped, by the reason why, with the first folder of each reason."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, str] = {}

    def add(self, why: str, run: str) -> None:
        """Count a run. run: its folder."""
        self[why] += 1
        self.first.setdefault(why, run)

    def counts(self, rules: Mapping[str, str]) -> list[tuple[str, int]]:
        """(rule in words, runs that it has dropped), in the order of the rules."""
        return [(words, self[why]) for why, words in rules.items() if self[why]]

    def describe(self, rules: Mapping[str, str]) -> list[str]:
        """A line for every rule that has dropped runs, with the first folder."""
        return [f"{self[why]} × {words} ({self._example(why)})" for why, words in rules.items() if self[why]]

    def _example(self, why: str) -> str:
        return show_name(self.first[why], LONGEST) + (", …" if self[why] > 1 else "")
