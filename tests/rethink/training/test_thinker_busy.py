"""How busy a machine is: who sleeps is not at work."""

import time
from types import SimpleNamespace

import pytest
import torch

from rethink.thinkers.critique import Thinker
from rethink.training import thinker_busy, thinker_rollouts
from rethink.training.thinker_busy import busy_shares, describe_busy, mean_busy, threads, work_clock
from rethink.training.thinker_rollouts import Rollouts
from tests.support.rl_steps import QUESTION, PromptJudge, write_step
from tests.support.thinking import Painter

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU's work takes no processor time")
PAUSE = 60.0


class Clock:
    """A clock on the wall, which goes on only while somebody sleeps: however slow the machine is, nothing else takes time."""

    now = 0.0

    def read(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    shown = SimpleNamespace(monotonic=clock.read, perf_counter=clock.read, process_time=time.process_time)
    for module in (thinker_busy, thinker_rollouts):
        monkeypatch.setattr(module, "time", shown)
    return clock


class SleepyPainter(Painter):
    """Behind a server that keeps it waiting, or here."""

    def __init__(self, placement, clock):
        super().__init__()
        self.placement, self.clock = placement, clock

    def edit(self, *arguments, **options):
        self.clock.sleep(PAUSE)
        return super().edit(*arguments, **options)


class SleepyJudge(PromptJudge):
    def __init__(self, placement, clock):
        super().__init__()
        self.placement, self.clock = placement, clock

    def chat_all(self, *arguments, **options):
        self.clock.sleep(PAUSE)
        return super().chat_all(*arguments, **options)


@on_cpu
@pytest.mark.parametrize(
    ("editor", "judge", "waits"),
    [
        ("movable", "movable", 0),
        ("movable", "elsewhere", 1),
        ("elsewhere", "movable", 1),
        ("elsewhere", "elsewhere", 2),
    ],
)
def test_an_editor_and_a_judge_that_sleep_are_not_busy(tmp_path, clock, editor, judge, waits):
    rollouts = Rollouts(SleepyPainter(editor, clock), Thinker(SleepyJudge(judge, clock), QUESTION), Painter.defaults)
    step, worked = write_step(tmp_path), work_clock()
    rollouts.score([step], ["worth 9"])
    found = busy_shares(rollouts.take_counts(), work_clock() - worked, clock.now)
    assert clock.now == 2 * PAUSE and sum(found[who] for who in ("editor", "judge", "policy")) < 0.2
    assert found["servers"] == waits / 2


@on_cpu
def test_work_is_counted_by_processor_time_over_the_threads_there_are():
    before, one = work_clock(), time.process_time()
    while time.process_time() - one < 0.1:
        pass
    assert 0.1 / threads() <= work_clock() - before < 0.2


def test_on_a_gpu_it_is_the_time_without_waiting_for_servers(monkeypatch, clock):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    local, remote = work_clock(), work_clock(remote=True)
    clock.sleep(PAUSE)
    assert work_clock() - local == PAUSE and work_clock(remote=True) - remote < PAUSE / 2
    counts = {"editor_seconds": 2.0, "judge_seconds": 0.0, "servers_seconds": 3.0}
    found = busy_shares(counts, 9.0, 10.0)
    assert found == {"editor": 0.2, "judge": 0.0, "policy": 0.4, "servers": 0.3}
    words = "busy 60% of the time: editor 20%, judge 0%, policy 40%; waiting for servers 30% of the time"
    assert describe_busy(found) == words


@on_cpu
def test_the_words_say_of_what():
    assert busy_shares({}, 0.0, 0.0) == {"editor": 0.0, "judge": 0.0, "policy": 0.0, "servers": 0.0}
    assert describe_busy({"editor": 0.5}).startswith(f"busy 50% of {threads()} processor thread")


def test_shares_of_a_run_count_by_time_and_none_of_before_servers_were_told_apart():
    def record(seconds, share, **more):
        return {"seconds": seconds, "busy": {"editor": share, "judge": 0.0, "policy": 0.0, **more}}

    records = [record(1.0, 0.8, servers=0.0), record(3.0, 0.4, servers=0.4), record(9.0, 1.0), {"held_out": {}}]
    assert mean_busy(records) == pytest.approx({"editor": 0.5, "judge": 0.0, "policy": 0.0, "servers": 0.3})
    assert mean_busy(records[2:]) == {}
