"""How certain a mean of scores is: intervals that account for similar edits of one source image, and a verdict.

The intervals are studentized bootstrap intervals (Efron & Tibshirani 1993, section 12.5) of a ratio of sums over
clusters: sources are resampled with all of their items, so that ten instructions for one photograph do not count as ten
photographs.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Verdict = Literal["better", "worse", "cannot tell"]
LEVEL = 0.95
# An interval of this level must exclude zero for a verdict: where two are alike, each verdict is given in 1% of cases.
VERDICT_LEVEL = 0.98
RESAMPLES = 2000
NOT_MEASURED = "not measured"  # in place of a missing number
FEWEST_CLUSTERS = 8  # with fewer sources, none of this is meaningful
ROUNDING = 1e-9  # a mean of scores is not more exact
MOSTLY = 0.99  # of the resamples must have a finite t
_CHUNK = 2**22  # counts of resampled clusters held in memory at once


@dataclass(frozen=True)
class Interval:
    """A mean, or a difference of means, with its 95% interval; low and high are None where there are too few sources.

    items, clusters: how many it is computed from. verdict: for a difference, whether the first of the two is better.
    """

    mean: float
    low: float | None
    high: float | None
    items: int
    clusters: int
    verdict: Verdict = "cannot tell"

    @property
    def words(self) -> str:
        """A difference as text: "+0.31 (0.12 … 0.50)"."""
        if self.low is None or self.high is None:
            return f"{format_difference(self.mean)} (too few sources for an interval)"
        return f"{format_difference(self.mean)} ({self.low:.3g} … {self.high:.3g})"

    def text(self, digits: int, unit: str = "") -> str:
        """A mean as text: "7.1 dB (6.8 … 7.4)", without the parentheses where there are too few sources."""
        reach = ""
        if self.low is not None and self.high is not None:
            reach = f" ({format_fixed(self.low, digits)} … {format_fixed(self.high, digits)})"
        return f"{format_fixed(self.mean, digits)}{unit}{reach}"


def format_fixed(value: float, digits: int) -> str:
    """A number with this many decimals; what rounds to zero has no minus sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def format_difference(value: float) -> str:
    """A difference with its sign and three digits; "0" for none, or for one that is only a rounding error."""
    return f"{value:+.3g}" if abs(value) > ROUNDING else "0"


def mean_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    weights: Sequence[float] | None = None,
    seed: int = 0,
) -> Interval:
    """The mean of scores with its interval.

    clusters: the source image of every value, whose values may be alike; by default each value is its own cluster.
    weights: of the values, for means of group means: one over the size of its group. Raises ValueError without values.
    """
    import numpy as np

    if not len(values):
        raise ValueError("the mean of nothing")
    data = np.asarray(values, dtype=np.float64)
    weight = np.ones_like(data) if weights is None else np.asarray(weights, dtype=np.float64)
    names = range(len(data)) if clusters is None else clusters
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    index = np.fromiter((place[name] for name in names), dtype=np.intp, count=len(data))
    sums, sizes = np.bincount(index, data * weight), np.bincount(index, weight)
    center = float(sums.sum() / sizes.sum())
    if len(place) < FEWEST_CLUSTERS:
        return Interval(center, None, None, len(data), len(place))
    error = float(_errors(sums[None], sizes[None], np.ones((1, len(place))))[1][0])
    low, strict_low, strict_high, high = (center - error * t for t in _quantiles(sums, sizes, seed))
    verdict: Verdict = "better" if strict_low > 0 else "worse" if strict_high < 0 else "cannot tell"
    return Interval(center, low, high, len(data), len(place), verdict)


def paired_difference(
    first: Mapping[str, float],
    second: Mapping[str, float],
    clusters: Mapping[str, Hashable] | None = None,
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Interval | None:
    """How much higher the first scores are, over the items that both have; None where there are none.

    first, second: scores by item. clusters: the source image of every item. weights: of the items, 1 each unless given.
    """
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    differences = [first[name] - second[name] for name in shared]
    names = [name if clusters is None else clusters.get(name, name) for name in shared]
    return mean_interval(differences, names, None if weights is None else [weights[name] for name in shared], seed)


def _quantiles(sums: np.ndarray, sizes: np.ndarray, seed: int) -> tuple[float, float, float, float]:
    """The quantiles of the resampled t for the low end, the strict low end, the strict high end and the high end."""
    import numpy as np

    random, number = np.random.default_rng(seed), len(sums)
    center = sums.sum() / sizes.sum()
    found, rows = [], max(1, _CHUNK // number)
    for start in range(0, RESAMPLES, rows):
        draws = random.multinomial(number, np.full(number, 1 / number), size=min(rows, RESAMPLES - start))
        means, errors = _errors(sums[None], sizes[None], draws)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((means - center) / errors)
    t = np.concatenate(found)
    if np.isfinite(t).mean() > MOSTLY:
        sides = [(1 + LEVEL) / 2, (1 + VERDICT_LEVEL) / 2, (1 - VERDICT_LEVEL) / 2, (1 - LEVEL) / 2]
        low, strict_low, strict_high, high = np.quantile(t[np.isfinite(t)], sides).tolist()
    else:  # nearly all clusters are equal: so are whole resamples, which then have no error
        low, strict_low = (student_t(level, number - 1) for level in (LEVEL, VERDICT_LEVEL))
        strict_high, high = -strict_low, -low
    return low, strict_low, strict_high, high


def student_t(level: float, freedom: int) -> float:
    """Half the width of Student's t interval of this level (Abramowitz & Stegun 26.7.5); freedom: at least 7."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))


def _errors(sums: np.ndarray, sizes: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ratio of sums and its standard error, for every row of how often each cluster was drawn."""
    import numpy as np

    number = draws.shape[1]
    totals = draws @ sizes[0]
    means = draws @ sums[0] / totals
    squares = draws @ (sums[0] ** 2) - 2 * means * (draws @ (sums[0] * sizes[0])) + means**2 * (draws @ (sizes[0] ** 2))
    return means, np.sqrt(np.maximum(squares, 0) * number / (number - 1)) / totals
