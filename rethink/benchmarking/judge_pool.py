"""A judge in several processes, each with its own model, on this machine or on a Ray cluster. To its callers it is one Chat that can be
asked from several threads, like a server; the rest of judging is unaware of it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RethinkError, lazy_import
from ..model_files import model_name, snapshot_of
from ..options import check_limits, option
from ..pairs.engine import ENGINES
from ..pairs.ray_cluster import WorkerResources, cluster, require_capacity
from ..thinkers.critique import Thinker
from ..thinkers.loading import BUILT_IN, ThinkerConfig, find_backend, open_chat
from ..thinkers.protocol import Messages, OnToken, Placement, ThinkerError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..thinkers.protocol import Chat

OpenChat = Callable[[int], "Chat"]  # by the worker's number
DIED = "judge: a worker died while answering this question."


@dataclass(frozen=True)
class JudgePool:
    """How many judges there are, and where they run."""

    judge_workers: int = option(
        1,
        "Judge processes, each with its own copy of a model in a folder: one per GPU, or per machine of a cluster.",
        low=1,
        high=1024,
    )
    engine: str = option("local", "ray: spread the judges over a Ray cluster (pip install ray).", choices=ENGINES)
    address: str = option("", "Address of the Ray cluster, or auto; empty: start one on this machine.")
    judge_gpus: float = option(0.0, "GPUs per judge on a Ray cluster.", low=0, high=64)

    def __post_init__(self):
        check_limits(self)

    @property
    def is_one(self) -> bool:
        """Whether there is only one judge, in this process."""
        return self.engine == "local" and self.judge_workers == 1

    @contextmanager
    def opened(self, config: ThinkerConfig) -> Iterator[Thinker]:
        """The judges as one thinker. Raises RethinkError for a server, which already answers several questions at once."""
        if find_backend(config.where).remote:
            raise RethinkError(
                "judge_workers: is for a model in a folder; for a server, set --judge-concurrency instead."
            )
        opener = partial(open_worker, config)
        workers = _ray_workers if self.engine == "ray" else _local_workers
        with workers(self, opener) as ask:
            chat = PooledChat(name_of(config), ask, self.judge_workers)
            yield Thinker(chat, config.template, config.max_tokens, config.temperature)


def name_of(config: ThinkerConfig) -> str:
    """The name of a local judge; it does not depend on the number of workers, so the same run asks nothing twice."""
    return BUILT_IN if config.where == BUILT_IN else model_name(snapshot_of(Path(config.where)))


def open_worker(config: ThinkerConfig, number: int) -> Chat:
    """Open the judge of one worker; with several GPUs, each worker uses its own."""
    import torch

    torch.set_num_threads(1)
    if config.device == "cuda" and torch.cuda.device_count() > 1:
        config = replace(config, device=f"cuda:{number % torch.cuda.device_count()}")
    return open_chat(config, role="judge")


@dataclass(frozen=True)
class Call:
    """A question as sent to another process."""

    messages: Messages
    images: tuple[np.ndarray, ...]
    options: dict[str, Any]


class PooledChat:
    """A `protocol.Chat`. ask: has a free worker answer."""

    placement: Placement = "elsewhere"

    def __init__(self, name: str, ask: Callable[[Call], str], concurrency: int):
        self.name, self._ask, self.concurrency = name, ask, concurrency

    def chat(
        self,
        messages: Messages,
        images: Sequence[Tensor],
        *,
        max_tokens: int,
        seed: int,
        temperature: float,
        on_token: OnToken | None = None,
    ) -> str:
        options = {"max_tokens": max_tokens, "seed": seed, "temperature": temperature}
        return self._ask(Call(messages, tuple(image.numpy() for image in images), options))


def answer(chat: Chat, call: Call) -> str:
    """The answer of a worker's judge."""
    import torch

    return chat.chat(call.messages, [torch.from_numpy(image) for image in call.images], **call.options)


# ── processes of this machine ────────────────────────────────────────────────────────────────────────────────────────

_chat: list[Chat] = []  # this worker's


@contextmanager
def _local_workers(pool: JudgePool, opener: OpenChat) -> Iterator[Callable[[Call], str]]:
    numbers = get_context("spawn").SimpleQueue()
    for number in range(pool.judge_workers):
        numbers.put(number)
    executor = _start(pool.judge_workers, numbers, opener)

    def ask(call: Call) -> str:
        try:
            return executor.submit(_answer, call).result()
        except BrokenProcessPool as error:
            raise ThinkerError(DIED) from error

    try:
        yield ask
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _start(count: int, numbers: Any, opener: OpenChat) -> Executor:
    return ProcessPoolExecutor(count, get_context("spawn"), _open, (numbers, opener))


def _open(numbers: Any, opener: OpenChat) -> None:
    _chat.append(opener(numbers.get()))


def _answer(call: Call) -> str:
    return answer(_chat[-1], call)


# ── a Ray cluster ────────────────────────────────────────────────────────────────────────────────────────────────────


class RayJudge:
    """A worker on the cluster."""

    def __init__(self, opener: bytes, number: int):
        self._chat = lazy_import("ray").cloudpickle.loads(opener)(number)

    def answer(self, call: Call) -> str:
        """The answer of its judge."""
        return answer(self._chat, call)


@contextmanager
def _ray_workers(pool: JudgePool, opener: OpenChat) -> Iterator[Callable[[Call], str]]:
    """Actors, of which a free one is asked; one that died is replaced, and its question fails."""
    resources = WorkerResources(1.0, pool.judge_gpus)
    with cluster(pool.address, pool.judge_workers):
        ray = lazy_import("ray")
        require_capacity(ray, resources)
        kind = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(RayJudge)
        packed = ray.cloudpickle.dumps(opener)
        free: queue.SimpleQueue = queue.SimpleQueue()
        for number in range(pool.judge_workers):
            free.put((kind.remote(packed, number), number))

        def ask(call: Call) -> str:
            worker, number = free.get()
            try:
                return ray.get(worker.answer.remote(call))
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayActorError as error:
                worker = kind.remote(packed, number)
                raise ThinkerError(DIED) from error
            finally:
                free.put((worker, number))

        yield ask
