"""What judging may cost, what it is going to cost, and what it has cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import RethinkError
from ..options import check_limits, option
from ..progress import format_count
from ..thinkers.protocol import TokenUsage

TOKENS_PER_IMAGE = 1000  # about what models make of a megapixel
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Budget:
    """Limits of a run, 0 for none. What is left out then is asked by a later run."""

    calls: int = option(0, "At most this many judge calls; 0: as many as it takes.", low=0, high=10**7)
    minutes: float = option(0.0, "At most this many minutes of judging; 0: as long as it takes.", low=0)
    money: float = option(
        0.0, "At most about this much for judging, in the currency of the prices; 0: no limit.", low=0
    )
    price_in: float = option(0.0, "Price of a million tokens that the judge reads.", low=0)
    price_out: float = option(0.0, "Price of a million tokens that the judge writes.", low=0)

    def __post_init__(self):
        check_limits(self)
        if self.money and not (self.price_in or self.price_out):
            raise RethinkError("money: say what the judge costs, in price_in and price_out, or leave it 0.")

    def price(self, tokens_in: float, tokens_out: float) -> float:
        """What so many tokens cost."""
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


NO_LIMITS = Budget()


@dataclass(frozen=True)
class Estimate:
    """What is left to ask. answer_tokens: of an answer, as far as is known."""

    calls: int
    known: int
    images: int
    characters: int
    answer_tokens: float = 250.0

    @property
    def tokens_in(self) -> float:
        """How many tokens the judge is going to read."""
        return self.images * TOKENS_PER_IMAGE + self.characters / CHARACTERS_PER_TOKEN

    def words(self, judge: str, budget: Budget) -> str:
        """In a sentence, for the user to stop before the first call."""
        if not self.calls:
            return f"All answers of {judge} are known ({self.known:,}): nothing is asked."
        tokens_out = self.calls * self.answer_tokens
        text = f"{format_count(self.calls, 'call')} of {judge} ({format_count(self.known, 'answer is', 'answers are')} known)"
        text += f", about {_rounded(self.tokens_in)} tokens to read and {_rounded(tokens_out)} to write"
        if budget.price_in or budget.price_out:
            text += f", about {budget.price(self.tokens_in, tokens_out):.2f} in all"
        return text + "."


def _rounded(tokens: float) -> str:
    """To two digits: 2,500,000."""
    return f"{float(f'{tokens:.2g}'):,.0f}"


class Spending:
    """What a run has spent so far, for any number of threads.

    usage: what the judge's server has said by now that its answers have taken; calls that it says nothing of cost what was expected.
    """

    def __init__(self, budget: Budget, usage: Callable[[], TokenUsage] = TokenUsage):
        self.budget, self.calls = budget, 0
        self._usage, self._before, self._expected = usage, usage(), 0.0
        self._lock, self._started = threading.Lock(), time.monotonic()

    @property
    def usage(self) -> TokenUsage:
        """What is known of this run's tokens."""
        return self._usage() - self._before

    @property
    def money(self) -> float:
        """What has been spent, with calls that are under way."""
        known = self.usage
        estimated = max(0, self.calls - known.answers) * self._expected / max(1, self.calls)
        return self.budget.price(known.read, known.written) + estimated

    def take(self, expected: float = 0.0) -> bool:
        """Whether one more call is within the budget; it is counted then. expected: what it is going to cost."""
        with self._lock:
            if self.why_over(expected):
                return False
            self.calls += 1
            self._expected += expected
            return True

    def why_over(self, expected: float = 0.0) -> str:
        """Which limit the next call would pass, "" for none."""
        budget, minutes = self.budget, (time.monotonic() - self._started) / 60
        if budget.calls and self.calls >= budget.calls:
            return format_count(budget.calls, "call")
        if budget.minutes and minutes >= budget.minutes:
            return f"{budget.minutes:g} minute{'s' * (budget.minutes != 1)}"
        if budget.money and self.money + expected > budget.money:
            return f"{budget.money:g} of money"
        return ""
