"""Several judges as one: by threads in place of processes, and by a stand-in for Ray."""

import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from rethink.benchmarking import judge_pool
from rethink.benchmarking.budget import NO_LIMITS
from rethink.benchmarking.judge_pool import DIED, Call, JudgePool, PooledChat, answer, name_of, open_worker
from rethink.benchmarking.judging import Judge, judge_edits
from rethink.benchmarking.reply_log import ReplyLog
from rethink.errors import RethinkError
from rethink.thinkers.loading import ThinkerConfig, open_chat
from rethink.thinkers.protocol import ThinkerError
from tests.support.benchmark_runs import edited
from tests.support.miniature_thinkers import write_thinker

MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image"}]}]


class Numbered:
    """A judge that says which worker's it is, and what it saw."""

    def __init__(self, number):
        self.number = number

    def chat(self, messages, images, *, max_tokens, seed, temperature):
        if seed == 13:
            raise ThinkerError("it would rather not")
        return f"worker {self.number} saw {images[0].mean():.1f} with {max_tokens}, {seed}, {temperature}\nA: 4"


@pytest.fixture
def opened(monkeypatch):
    """Numbered judges in place of models; the numbers of those that were opened."""
    numbers = []

    def open_numbered(config, number):
        numbers.append(number)
        return Numbered(number)

    monkeypatch.setattr(judge_pool, "open_worker", open_numbered)
    return numbers


@pytest.fixture
def threads(monkeypatch, opened):
    """Threads as workers: each has a chat of its own, as a process has."""
    own = threading.local()

    def open_here(numbers, opener):
        own.chat = opener(numbers.get())

    monkeypatch.setattr(judge_pool, "_answer", lambda call: answer(own.chat, call))
    monkeypatch.setattr(
        judge_pool,
        "_start",
        lambda count, numbers, opener: ThreadPoolExecutor(count, initializer=open_here, initargs=(numbers, opener)),
    )


class RayActorError(Exception):
    pass


class RayTaskError(Exception):
    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


@pytest.fixture
def ray(monkeypatch, opened):
    """As much of Ray as the pool uses: actors are objects here, and one dies over the seed 66."""
    here = SimpleNamespace(taken=[], started=0)

    class Handle:
        def __init__(self, kind, *arguments):
            self.worker, here.started = kind(*arguments), here.started + 1
            self.answer = SimpleNamespace(remote=lambda call: (self.worker, call))

    def get(pending):
        worker, call = pending
        if call.options["seed"] == 66:
            raise RayActorError
        try:
            return worker.answer(call)
        except ThinkerError as error:
            raise RayTaskError(error) from error

    def remote(**resources):
        here.taken.append(resources)
        return lambda kind: SimpleNamespace(remote=lambda *arguments: Handle(kind, *arguments))

    pickle = SimpleNamespace(dumps=lambda thing: thing, loads=lambda thing: thing)
    errors = SimpleNamespace(RayTaskError=RayTaskError, RayActorError=RayActorError)
    module = SimpleNamespace(get=get, remote=remote, cloudpickle=pickle, exceptions=errors)
    module.nodes = lambda: [{"Alive": True, "Resources": {"CPU": 4, "GPU": 1}}]
    monkeypatch.setitem(sys.modules, "ray", module)

    @contextmanager
    def cluster(address, cpus):
        here.address = address
        yield

    monkeypatch.setattr(judge_pool, "cluster", cluster)
    return here


def ask(chat, seed=0):
    return chat.chat(MESSAGES, [torch.full((1, 4, 4, 3), 0.5)], max_tokens=9, seed=seed, temperature=0.0)


def test_every_worker_has_a_judge_of_its_own(threads, opened):
    with JudgePool(judge_workers=3).opened(ThinkerConfig("models/judge", max_tokens=50)) as judge:
        assert judge.chat.name == "judge" and judge.chat.concurrency == 3 and judge.max_tokens == 50
        assert ask(judge.chat, 5).startswith("worker 0 saw 0.5 with 9, 5, 0.0")
        with pytest.raises(ThinkerError, match="rather not"):
            ask(judge.chat, 13)
        barrier = queue.SimpleQueue()
        others = [threading.Thread(target=lambda: barrier.put(ask(judge.chat))) for _ in range(9)]
        for each in others:
            each.start()
        for each in others:
            each.join()
    assert barrier.qsize() == 9 and set(opened) <= {0, 1, 2}


def test_a_benchmark_is_judged_by_them_as_by_one(threads, tmp_path):
    row, items, folder = edited("imgedit", tmp_path)
    prompts = row.read_prompts(tmp_path / "code")
    edits = {item.id: folder / row.result_names(item)[0] for item in items}
    with JudgePool(judge_workers=2).opened(ThinkerConfig("models/judge")) as judge:
        found = judge_edits(row, items, edits, prompts, Judge(judge), ReplyLog(folder), NO_LIMITS)
    assert {scores["score"] for scores in found.judged.values()} == {4.0} and len(found.judged) == len(items)


def test_on_ray_free_actors_are_asked_and_dead_ones_replaced(ray, opened):
    pool = JudgePool(judge_workers=2, engine="ray", address="auto", judge_gpus=0.5)
    with pool.opened(ThinkerConfig("models/judge")) as judge:
        assert {ask(judge.chat)[:8] for _ in range(2)} == {"worker 0", "worker 1"}
        with pytest.raises(ThinkerError, match="rather not"):
            ask(judge.chat, 13)
        with pytest.raises(ThinkerError, match=DIED):
            ask(judge.chat, 66)
        assert ray.started == 3 and {ask(judge.chat)[:8] for _ in range(2)} == {"worker 0", "worker 1"}
    assert ray.taken == [{"num_cpus": 1.0, "num_gpus": 0.5}] and ray.address == "auto"


def test_what_a_cluster_has_no_room_for_is_said(ray):
    with (
        pytest.raises(RethinkError, match="a worker needs 2 GPUs"),
        JudgePool(engine="ray", judge_gpus=2).opened(ThinkerConfig("models/judge")),
    ):
        pass


def test_without_ray_its_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RethinkError, match="pip install ray"), JudgePool(engine="ray").opened(ThinkerConfig("x")):
        pass


def test_a_server_needs_no_workers():
    with (
        pytest.raises(RethinkError, match="judge-concurrency"),
        JudgePool(judge_workers=2).opened(ThinkerConfig("http://127.0.0.1:1/v1", model="m")),
    ):
        pass
    assert JudgePool().is_one and not JudgePool(judge_workers=2).is_one and not JudgePool(engine="ray").is_one


def test_every_gpu_has_a_worker(monkeypatch):
    opened = []
    monkeypatch.setattr(judge_pool, "open_chat", lambda config, role: opened.append(config.device))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for number in range(3):
        open_worker(ThinkerConfig("x", device="cuda"), number)
    open_worker(ThinkerConfig("x"), 1)
    assert opened == ["cuda:0", "cuda:1", "cuda:0", "cpu"]


def test_it_is_called_as_one_judge_is(tmp_path):
    folder = write_thinker(tmp_path / "vision")
    for where in (str(folder), "built-in"):
        assert name_of(ThinkerConfig(where)) == open_chat(ThinkerConfig(where)).name


def test_images_go_as_arrays():
    calls = []
    ask(PooledChat("x", lambda call: calls.append(call) or "fine", 1))
    (call,) = calls
    assert isinstance(call, Call) and call.images[0].shape == (1, 4, 4, 3)
    assert answer(Numbered(1), call).startswith("worker 1 saw 0.5")
