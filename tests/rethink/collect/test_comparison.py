"""The same tasks before and after: matched by what was asked of which image."""

import pytest

from rethink.collect.comparison import NO_JUDGE, CompareRunsJob, comparison_sheet
from rethink.errors import RethinkError
from rethink.thinkers.critique import Thinker
from tests.support.thinking import Says, said, thinker
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
    return lambda *judge: CompareRunsJob((tmp_path / "before",), (tmp_path / "after",), *judge).run()


def test_turns_and_success_stand_side_by_side(add, compare):
    add("before", 0, (3, 5, 9))
    add("before", 1, (3, 5))
    add("after", 0, (9,), stopped="accepted")
    add("after", 1, (2, 8.5))
    comparison = compare()
    figures = {"turns": (2.5, 1.5), "success": (0.5, 1.0), "right at once": (0.0, 0.5), "harm": None}
    assert comparison.figures == figures
    lines = str(comparison).splitlines()
    assert lines[:6] == [
        "2 tasks, before → after",
        "turns: 2.50 → 1.50",
        "success: 50% → 100%",
        "right at once: 0% → 50%",
        "harm: —",
        NO_JUDGE,
    ]
    assert lines[7] == "“make 1 nicer”: 2 turns, 5.0, not accepted → 2 turns, 8.5"


ANSWERS = (  # of a judge, about the first and the winning edit of the runs of `add_judged`
    *(said(9, 9), said(3, 9)),
    said(9, 8),
    *(said(3, 3), said(8, 8)),
    *(said(9, 9), said(9, 8)),
)


def add_judged(add):
    """Two tasks as the loop records them: what it accepts ends the run."""
    for number in range(2):
        add("before", number, (5, 2, 9), stopped="accepted")
    for number, scores in enumerate(((9,), (5, 9))):
        source, *edits = draw_images(number, 5)  # other edits than before
        add("after", number, scores, stopped="accepted", images=[source, *edits[3:]][: 1 + len(scores)])


def test_harm_is_that_turn_1_was_right_and_what_won_is_not_as_a_judge_has_it(add, compare):
    add_judged(add)
    judge = thinker(*ANSWERS)
    comparison = compare(judge)
    figures = {"turns": (3.0, 1.5), "success": (0.5, 1.0), "right at once": (0.5, 1.0), "harm": (0.5, 0.0)}
    assert comparison.figures == figures and len(judge.chat.asked) == len(ANSWERS)
    lines = str(comparison).splitlines()
    assert lines[0] == "2 tasks, before → after; judged by says" and lines[4] == "harm: 50% → 0%"
    assert lines[5] == "“make 0 nicer”: 3 turns, 5.2, not accepted, though turn 1 was → 1 turn, 8.5"


def test_a_judge_is_asked_nothing_twice_and_goes_on_where_it_was_stopped(add, compare, tmp_path):
    add_judged(add)
    with pytest.raises(KeyboardInterrupt):
        compare(thinker(*ANSWERS[:3], KeyboardInterrupt()), tmp_path / "replies")
    judge = thinker(*ANSWERS[3:])
    for _ in range(2):
        assert compare(judge, tmp_path / "replies").figures["harm"] == (0.5, 0.0)
        assert len(judge.chat.asked) == len(ANSWERS) - 3


def test_a_task_that_the_judge_gave_no_scores_counts_for_its_turns_alone(add, compare):
    add_judged(add)
    comparison = compare(thinker("no scores", "none", "none", "none", *ANSWERS[2:]))
    assert comparison.figures["turns"] == (3.0, 1.5) and comparison.figures["success"] == (1.0, 1.0)
    assert "1 run got no scores from the judge." in str(comparison)
    assert "harm: —" in str(compare(Thinker(Says("no scores"))))


def test_a_judge_that_is_the_thinker_itself_is_said_to_be_not_independent(add, compare):
    for side in ("before", "after"):
        add(side, 0, (5, 9), options=(("thinker", "says"),))
    assert "Not independent: in 2 runs" in str(compare(thinker(said(9, 9))))


def test_runs_of_the_other_side_in_a_folder_within_are_not_ones_own(tmp_path):
    images = draw_images(0, 3)
    write_trajectory(tmp_path / "runs" / "z", (3, 4, 8), images=images)  # its name comes after “after”
    write_trajectory(tmp_path / "runs" / "after" / "a", (9,), "accepted", images=images[:2])
    folders = (tmp_path / "runs",), (tmp_path / "runs" / "after",)
    for sides, turns in ((folders, (3, 1)), (folders[::-1], (1, 3))):
        comparison = CompareRunsJob(*sides).run()
        assert comparison.figures["turns"] == turns and not comparison.alone


def test_only_the_same_task_is_compared(add, compare):
    add("before", 0, (3, 9))
    add("before", 1, (3, 9))
    add("after", 0, (9,))
    add("after", 2, (9,))  # another image
    add("after", 1, (9,), instruction="make it worse")
    cut_off = rewrite_record(add("after", 5, (9,)), stopped="")
    comparison = compare()
    assert (len(comparison.rows), comparison.alone, comparison.unread) == (1, 3, {"unfinished": 1})
    text = str(comparison)
    assert text.startswith("1 task, before") and "3 runs have no partner." in text
    assert f"1 run left out: 1 × not finished: interrupted, or still running ({cut_off.folder})." in text


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


def test_a_folder_without_runs_is_named(add, compare, tmp_path):
    add("before", 0, (9,))
    (tmp_path / "after").mkdir()
    with pytest.raises(RethinkError, match="^after: there is no recorded run in .*after or its subfolders"):
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
