"""A run in its folder: begun, cut off, gone on with, by one at a time."""

import pytest

from rethink.errors import RethinkError
from rethink.steps import RunStopped, Stop
from rethink.think_job import ThinkJob, resume_interrupted, resume_run, start_run
from rethink.think_loop import LoopConfig, RunCallbacks, ThinkTask
from rethink.thinkers.critique import Thinker
from rethink.trajectory import RunningError, load_trajectory
from tests.support.thinking import SOURCE, Looks, Painter, said, thinker


def make_job(instruction="make it red", **config):
    return ThinkJob(ThinkTask(SOURCE, instruction, Thinker(Looks()), config=LoopConfig(**config)), Painter())


def ignore(trajectory):
    pass


def run(job, folder, **options):
    with start_run(folder, job.task, job.options) as run:
        return job.run(run, ignore, **options)


def facts(trajectory):
    names = ("turn", "candidate", "prompt", "seed", "score")
    return [tuple(getattr(step, name) for name in names) for step in trajectory.steps]


def test_a_run_is_written_step_by_step_and_told_of(tmp_path):
    job, told = make_job(turns=3), []
    with start_run(tmp_path / "run", job.task, job.options) as started:
        trajectory = job.run(started, lambda now: told.append((len(now.steps), now.stopped)))
    assert told == [(1, ""), (2, ""), (3, ""), (3, "turns")]
    kept = load_trajectory(tmp_path / "run")
    assert facts(kept) == facts(trajectory) and kept.options == job.options and kept.stopped == "turns"
    assert all((tmp_path / "run" / step.file).is_file() for step in kept.steps)


def test_what_ends_it_in_the_middle_of_a_turn_is_how_it_ended(tmp_path):
    def on_step(step, total, preview):
        if len(painter.calls) == 2:
            raise RunStopped(Stop("human"))

    job = make_job(turns=5)
    painter = job.editor
    trajectory = run(job, tmp_path / "run", callbacks=RunCallbacks(on_step=on_step))
    assert (
        (trajectory.stopped, len(trajectory.steps))
        == ("human", 1)
        == (
            load_trajectory(tmp_path / "run").stopped,
            1,
        )
    )


def test_it_goes_on_after_its_last_whole_turn_and_ends_the_same(tmp_path):
    job = make_job(turns=4, candidates=2)
    whole = run(job, tmp_path / "whole")

    class Cut(Exception):
        pass

    def cut(now):
        if len(now.steps) == 3:  # in the middle of a turn
            raise Cut

    with pytest.raises(Cut), start_run(tmp_path / "cut", job.task, job.options) as started:
        job.run(started, cut)
    with resume_run(tmp_path / "cut", job.task, job.options) as resumed:
        assert len(resumed.resume_steps) == 2
        assert facts(job.run(resumed, ignore)) == facts(whole)


def test_what_a_run_accepts_may_change_when_it_goes_on(tmp_path):
    def job(accept):
        config = LoopConfig(turns=2, preserve=0, accept=accept)
        return ThinkJob(
            ThinkTask(SOURCE, "make it red", thinker(said(10, 7, "b"), said(8, 8, "c")), config=config), Painter()
        )

    ended = run(job((9, 8)), tmp_path / "run")
    assert (ended.stopped, ended.best) == ("turns", 0)
    lower = job((8, 8))
    with resume_run(tmp_path / "run", lower.task, lower.options) as resumed:
        ended = lower.run(resumed, ignore)
    assert (ended.stopped, ended.best) == ("accepted", 1) and load_trajectory(tmp_path / "run").best == 1


def test_the_first_that_is_this_very_run_and_was_cut_off_is_found(tmp_path):
    job = make_job(turns=2)
    folders = [tmp_path / name for name in ("missing", "another", "ended", "cut", "older")]
    run(make_job("else"), folders[1])
    run(job, folders[2])
    for folder in folders[3:]:
        start_run(folder, job.task, job.options).close()
    with resume_interrupted(folders, job.task, job.options) as found:
        assert found.trajectory.folder == folders[3]
        with pytest.raises(RunningError):
            resume_interrupted(folders, job.task, job.options)
    assert resume_interrupted(folders[:3], job.task, job.options) is None


def test_another_run_is_not_gone_on_with(tmp_path):
    job = make_job()
    run(job, tmp_path / "run")
    for other in (make_job("else"), make_job(seed=1)):
        with pytest.raises(RethinkError, match="run with another image|different choice of rules"):
            resume_run(tmp_path / "run", other.task, other.options)
    with pytest.raises(RethinkError, match="cannot be read"):
        resume_run(tmp_path / "missing", job.task, job.options)
    assert not (tmp_path / "missing").exists()
    with pytest.raises(RethinkError, match="is not empty"):
        start_run(tmp_path / "run", job.task, job.options)
    with resume_run(tmp_path / "run", job.task, job.options):  # who was refused holds nothing
        pass
