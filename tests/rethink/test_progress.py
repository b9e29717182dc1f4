"""How far a job is, in words."""

import pytest

from rethink.progress import eta, format_bytes, format_count, format_duration, progress_with_eta


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (59.9, "0:00:59"), (3723, "1:02:03")])
def test_durations_are_hours_minutes_and_seconds(seconds, text):
    assert format_duration(seconds) == text


def test_the_time_left_is_that_of_the_pace_so_far():
    assert eta(10, 20, 60) == "0:02:00" and eta(0, 20, 60) == "?" and eta(10, -1, 60) == "0:00:00"


def test_a_count_is_shown_with_its_rate():
    seen = []
    progress_with_eta("pairs", seen.append)(3, 12)
    (progress,) = seen
    assert (progress.done, progress.total) == (3, 12) and progress.preview() is None
    assert progress.line.startswith("3 of 12 pairs · ") and progress.line.endswith(" left")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((1, "vote"), "1 vote"), ((0, "vote"), "0 votes"), ((1234, "reply", "replies"), "1,234 replies")],
)
def test_a_noun_goes_with_its_count(arguments, text):
    assert format_count(*arguments) == text


def test_bytes_are_in_the_unit_that_shows_them():
    assert [format_bytes(count) for count in (3 * 2**29, 2**25, 10)] == ["1.5 GiB", "32 MiB", "1 MiB"]
