"""What a thinker is worth on held-out tasks, and a reward that says something else."""

import json
import threading
import time
from dataclasses import replace

import pytest

from rethink.think_loop import LoopConfig
from rethink.thinkers.critique import Thinker
from rethink.training.step_progress import StepProgress
from rethink.training.thinker_watch import (
    HeldOut,
    Referee,
    TaskResult,
    is_better,
    measure_tasks,
    read_held_out,
    run_task,
    sum_up,
    warn_of_reward,
)
from tests.support.rl_steps import QUESTION, FailingPainter, PromptJudge, write_step
from tests.support.thinking import Painter, Says, said
from tests.support.waiting import SOON


@pytest.fixture
def task(tmp_path):
    return write_step(tmp_path, instruction="paint")


def thinker(*answers):
    return Thinker(Says(*answers), QUESTION)


def referee(editor=None, **options):
    judge = Thinker(PromptJudge(), QUESTION)
    return Referee(editor or Painter(), judge, Painter.defaults, LoopConfig(turns=3), **options)


def test_the_thinker_alone_decides_and_the_judge_says_what_came_of_it(task):
    better = said(3, 3, "worth 9"), said(9, 9, "worth 9")
    assert measure_tasks([task], thinker(*better), referee()) == [TaskResult(True, 2)]
    content = said(9, 9, "paint")  # likes what the judge does not
    assert measure_tasks([task], thinker(content), referee()) == [TaskResult(False, 1)]
    never = said(3, 3, "worth 9")  # the last edit is good, and the thinker does not see it: of equals the first counts
    assert measure_tasks([task], thinker(never), referee()) == [TaskResult(False, 3)]


def test_what_cannot_be_measured_is_no_failure_of_the_thinkers(task, tmp_path):
    other = write_step(tmp_path, red=0.9, instruction="broken paint")
    mute = write_step(tmp_path, red=0.8, instruction="mute paint")
    found = measure_tasks([other, mute, task], thinker(said(9, 9, "")), referee(FailingPainter()))
    assert found[0] == "editor: it is broken." and "judge: did not answer" in found[1]
    assert found[2] == TaskResult(False, 1)
    measured = sum_up(7, found, [0.25, 0.75])
    results = (None, None, TaskResult(False, 1))
    assert measured == HeldOut(7, 0.0, 1.0, tasks=1, failed=2, reward=0.5, results=results)
    assert "2 could not be measured" in str(measured)
    assert read_held_out(json.loads(json.dumps(measured.record))) == measured
    assert read_held_out({"step": 7, "success": 0.0, "turns": 1.0, "tasks": 1}).results == ()
    assert sum_up(7, ["editor: gone."], []) is None


def test_the_wish_to_end_is_no_failed_measurement(task):
    def end(progress):
        raise InterruptedError

    for seconds in (0, 60):
        with pytest.raises(InterruptedError):
            measure_tasks([task], thinker(said(9, 9, "")), referee(progress=StepProgress(end), seconds=seconds))


class Endless(Painter):
    """Paints for ever, unless it is told to end."""

    def __init__(self):
        super().__init__()
        self.ended = threading.Event()

    def edit(self, *arguments, on_step, **options):
        try:
            while True:
                time.sleep(0.01)
                on_step(1, 2, lambda: None)
        finally:
            self.ended.set()


def test_a_run_that_takes_too_long_is_left_and_ends_by_itself(task):
    editor = Endless()
    (found,) = measure_tasks([task], thinker(said(9, 9, "")), referee(editor, seconds=0.05))
    assert found == "TimeoutError: took longer than 0.05 seconds"
    assert editor.ended.wait(SOON)


def test_a_run_that_sees_for_itself_that_it_takes_too_long_says_the_same(task):
    with pytest.raises(TimeoutError, match=r"took longer than 0\.05 seconds"):
        run_task(task, thinker(said(9, 9, "")), referee(Endless(), seconds=0.05))


def test_more_success_is_better_then_fewer_turns_then_the_earlier():
    start = HeldOut(0, 0.5, 3.0, 8)
    assert is_better(start, None)
    assert is_better(HeldOut(5, 0.6, 4.0, 8), start) and is_better(HeldOut(5, 0.5, 2.0, 8), start)
    assert not is_better(HeldOut(5, 0.5, 3.0, 8), start) and not is_better(HeldOut(5, 0.4, 1.0, 8), start)


def measured(step, results, **more):
    """Of every task a letter: d is done, n is not, x could not be measured."""
    found = ["judge: did not answer." if letter == "x" else TaskResult(letter == "d", 2) for letter in results]
    return replace(sum_up(step, found, []), **more)


def test_what_could_not_be_measured_makes_no_thinker_better_or_worse():
    start, failing = measured(0, "dddn"), measured(5, "ddxx")
    assert failing.success > start.success and not is_better(failing, start)
    assert is_better(measured(9, "ddnn"), measured(5, "dnxx"))  # half of the tasks each, and of the same two one more
    assert is_better(measured(9, "xxdd"), measured(5, "dnxx"))  # they tell of none in common: as they are
    assert is_better(measured(9, "dddd"), measured(0, "dxxx"))  # one task is hardly a measurement


def test_what_could_not_be_measured_is_no_success_that_fell():
    start = measured(0, "ddddddnnnn", reward=0.5)
    unlucky = measured(9, "xxxxxdnnnn", reward=0.7)
    assert warn_of_reward([start, unlucky]) == ""
    assert "(60% at step 0 → 20%)" in warn_of_reward([start, measured(9, "ddnnnnnnnn", reward=0.7)])


def test_a_reward_that_goes_up_while_success_goes_down_is_said():
    best = HeldOut(10, 0.8, 2.0, 10, reward=0.5)
    start = HeldOut(0, 0.5, 2.0, 10)
    fooled = HeldOut(20, 0.4, 2.0, 10, reward=0.7)
    assert "0.500 → 0.700) while held-out success is going down (80% at step 10 → 40%)" in warn_of_reward(
        [start, best, fooled]
    )
    assert "The thinker of step 10 is kept" in warn_of_reward([start, best, fooled])
    lower = HeldOut(20, 0.4, 2.0, 10, reward=0.4)
    one_task = HeldOut(20, 0.7, 2.0, 10, reward=0.7)
    for measured in ([], [start], [start, best], [start, best, lower], [start, best, one_task], [start, fooled]):
        assert warn_of_reward(measured) == ""
