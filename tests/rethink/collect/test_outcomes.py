"""How a run went, by its own scores and by a judge."""

import pytest

from rethink.collect.outcomes import OutcomeJudge, own_outcome
from rethink.errors import RethinkError
from rethink.steps import Preservation
from rethink.thinkers.asking import MAX_CONSECUTIVE_FAILURES
from tests.support.thinking import gone, said, thinker
from tests.support.trajectories import write_trajectory

ACCEPTS_7 = (("rules", {"accept": [7, 7]}),)


@pytest.mark.parametrize(
    ("scores", "options", "right", "at_once"),
    [
        ((5, 9), {}, True, False),
        ((9,), {"stopped": "accepted"}, True, True),
        ((5, 7), {}, False, False),
        ((5, 7), {"options": ACCEPTS_7}, True, False),
        ((5, 7), {"chosen": 0}, True, False),  # a person took it
        ((None,), {"stopped": "failed"}, False, False),
    ],
)
def test_by_its_own_scores_a_run_tells_no_harm(tmp_path, scores, options, right, at_once):
    outcome = own_outcome(write_trajectory(tmp_path / "run", scores, **options))
    assert (outcome.right, outcome.at_once, outcome.turns) == (right, at_once, len(scores))
    assert outcome.harmed is None


@pytest.mark.parametrize(
    ("first", "best", "right", "at_once", "harmed"),
    [(9, 9, True, True, False), (9, 3, False, True, True), (3, 9, True, False, False), (3, 3, False, False, False)],
)
def test_a_judge_sees_what_turn_1_gave_and_what_won(tmp_path, first, best, right, at_once, harmed):
    judge = thinker(said(first, 9), said(best, 9))
    outcome = OutcomeJudge(judge).outcome(write_trajectory(tmp_path / "run", (5, 2, 9, 6)))
    assert (outcome.right, outcome.at_once, outcome.harmed) == (right, at_once, harmed)
    assert len(judge.chat.asked) == 2 and outcome.score == (best * 9) ** 0.5
    assert outcome.best.name == "turn-0003-00.png" and outcome.turns == 4


def test_a_run_of_one_turn_is_one_question(tmp_path):
    judge = thinker(said(7, 7), said(0, 0))
    run = write_trajectory(tmp_path / "run", (9,), "accepted", options=ACCEPTS_7)
    outcome = OutcomeJudge(judge).outcome(run)
    assert outcome.right and outcome.at_once and not outcome.harmed and len(judge.chat.asked) == 1


def test_praise_for_an_edit_that_changed_nothing_is_no_success(tmp_path):
    run = write_trajectory(tmp_path / "run", (5, 9), preserved=Preservation(0.0, 99.0, True))
    assert OutcomeJudge(thinker(said(9, 9))).outcome(run).right is False


def test_without_scores_or_images_nothing_is_told(tmp_path):
    run = write_trajectory(tmp_path / "run", (5, 9))
    half = OutcomeJudge(thinker(said(9, 9), "no scores")).outcome(run)
    file = run.folder / "turn-0001-00.png"
    file.write_bytes(file.read_bytes()[:60])
    damaged = OutcomeJudge(thinker(said(9, 9))).outcome(run)
    for outcome in (half, damaged):
        assert (outcome.right, outcome.at_once, outcome.harmed) == (None, None, None)
        assert str(outcome) == "2 turns, no score"


def test_a_judge_that_never_answers_ends_it(tmp_path):
    judge, run = OutcomeJudge(thinker(gone())), write_trajectory(tmp_path / "run", (5, 9))
    for _ in range(MAX_CONSECUTIVE_FAILURES - 1):
        assert judge.outcome(run).right is None
    with pytest.raises(RethinkError, match="^judge: .*got no answer .* in a row"):
        judge.outcome(run)
