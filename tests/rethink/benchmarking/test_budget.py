"""A budget ends a run in time, and what it will cost is said before."""

import pytest

from rethink.benchmarking import budget
from rethink.benchmarking.budget import NO_LIMITS, Budget, Estimate, Spending
from rethink.errors import RethinkError


def test_each_limit_ends_a_run(monkeypatch):
    free = Spending(NO_LIMITS)
    assert all(free.take(1.0) for _ in range(50)) and free.calls == 50 and free.why_over() == ""
    few = Spending(Budget(calls=2))
    assert [few.take() for _ in range(3)] == [True, True, False] and few.why_over() == "2 calls"
    dear = Spending(Budget(money=1.0, price_in=1.0))
    assert [dear.take(0.4) for _ in range(3)] == [True, True, False] and dear.why_over(0.4) == "1 of money"
    slow = Spending(Budget(minutes=2))
    now = slow._started
    monkeypatch.setattr(budget.time, "monotonic", lambda: now + 121)
    assert not slow.take() and slow.why_over() == "2 minutes"
    with pytest.raises(RethinkError, match="calls"):
        Budget(calls=-1)
    with pytest.raises(RethinkError, match="price_in"):
        Budget(money=2.0)


def test_what_is_going_to_be_asked_in_words():
    plan = Estimate(calls=1000, known=12, images=1500, characters=4_000_000)
    assert plan.tokens_in == 2_500_000
    assert "about 7.50 in all" in plan.words("gpt", Budget(price_in=2, price_out=10))
    assert "1,000 calls of gpt (12 answers are known)" in plan.words("gpt", NO_LIMITS)
    assert "in all" not in plan.words("gpt", NO_LIMITS)
    assert Estimate(0, 7, 0, 0).words("gpt", NO_LIMITS) == "All 7 answers of gpt are known: nothing is asked."
