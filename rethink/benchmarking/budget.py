"""What judging may cost, the estimate, and the actual cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import RethinkError
from ..options import check_limits, option
from ..progress import format_count
from ..thinkers.protocol import TokenUsage

TOKENS_PER_IMAGE = 1000  # about what a megapixel costs in most models
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Budget:
    """Limits of a run, 0 for none. Questions beyond a limit are left for a later run."""

    calls: int = option(0, "Maximum number of judge calls; 0: no limit.", low=0, high=10**7)
    minutes: float = option(0.0, "Maximum minutes of judging; 0: no limit.", low=0)
    money: float = option(
        0.0, "Approximate maximum cost of judging, in the currency of the prices; 0: no limit.", low=0
    )
    price_in: float = option(0.0, "Price per million tokens that the judge reads.", low=0)
    price_out: float = option(0.0, "Price per million tokens that the judge writes.", low=0)

    def __post_init__(self):
        check_limits(self)
        if self.money and not (self.price_in or self.price_out):
            raise RethinkError("money: needs the judge's prices; set price_in and price_out, or leave money at 0.")

    def price(self, tokens_in: float, tokens_out: float) -> float:
        """The cost of these tokens."""
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


NO_LIMITS = Budget()


@dataclass(frozen=True)
class Estimate:
    """What is left to ask. answer_tokens: tokens per answer, as far as known."""

    calls: int
    known: int
    images: int
    characters: int
    answer_tokens: float = 250.0

    @property
    def tokens_in(self) -> float:
        """The number of tokens that the judge will read."""
        return self.images * TOKENS_PER_IMAGE + self.characters / CHARACTERS_PER_TOKEN

    def words(self, judge: str, budget: Budget) -> str:
        """The estimate as a sentence, so that the user can stop before the first call."""
        if not self.calls:
            return f"All answers of {judge} are known ({self.known:,}); nothing has to be asked."
        tokens_out = self.calls * self.answer_tokens
        text = f"{format_count(self.calls, 'call')} to {judge} ({format_count(self.known, 'answer is', 'answers are')} known)"
        text += f", about {_rounded(self.tokens_in)} tokens to read and {_rounded(tokens_out)} to write"
        if budget.price_in or budget.price_out:
            text += f", about {budget.price(self.tokens_in, tokens_out):.2f} in total"
        return text + "."


def _rounded(tokens: float) -> str:
    """Round to two significant digits: 2,500,000."""
    return f"{float(f'{tokens:.2g}'):,.0f}"


class Spending:
    """What a run has spent so far, for any number of threads.

    usage: the tokens that the judge's server has reported so far; calls without a report count at their expected cost.
    """

    def __init__(self, budget: Budget, usage: Callable[[], TokenUsage] = TokenUsage):
        self.budget, self.calls = budget, 0
        self._usage, self._before, self._expected = usage, usage(), 0.0
        self._lock, self._started = threading.Lock(), time.monotonic()

    @property
    def usage(self) -> TokenUsage:
        """The reported tokens of this run."""
        return self._usage() - self._before

    @property
    def money(self) -> float:
        """What has been spent, including calls in progress."""
        known = self.usage
        estimated = max(0, self.calls - known.answers) * self._expected / max(1, self.calls)
        return self.budget.price(known.read, known.written) + estimated

    def take(self, expected: float = 0.0) -> bool:
        """Whether one more call is within the budget; if so, count it. expected: its expected cost."""
        with self._lock:
            if self.why_over(expected):
                return False
            self.calls += 1
            self._expected += expected
            return True

    def why_over(self, expected: float = 0.0) -> str:
        """The limit that the next call would exceed, "" for none."""
        budget, minutes = self.budget, (time.monotonic() - self._started) / 60
        if budget.calls and self.calls >= budget.calls:
            return format_count(budget.calls, "call")
        if budget.minutes and minutes >= budget.minutes:
            return f"{budget.minutes:g} minute{'s' * (budget.minutes != 1)}"
        if budget.money and self.money + expected > budget.money:
            return f"{budget.money:g} (money)"
        return ""
