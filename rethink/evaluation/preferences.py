"""Rank by votes between two: Bradley-Terry scores with ties and 95% intervals, and the number of votes still needed.

A tie is an answer of its own (Davidson 1970, “On extending the Bradley-Terry model to accommodate ties”): counting it
as half a win for each pulls all scores together as ties grow more frequent. The intervals come from the sandwich
estimator, which does not assume that the model holds, clustered by the item that was voted on where one is given.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SCALE, CENTER = 400 / math.log(10), 1000.0  # of the scores, as in chess and the arenas
_Z, _Z_DECIDED = 1.959964, 2.326348  # of the 95% intervals, and of “decided”, which needs 98%
_PRIOR = 0.01  # weight of “all are alike”: keeps a name without votes in the middle
_DOUBT = 0.5  # of a vote, for each side of every pair voted on (Jeffreys' prior): a few unanimous votes decide nothing
_STEPS = 100
MOST_VOTES = 10**6  # beyond which nobody votes


@dataclass(frozen=True)
class Vote:
    """winner, loser: names, in any order for a tie. cluster: what was voted on."""

    winner: str
    loser: str
    tie: bool = False
    cluster: Hashable = None


@dataclass(frozen=True)
class Rating:
    """A score around 1000 with its 95% interval, and its votes by outcome."""

    name: str
    score: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int

    @property
    def win_rate(self) -> float | None:
        """0…1, with a tie as half a win; None without votes."""
        total = self.wins + self.ties + self.losses
        return (self.wins + self.ties / 2) / total if total else None


@dataclass(frozen=True)
class Ranking:
    """Ratings, the best first. decided: whether the first is better than the second, with 98% confidence.

    more_votes: how many more would decide that if they continue as so far: 0 if it is decided, None if no number would.
    """

    ratings: tuple[Rating, ...]
    decided: bool
    more_votes: int | None


def rank(votes: Sequence[Vote], names: Sequence[str] = ()) -> Ranking:
    """Rank all names that were voted on. names: further ones, which may have no votes yet."""
    import numpy as np

    players = list(dict.fromkeys([*names, *(name for vote in votes for name in (vote.winner, vote.loser))]))
    if len(players) < 2 or not votes:
        found = tuple(_rating(name, 0.0, math.inf, votes) for name in players)
        return Ranking(found, False, None)
    place = {name: number for number, name in enumerate(players)}
    first = np.array([place[vote.winner] for vote in votes])
    second = np.array([place[vote.loser] for vote in votes])
    tied = np.array([vote.tie for vote in votes])
    clusters = [number if vote.cluster is None else ("", vote.cluster) for number, vote in enumerate(votes)]
    strengths, covariance = _fit(*_with_doubt(first, second, tied, clusters), len(players))
    errors = np.sqrt(np.maximum(np.diag(covariance), 0))
    order = np.argsort(-strengths, kind="stable")
    ratings = tuple(_rating(players[n], float(strengths[n]), float(errors[n]), votes) for n in order)
    best, next_best = order[:2]
    gap = float(strengths[best] - strengths[next_best])
    spread = covariance[best, best] + covariance[next_best, next_best] - 2 * covariance[best, next_best]
    ratio = (_Z_DECIDED * math.sqrt(max(0.0, float(spread))) / gap) ** 2 if gap > 0 else math.inf
    decided = ratio < 1
    needed = len(votes) * (ratio - 1)
    more = 0 if decided else math.ceil(needed) if needed <= MOST_VOTES else None
    return Ranking(ratings, decided, more)


def _rating(name: str, strength: float, error: float, votes: Sequence[Vote]) -> Rating:
    mine = [vote for vote in votes if name in (vote.winner, vote.loser)]
    ties = sum(vote.tie for vote in mine)
    wins = sum(vote.winner == name and not vote.tie for vote in mine)
    reach = _Z * error
    low, center, high = (CENTER + SCALE * value for value in (strength - reach, strength, strength + reach))
    return Rating(name, center, low, high, wins, ties, len(mine) - wins - ties)


def _with_doubt(
    first: np.ndarray, second: np.ndarray, tied: np.ndarray, clusters: Sequence[Hashable]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Sequence[Hashable], np.ndarray]:
    """The votes, followed by those of `_DOUBT`, each in its own cluster, and the weights of all."""
    import numpy as np

    met = np.unique(np.sort(np.stack([first, second], 1), 1), axis=0)
    one, other = met.T
    weights = np.concatenate([np.ones(len(first)), np.full(2 * len(met), _DOUBT)])
    tied = np.concatenate([tied, np.zeros(2 * len(met), dtype=bool)])
    doubts = [("doubt", number) for number in range(2 * len(met))]
    return (
        np.concatenate([first, one, other]),
        np.concatenate([second, other, one]),
        tied,
        [*clusters, *doubts],
        weights,
    )


def _fit(
    first: np.ndarray,
    second: np.ndarray,
    tied: np.ndarray,
    clusters: Sequence[Hashable],
    weights: np.ndarray,
    players: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Strengths (natural logarithms, mean 0) by Newton's method, and their covariance.

    For players i and j, the weights of “i”, “j” and “tie” are exp(s_i / 2 - s_j / 2), its inverse, and exp(t), where t
    is the last parameter.
    """
    import numpy as np

    size = players + 1
    rows = np.arange(len(first))
    gradient_of = np.zeros((len(first), size))  # of (s_i - s_j) / 2
    gradient_of[rows, first], gradient_of[rows, second] = 0.5, -0.5
    has_ties = bool(tied.any())
    outcome, is_tie = np.where(tied, 0.0, 1.0), tied.astype(np.float64)
    parameters = np.zeros(size)
    prior = np.full(size, _PRIOR)
    if not has_ties:
        parameters[-1] = -np.inf
    for _ in range(_STEPS):
        scores, information = _derivatives(parameters, gradient_of, outcome, is_tie, weights, has_ties)
        finite = np.where(np.isfinite(parameters), parameters, 0.0)
        slope = weights @ scores - prior * finite
        step = np.linalg.solve(information + np.diag(prior), slope)
        step *= min(1.0, 2.0 / max(1e-12, float(np.abs(step).max())))
        parameters[: size if has_ties else players] += step[: size if has_ties else players]
        if np.abs(step).max() < 1e-9:
            break
    scores, information = _derivatives(parameters, gradient_of, outcome, is_tie, weights, has_ties)
    bread = np.linalg.inv(information + np.diag(prior))
    place = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    summed = np.zeros((len(place), size))
    np.add.at(summed, [place[name] for name in clusters], np.sqrt(weights)[:, None] * scores)
    few = len(place) / max(1, len(place) - 1)
    covariance = few * bread @ (summed.T @ summed) @ bread
    centered = np.eye(players) - 1 / players
    return centered @ parameters[:players], centered @ covariance[:players, :players] @ centered.T


def _derivatives(
    parameters: np.ndarray,
    gradient_of: np.ndarray,
    outcome: np.ndarray,
    is_tie: np.ndarray,
    weights: np.ndarray,
    has_ties: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """The score of every vote and the information of all. outcome: 1 where the first won, 0 for a tie. weights: per vote."""
    import numpy as np

    half = gradient_of[:, :-1] @ parameters[:-1]
    chances = np.stack([half, -half, np.full_like(half, parameters[-1])])
    chances = np.exp(chances - chances.max(0))
    win, loss, tie = chances / chances.sum(0)
    expected = win - loss
    scores = gradient_of * (outcome - expected)[:, None]
    variance, mixed = weights * (win + loss - expected**2), -weights * expected * tie
    information = gradient_of.T @ (gradient_of * variance[:, None])
    if has_ties:
        scores[:, -1] = is_tie - tie
        information[-1, :-1] = information[:-1, -1] = (gradient_of * mixed[:, None]).sum(0)[:-1]
        information[-1, -1] = (weights * tie * (1 - tie)).sum()
    return scores, information
