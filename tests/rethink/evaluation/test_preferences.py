"""Scores from votes: they find the truth, ties do not bend it, and what is open is said to be open."""

import json
import math

import numpy as np
import pytest

from rethink.evaluation.preferences import CENTER, SCALE, Vote, rank
from tests.support.hosts import PACK_ROOT


def cast(random, strengths, count, ties):
    """Votes by the model of Davidson, each on another item."""
    names = list(strengths)
    votes = []
    for _ in range(count):
        a, b = random.choice(names, 2, replace=False)
        weights = np.array(
            [
                math.exp(strengths[a]),
                math.exp(strengths[b]),
                ties * math.exp((strengths[a] + strengths[b]) / 2),
            ]
        )
        result = random.choice(3, p=weights / weights.sum())
        votes.append(Vote(b, a) if result == 1 else Vote(a, b, tie=bool(result == 2)))
    return votes


def test_intervals_hold_the_truth_with_ties():
    random, strengths, held = np.random.default_rng(0), {"a": -0.5, "b": 0.0, "c": 0.5}, []
    for _ in range(60):
        ratings = rank(cast(random, strengths, 80, 0.4)).ratings
        held += [rating.low <= CENTER + SCALE * strengths[rating.name] <= rating.high for rating in ratings]
    assert 0.9 <= np.mean(held) <= 0.99


def test_many_votes_find_the_strengths():
    ranking = rank(cast(np.random.default_rng(1), {"a": 0.4, "b": -0.4}, 4000, 0.8))
    assert [rating.name for rating in ranking.ratings] == ["a", "b"]
    assert ranking.ratings[0].score - ranking.ratings[1].score == pytest.approx(0.8 * SCALE, abs=25)
    assert ranking.decided and ranking.more_votes == 0


def test_win_rates_and_how_many_votes_are_missing():
    votes = [Vote("a", "b")] * 6 + [Vote("b", "a")] * 4 + [Vote("b", "a", tie=True)] * 2
    ranking = rank(votes)
    best = ranking.ratings[0]
    assert (best.name, best.wins, best.losses, best.ties) == ("a", 6, 4, 2) and best.win_rate == pytest.approx(7 / 12)
    assert not ranking.decided and 50 < ranking.more_votes < 500
    assert rank(votes * 20).decided
    equal = rank([Vote("a", "b"), Vote("b", "a")] * 5)
    assert not equal.decided and equal.more_votes is None


def test_who_wins_every_vote_is_not_infinitely_good():
    ranking = rank([Vote("a", "b")] * 3, ["new"])
    scores = {rating.name: rating for rating in ranking.ratings}
    assert all(math.isfinite(rating.score) for rating in scores.values())
    assert scores["a"].score > scores["new"].score > scores["b"].score and scores["new"].win_rate is None
    nobody = rank([], ["a", "b"])
    assert not nobody.decided and nobody.more_votes is None and nobody.ratings[0].low == -math.inf
    ties = rank([Vote("a", "b", tie=True)] * 5)
    assert ties.ratings[0].score == pytest.approx(ties.ratings[1].score)


def test_votes_on_one_item_count_as_one_opinion():
    votes = [Vote("a", "b", cluster=number) for number in range(12)] + [
        Vote("b", "a", cluster=n) for n in range(12, 18)
    ]
    alone, repeated = rank(votes), rank(votes * 10)
    assert repeated.ratings[0].high - repeated.ratings[0].low == pytest.approx(
        alone.ratings[0].high - alone.ratings[0].low, rel=0.05
    )


def test_the_page_is_held_against_these_figures():
    """tests/web/compare/preferences.test.mjs computes the same in JavaScript."""
    for case in json.loads((PACK_ROOT / "tests/web/compare/preferences.json").read_text(encoding="utf-8")):
        ranking = rank([Vote(*vote) for vote in case["votes"]], case["names"])
        found = [[r.name, r.score, r.low, r.high, r.wins, r.ties, r.losses] for r in ranking.ratings]
        assert [row[0] for row in found] == [row[0] for row in case["ratings"]]
        assert np.allclose([row[1:] for row in found], [row[1:] for row in case["ratings"]], rtol=1e-6)
        assert (ranking.decided, ranking.more_votes) == (case["decided"], case["more"])


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_few_votes_that_agree_decide_nothing(count):
    ranking = rank([Vote("a", "b")] * count)
    assert not ranking.decided and ranking.more_votes > 0 and ranking.ratings[0].low < CENTER < ranking.ratings[0].high
    assert rank([Vote("a", "b")] * 20).decided
    random = np.random.default_rng(2)
    wrong = [rank(cast(random, {"a": 0.0, "b": 0.0}, count, 0.4)).decided for _ in range(60)]
    assert sum(wrong) <= 1
