"""What a user may set of a job: said once, and checked where the job is made."""

from dataclasses import dataclass, field

import pytest

from rethink.errors import RethinkError
from rethink.options import check_limits, option, option_of, options_of


@dataclass(frozen=True)
class Job:
    count: int = option(1, "How many.", low=1, high=9)
    share: float = option(0.5, "How much.", low=0.0, advanced=True)
    kind: str = option("a", "Which.", choices=("a", "b"))
    area: tuple[float, float] = option((0.1, 0.2), "From, to.", low=0.0, high=1.0)
    on: bool = option(False, "Whether.")
    inner: list = field(default_factory=list)

    def __post_init__(self):
        check_limits(self)


def test_the_options_of_a_job_are_its_described_fields_in_their_order():
    assert [found.name for found in options_of(Job)] == ["count", "share", "kind", "area", "on"]
    share = option_of(Job, "share")
    assert (share.default, share.help, share.low, share.high, share.advanced) == (0.5, "How much.", 0.0, None, True)
    assert Job() == Job(count=1, share=0.5, kind="a", area=(0.1, 0.2), on=False)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 0}, "count: expected 1 to 9, got 0"),
        ({"count": 10}, "count: expected 1 to 9, got 10"),
        ({"count": 12345678}, "count: expected 1 to 9, got 12345678"),
        ({"share": -1.0}, "share: expected 0 or more, got -1"),
        ({"share": float("nan")}, "share: expected 0 or more, got nan"),
        ({"kind": "c"}, "kind: “c” is unknown; choose one of a, b"),
        ({"area": (0.2, 0.1)}, "area: expected 0 to 1, the lower one first, got 0.2 and 0.1"),
    ],
)
def test_what_is_beyond_its_limits_is_one_sentence(values, sentence):
    with pytest.raises(RethinkError, match=sentence):
        Job(**values)
