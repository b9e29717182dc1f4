"""The same tasks before and after: matched by what was asked of which image."""

import pytest

from rethink.collect.comparison import CompareRunsJob, comparison_sheet
from rethink.errors import RethinkError
from tests.support.trajectories import draw_images, rewrite_record, write_trajectory


@pytest.fixture
def add(tmp_path):
    """add(side, number, scores) writes a run; the task is that of its number."""

    def add(side, number, scores, folder=None, **options):
        images = draw_images(number, len(scores))
        options = {"images": images, "instruction": f"make {number} nicer", **options}
        return write_trajectory(tmp_path / side / str(folder or number), scores, **options)

    return add


@pytest.fixture
def compare(tmp_path):
    return lambda: CompareRunsJob((tmp_path / "before",), (tmp_path / "after",)).run()


def test_turns_and_success_stand_side_by_side(add, compare):
    add("before", 0, (3, 5, 9))
    add("before", 1, (3, 5))
    add("after", 0, (9,), stopped="accepted")
    add("after", 1, (2, 8.5))
    comparison = compare()
    figures = {"turns": (2.5, 1.5), "success": (0.5, 1.0), "right at once": (0.0, 0.5), "harm": (0.0, 0.0)}
    assert comparison.figures == figures
    lines = str(comparison).splitlines()
    assert lines[:5] == [
        "2 tasks, before → after",
        "turns: 2.50 → 1.50",
        "success: 50% → 100%",
        "right at once: 0% → 50%",
        "harm: 0% → 0%",
    ]
    assert lines[6] == "“make 1 nicer”: 2 turns, 5.0, not accepted → 2 turns, 8.5"


def test_harm_is_a_run_that_was_right_at_once_and_whose_result_was_not(add, compare):
    add("before", 0, (9, 9))
    add("before", 1, (7, 8), judged=(9, 3))  # what wins by its score is not what the judge accepted
    add("after", 0, (9,))
    add("after", 1, (9,))
    assert compare().figures["harm"] == (0.5, 0.0)


def test_only_the_same_task_is_compared(add, compare):
    add("before", 0, (3, 9))
    add("before", 1, (3, 9))
    add("after", 0, (9,))
    add("after", 2, (9,))  # another image
    add("after", 1, (9,), instruction="make it worse")
    rewrite_record(add("after", 5, (9,)), stopped="")
    comparison = compare()
    assert (len(comparison.rows), comparison.alone, comparison.unread) == (1, 3, 1)
    assert "3 runs have no partner." in str(comparison) and "1 runs cannot be read" in str(comparison)


def test_a_task_that_was_run_twice_has_two_partners(add, compare):
    for folder in ("a", "b"):
        add("before", 0, (3, 9), folder)
        add("after", 0, (9,), folder)
    assert len(compare().rows) == 2


def test_nothing_to_compare_is_said(add, compare):
    add("before", 0, (9,))
    add("after", 1, (9,))
    with pytest.raises(RethinkError, match="^after: none of its 1 runs"):
        compare()


def test_the_sheet_has_a_row_a_task_and_bears_a_lost_image(add, compare):
    add("before", 0, (3, 9))
    add("after", 0, (9,))
    one = comparison_sheet(compare())
    add("before", 1, (3, 9))
    add("after", 1, (9,))
    comparison = compare()
    comparison.rows[1].after.best.unlink()
    two = comparison_sheet(comparison)
    assert two.width == one.width and two.height > 1.8 * one.height
