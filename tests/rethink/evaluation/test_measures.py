"""The one list of measures."""

from rethink.evaluation import learned_measures
from rethink.evaluation.measures import MEASURES


def test_each_is_there_once_under_names_of_its_own():
    for name in ("id", "name", "title"):
        assert len({getattr(each, name) for each in MEASURES}) == len(MEASURES), name
    assert all(each.help.endswith(".") and each.scale for each in MEASURES)
    assert {row.measure for row in learned_measures.MEASURES} <= set(MEASURES)
