"""Options of a job: described beside their fields, and checked."""

from dataclasses import dataclass

import pytest

from rethink.errors import RethinkError
from rethink.options import Option, check_limits, option, option_of, options_of


@dataclass(frozen=True)
class Job:
    store: str = "no option"
    pairs: int = option(1, "How many.", low=1, high=9)
    area: tuple[float, float] = option((0.1, 0.2), "Share.", low=0, high=1, step=0.1, advanced=True)
    count: int = option(0, "At least none.", low=0)
    engine: str = option("local", "Where.", choices=("local", "ray"))

    def __post_init__(self):
        check_limits(self)


def test_an_option_says_all_that_a_front_end_shows():
    assert [each.name for each in options_of(Job)] == ["pairs", "area", "count", "engine"]
    assert option_of(Job, "area") == Option("area", (0.1, 0.2), "Share.", 0, 1, 0.1, advanced=True)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"pairs": 0}, "pairs: expected 1 to 9, got 0."),
        ({"pairs": 10}, "pairs: expected 1 to 9, got 10."),
        ({"pairs": float("nan")}, "pairs: expected 1 to 9, got nan."),
        ({"area": (0.5, 1.5)}, "area: expected 0 to 1, the lower one first, got 0.5 and 1.5."),
        ({"area": (0.5, 0.2)}, "area: expected 0 to 1, the lower one first, got 0.5 and 0.2."),
        ({"count": -1}, "count: expected 0 or more, got -1."),
        ({"engine": "Ray"}, "engine: “Ray” is unknown; choose one of local, ray."),
    ],
)
def test_what_is_beyond_the_limits_is_refused_by_its_name(values, said):
    with pytest.raises(RethinkError) as refused:
        Job(**values)
    assert str(refused.value) == said


def test_both_limits_are_allowed():
    assert Job(pairs=9, area=(0, 1), count=10**9, engine="ray").pairs == 9
