"""The job of training a thinker by reinforcement."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch

from rethink.editors.server_editor import ServerEditor
from rethink.errors import OutOfMemoryError, RethinkError
from rethink.steps import Critique
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import TEMPLATE, Thinker
from rethink.training import thinker_grpo, thinker_grpo_job, thinker_rollouts
from rethink.training.thinker_busy import describe_busy
from rethink.training.thinker_folders import MARK
from rethink.training.thinker_grpo import GRPOResult
from rethink.training.thinker_grpo_job import NOT_INDEPENDENT, GRPOJob
from rethink.training.thinker_page import PAGE
from rethink.training.thinker_settings import GRPOConfig
from rethink.training.thinker_watch import HeldOut
from tests.support.miniature_thinkers import write_thinker
from tests.support.process_groups import run_together
from tests.support.rl_steps import PromptJudge
from tests.support.thinking import Painter
from tests.support.trajectories import draw_images, write_trajectory

BUSY = {"editor": 0.25, "judge": 0.25, "policy": 0.4}


@pytest.fixture
def runs(tmp_path):
    for number in range(6):
        write_trajectory(tmp_path / "runs" / str(number), (4, 9), images=draw_images(number, 2, 16))
    return tmp_path / "runs"


@pytest.fixture
def trained(monkeypatch):
    """What `train` was asked for, and what it gives."""
    seen = []

    def train(task):
        seen.append(task)
        start, better = HeldOut(0, 0.25, 3.0, 4), HeldOut(50, 0.75, 2.0, 4, reward=0.5)
        return GRPOResult(task.chat.module, (start, better), better, BUSY)

    monkeypatch.setattr(thinker_grpo_job, "train", train)
    return seen


def job(runs, tmp_path, **options):
    thinker = write_thinker(tmp_path / "thinker")
    config = GRPOConfig(precision="no", seed=3, batch=2, rollouts=2, **options)
    return GRPOJob(thinker, (runs,), tmp_path / "out", config)


def test_from_runs_to_a_folder_that_opens(runs, tmp_path, trained):
    lines = []
    report = job(runs, tmp_path, editor_steps=1).run(Painter(), Thinker(PromptJudge()), lines.append)
    (task,) = trained
    assert lines == [
        "10 questions to learn from; 1 task held out",
        "prompts: only 10 per step, since there are no more questions",
        f"report, updated at every save: {task.work / PAGE}",
    ]
    assert (len(task.steps), len(task.held_out), task.config.prompts) == (10, 1, 10)
    assert task.rollouts.settings.steps == 1 and task.rollouts.seed == 3 and task.template == TEMPLATE
    assert task.work.parent == tmp_path / "out-checkpoints"
    after, before = (load_thinker(tmp_path / name, dtype="fp32").module for name in ("out", "thinker"))
    assert all(torch.equal(a, b) for a, b in zip(after.parameters(), before.parameters(), strict=True))
    assert str(report).splitlines() == [
        f"thinker → {tmp_path / 'out'}",
        "before: 25% of 4 held-out tasks done, in 3.0 turns",
        "after 50 steps, the best: 75% of 4 held-out tasks done, in 2.0 turns",
        f"over all steps: {describe_busy(BUSY)}",
    ]
    assert (tmp_path / "out" / MARK).is_file()


def test_that_nothing_can_be_held_out_is_said(tmp_path, trained):
    write_trajectory(tmp_path / "runs" / "0", (2, 9))
    for hold_out, said in ((2, True), (0, False)):
        lines = []
        job(tmp_path / "runs", tmp_path, hold_out=hold_out).run(Painter(), Thinker(PromptJudge()), lines.append)
        assert any(line.startswith("hold_out: there are too few images") for line in lines) == said


def test_runs_that_are_left_out_are_said(runs, tmp_path, trained):
    write_trajectory(runs / "unfinished", (2, 9), "")
    lines = []
    report = job(runs, tmp_path).run(Painter(), Thinker(PromptJudge()), lines.append)
    assert "1 run left out: damaged, unfinished, or without a readable instruction." in lines
    assert str(report).splitlines()[-1] == "1 run left out: damaged, unfinished, or without a readable instruction."


def test_a_judge_that_is_the_thinker_itself_is_said(runs, tmp_path, trained):
    judge = PromptJudge()
    for name in ("thinker", "owner/thinker"):  # as a list of models calls it
        judge.name = name
        lines = []
        report = job(runs, tmp_path).run(Painter(), Thinker(judge), lines.append)
        assert NOT_INDEPENDENT in lines and str(report).endswith(NOT_INDEPENDENT)


def test_trainings_are_told_apart_by_what_they_learn(runs, tmp_path, trained):
    first = replace(job(runs, tmp_path), folder=tmp_path / "trainings")
    shutil.copytree(first.thinker, tmp_path / "moved")
    same = [first, replace(first, config=replace(first.config, steps=9)), replace(first, thinker=tmp_path / "moved")]
    others = [replace(first, config=GRPOConfig())]
    for each in (*same, *others):
        each.run(Painter(), Thinker(PromptJudge()), lambda line: None)
    retrained = load_thinker(first.thinker, dtype="fp32").module
    with torch.no_grad():
        next(iter(retrained.parameters())).add_(0.1)
    retrained.save_pretrained(first.thinker)
    first.run(Painter(), Thinker(PromptJudge()), lambda line: None)
    shutil.copytree(runs / "0", runs / "6")
    first.run(Painter(), Thinker(PromptJudge()), lambda line: None)
    works = [task.work for task in trained]
    assert len(set(works[:3])) == 1 and len(set(works)) == 4
    assert {work.parent for work in works} == {tmp_path / "trainings"}


def test_a_training_goes_on_with_an_editor_whose_server_is_elsewhere_by_then(runs, tmp_path, trained):
    for url, model in (("http://127.0.0.1:9/v1", "a"), ("http://localhost:10/v1", "a"), ("http://127.0.0.1:9/v1", "b")):
        each = replace(job(runs, tmp_path), folder=tmp_path / "trainings")
        each.run(ServerEditor(url, model), Thinker(PromptJudge()), lambda line: None)
    first, moved, other = (task.work for task in trained)
    assert first == moved != other


def test_nothing_better_than_the_start_is_said(runs, tmp_path, monkeypatch):
    start = HeldOut(0, 0.25, 3.0, 4)
    for measured, best, words in (
        ((start,), start, "No step was better than the start (25% of 4"),
        ((), None, "the thinker of the last step"),
    ):
        monkeypatch.setattr(
            thinker_grpo_job, "train", lambda task, r=(measured, best): GRPOResult(task.chat.module, *r)
        )
        assert words in str(job(runs, tmp_path).run(Painter(), Thinker(PromptJudge()), lambda line: None))


def test_mistakes_are_said_before_any_work(runs, tmp_path, trained):
    judge = Thinker(PromptJudge())
    with pytest.raises(RethinkError, match="data: there is no folder"):
        job(tmp_path / "gone", tmp_path).run(Painter(), judge)
    (tmp_path / "verl").mkdir()
    (tmp_path / "verl" / "verl-rl.parquet").touch()
    with pytest.raises(RethinkError, match="data: .* has verl-rl.parquet, but no trl-rl.jsonl"):
        job(tmp_path / "verl", tmp_path).run(Painter(), judge)
    with pytest.raises(RethinkError, match="are not a multiple"):
        job(runs, tmp_path, prompts=3).run(Painter(), judge, processes=thinker_grpo_job.ProcessGroup(0, 4))
    with pytest.raises(RethinkError, match="template"):
        GRPOJob(tmp_path, (runs,), tmp_path / "out", template="no slots")
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(RethinkError, match="output: .* is the thinker to start from"):
        replace(job(runs, tmp_path), output=tmp_path / "thinker").run(Painter(), judge)
    with pytest.raises(RethinkError, match="output"):
        replace(job(runs, tmp_path), output=tmp_path / "file").run(Painter(), judge)
    assert trained == []


def test_too_little_memory_says_what_to_lower(runs, tmp_path, monkeypatch):
    def train(task):
        raise MemoryError

    monkeypatch.setattr(thinker_grpo_job, "train", train)
    with pytest.raises(OutOfMemoryError, match=r"lower batch \(it is 2\)"):
        job(runs, tmp_path).run(Painter(), Thinker(PromptJudge()))


@pytest.fixture
def babble(monkeypatch):
    """What a miniature babbles is a prompt that is worth as much as its bytes say."""
    monkeypatch.setattr(
        thinker_grpo,
        "parse_critique",
        lambda text: Critique("ok", 5, 5, "I see.", f"worth {sum(text.encode()) % 11}"),
    )


SMALL = {
    "steps": 2,
    "prompts": 2,
    "answer_tokens": 2,
    "checkpointing": False,
    "train_vision": True,
    "learning_rate": 1e-2,
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_share_a_step_and_leave_one_thinker(runs, tmp_path, babble):
    both = job(runs, tmp_path, save_every=1, turns=1, **SMALL)

    def run(processes):
        both.run(Painter(), Thinker(PromptJudge()), lambda line: None, processes)

    assert run_together(run, 2) == [0, 0]
    (log,) = (tmp_path / "out-checkpoints").glob("*/log.jsonl")
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [record for record in records if "groups" in record]
    assert [record["groups"] for record in steps] == [2, 2] and any(record["grad_norm"] > 0 for record in steps)
    assert [(record["step"], record["held_out"]["tasks"]) for record in records if "held_out" in record] == [
        (step, 1) for step in (0, 1, 2)
    ]
    assert load_thinker(tmp_path / "out").name == "out"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_ends_one_process_ends_the_other_too(runs, tmp_path, babble, monkeypatch):
    class DeadJudge(PromptJudge):
        def chat_all(self, requests, **_):
            raise ConnectionError("nobody listens")

    monkeypatch.setattr(thinker_rollouts, "GIVE_UP", 1)
    both = job(runs, tmp_path, hold_out=0, **SMALL)

    def run(processes):
        judge = Thinker(DeadJudge() if processes.rank else PromptJudge())
        with pytest.raises(RethinkError) as raised:
            both.run(Painter(), judge, lambda line: None, processes)
        (tmp_path / f"{processes.rank}.txt").write_text(str(raised.value), encoding="utf-8")

    assert run_together(run, 2) == [0, 0]
    first, second = ((tmp_path / f"{rank}.txt").read_text(encoding="utf-8") for rank in range(2))
    assert second.startswith("editor, judge: nothing could be edited and judged") and "nobody listens" in second
    assert first == f"process 1 of 2 failed: {second}"
