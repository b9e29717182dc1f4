"""The options of a run, and how they stand in records."""

import json

import pytest

from rethink.errors import RethinkError
from rethink.loop_config import ADDED, LoopConfig


def test_a_record_has_the_options_that_older_ones_have_and_others_where_they_are_used():
    plain = LoopConfig(turns=3).as_dict()
    assert plain["turns"] == 3 and plain["accept"] == [8.0, 8.0] and not plain.keys() & set(ADDED)
    chosen = LoopConfig(draws=3, side_by_side=True)
    assert chosen.as_dict().keys() - plain.keys() == {"draws", "side_by_side"}
    assert LoopConfig(**json.loads(json.dumps(chosen.as_dict()))) == chosen


@pytest.mark.parametrize("option", [{"draws": 0}, {"draws": 65}, {"margin": -1}, {"margin": float("nan")}])
def test_limits_are_said_by_name(option):
    with pytest.raises(RethinkError, match=f"^{next(iter(option))}: expected"):
        LoopConfig(**option)


def test_which_options_need_boxes():
    assert LoopConfig().needs_boxes == () and LoopConfig(focus=True).needs_boxes == ("focus",)
