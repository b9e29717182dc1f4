"""Intervals hold the truth as often as they say, and a verdict is seldom wrong."""

import numpy as np
import pytest

from rethink.evaluation import statistics
from rethink.evaluation.statistics import (
    Interval,
    format_difference,
    format_fixed,
    mean_interval,
    paired_difference,
    student_t,
)


def test_intervals_of_clustered_scores_hold_the_truth(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 300)
    random, held, naive, verdicts = np.random.default_rng(0), 0, 0, []
    clusters = np.repeat(np.arange(30), 4)
    for trial in range(150):
        alike = random.normal(size=30)[clusters]
        scores = (alike + 0.5 * random.normal(size=120)).tolist()
        found = mean_interval(scores, clusters.tolist(), seed=trial)
        held += found.low <= 0 <= found.high
        verdicts.append(found.verdict)
        alone = mean_interval(scores, seed=trial)
        naive += alone.low <= 0 <= alone.high
    assert 0.92 <= held / 150 <= 0.98
    assert naive / 150 < 0.8  # as if an instruction were a photograph
    assert verdicts.count("better") <= 0.03 * 150 and verdicts.count("worse") <= 0.03 * 150


def test_a_difference_is_of_the_items_that_both_have():
    first = {f"{number}": 3.0 + number % 2 for number in range(20)} | {"alone": 100.0}
    second = {f"{number}": 2.5 for number in range(20)}
    found = paired_difference(first, second)
    assert found.items == 20 and found.mean == pytest.approx(1.0)
    assert found.low <= 1 <= found.high and found.verdict == "better"
    assert paired_difference(second, first).verdict == "worse"
    assert paired_difference(first, {"elsewhere": 1.0}) is None
    sources = {name: int(name) // 5 if name.isdecimal() else 9 for name in first}
    few = paired_difference(first, second, sources)
    assert few.clusters == 4 and few.low is None and few.verdict == "cannot tell" and "too few" in few.words
    assert "(" in found.words and found.words.startswith("+1")


def test_nearly_equal_scores_are_no_certainty():
    found = mean_interval([1.0] * 9 + [0.0])
    assert found.low < 0.75 and found.high > 1 and found.low == pytest.approx(0.9 - 2.262 * 0.1, abs=0.001)
    assert mean_interval([0.0] * 12 + [1.0] * 2).verdict == "cannot tell"
    assert mean_interval([1.0] * 8).verdict == "better"
    assert mean_interval([1.0] * 7).low is None
    for freedom, half in ((7, 2.3646), (9, 2.2622), (30, 2.0423), (10**6, 1.96)):
        assert student_t(0.95, freedom) == pytest.approx(half, abs=0.002)


def test_weights_make_a_mean_of_groups():
    values, weights = [1.0, 1.0, 1.0, 4.0, 4.0, 1.0], [1 / 4, 1 / 4, 1 / 4, 1 / 2, 1 / 2, 1 / 4]
    assert mean_interval(values, weights=weights).mean == pytest.approx(2.5)
    same = mean_interval([2.0] * 8)
    assert (same.low, same.high) == (2.0, 2.0)
    with pytest.raises(ValueError):
        mean_interval([])


def test_many_scores_in_flat_memory(monkeypatch):
    monkeypatch.setattr(statistics, "_CHUNK", 1000)
    monkeypatch.setattr(statistics, "RESAMPLES", 20)
    random = np.random.default_rng(1).normal(size=500).tolist()
    found = mean_interval(random)
    monkeypatch.setattr(statistics, "_CHUNK", 2**22)
    assert mean_interval(random).low == pytest.approx(found.low, abs=0.03)


def test_numbers_in_words():
    assert [format_difference(value) for value in (0.5, -0.25, 0.0, -0.0, 2e-17)] == ["+0.5", "-0.25", "0", "0", "0"]
    assert (format_fixed(-0.001, 2), format_fixed(-0.01, 2)) == ("0.00", "-0.01")
    sure, unsure = Interval(7.06, 6.9, 7.2, 9, 9), Interval(-0.001, None, None, 1, 1)
    assert (sure.text(1, " dB"), unsure.text(2)) == ("7.1 dB (6.9 … 7.2)", "0.00")
    assert (sure.words, unsure.words) == ("+7.06 (6.9 … 7.2)", "-0.001 (too few sources for an interval)")
