"""A budget ends a run in time, and what it will cost is said before."""

import pytest

from rethink.benchmarking import budget
from rethink.benchmarking.budget import NO_LIMITS, Budget, Estimate, Spending
from rethink.errors import RethinkError
from rethink.thinkers.protocol import TokenUsage


def test_each_limit_ends_a_run(monkeypatch):
    free = Spending(NO_LIMITS)
    assert all(free.take(1.0) for _ in range(50)) and free.calls == 50 and free.why_over() == ""
    few = Spending(Budget(calls=2))
    assert [few.take() for _ in range(3)] == [True, True, False] and few.why_over() == "2 calls"
    dear = Spending(Budget(money=1.0, price_in=1.0))
    assert [dear.take(0.4) for _ in range(3)] == [True, True, False] and dear.why_over(0.4) == "1 (money)"
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
    assert "about 7.50 in total" in plan.words("gpt", Budget(price_in=2, price_out=10))
    assert "1,000 calls to gpt (12 answers are known)" in plan.words("gpt", NO_LIMITS)
    assert "about 2,500,000 tokens to read and 250,000 to write" in plan.words("gpt", NO_LIMITS)
    assert "in total" not in plan.words("gpt", NO_LIMITS)
    assert Estimate(0, 7, 0, 0).words("gpt", NO_LIMITS) == "All answers of gpt are known (7); nothing has to be asked."
    assert Estimate(1, 1, 0, 0).words("gpt", NO_LIMITS).startswith("1 call to gpt (1 answer is known), about")


def test_money_is_what_the_server_says_and_else_what_was_expected():
    said = [TokenUsage(5, 500, 50)]  # of an earlier run
    spending = Spending(Budget(money=10.0, price_in=1e6, price_out=2e6), lambda: said[0])
    assert spending.take(4.0) and spending.money == 4.0
    said[0] += TokenUsage(1, 1, 1)
    assert spending.money == 3.0 and spending.usage == TokenUsage(1, 1, 1)
    assert spending.take(4.0) and spending.money == 7.0 and not spending.take(4.0)
    said[0] += TokenUsage(1, 1, 0)
    assert spending.money == 4.0 and spending.take(4.0)
