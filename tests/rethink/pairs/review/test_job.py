"""The job of filtering: measured once, graded once, decided as often as a threshold is moved."""

import numpy as np
import pytest

from rethink.pairs.models import ModelSource
from rethink.pairs.review.filters import Thresholds
from rethink.pairs.review.job import FilterJob
from rethink.pairs.store import PairStore
from tests.support.pairs import draw_image
from tests.support.scored_pairs import add_pair, invert_region


@pytest.fixture
def pairs(tmp_path):
    """Three pairs: one good, one that changes nothing, one whose image moved."""
    with PairStore(tmp_path / "s").writing() as store:
        add_pair(store, "good", *invert_region())
        add_pair(store, "same", draw_image(seed=1), draw_image(seed=1))
        add_pair(store, "moved", np.roll(draw_image(seed=4), 20, 1), draw_image(seed=4))
    return PairStore(tmp_path / "s")


def names(store):
    return sorted(pair.id.lstrip("0") for pair in store)


def test_a_report_has_both_halves_and_counts_the_reasons(pairs):
    steps = []
    report = FilterJob(pairs).run(steps.append)
    assert names(report.accepted) == ["good"] and names(report.rejected) == ["moved", "same"]
    first, *reasons = str(report).splitlines()
    assert first == "1 of 3 pairs kept." and any(line.startswith("1 × too little changed") for line in reasons)
    assert (steps[-1].done, steps[-1].total) == (3, 3) and "pairs measured" in steps[-1].line


def test_a_threshold_that_is_moved_measures_nothing_again(pairs, monkeypatch):
    FilterJob(pairs).run()
    monkeypatch.setattr("rethink.pairs.review.filters.measure", None)
    assert len(names(FilterJob(pairs, Thresholds(changed=0, shift=1, duplicates=-1)).run().accepted)) == 3


def test_a_person_goes_before_every_threshold(pairs):
    FilterJob(pairs).run()
    same = next(pair for pair in pairs if pair.id.endswith("same"))
    good = next(pair for pair in pairs if pair.id.endswith("good"))
    with pairs.writing() as store:
        store.set_verdict(same.id, accepted=True)
        store.set_verdict(good.id, accepted=False)
    report = FilterJob(pairs).run()
    assert names(report.accepted) == ["same"] and ("rejected manually", 1) in report.reasons


def test_a_critic_is_asked_about_every_pair_once(pairs, scripted):
    critic = scripted('{"score": 9}', '{"score": 1, "why": "torn"}', '{"score": 9}')
    thinker = ModelSource("critic", lambda: critic)
    for _ in range(2):
        report = FilterJob(pairs, Thresholds(changed=0, shift=1, duplicates=-1), thinker=thinker).run()
    assert len(critic.asked) == 3 and len(names(report.accepted)) == 2
