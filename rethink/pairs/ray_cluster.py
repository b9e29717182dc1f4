"""The stages of the pairs over a Ray cluster: processes of this machine, or of many that share the folder of the store.

One process holds the store: it hands out shards of work and writes every line. The workers hold no state but the models
that they have opened. When one dies, its shard is done again by another, and at last job by job, so that only the job
that kills whoever touches it is lost.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import RethinkError, lazy_import
from .inverse.drafts import PROCESS_DIED

PACKAGE = Path(__file__).resolve().parents[1]
PREFETCH = 2  # shards a worker that are handed out before they are needed
MAX_ATTEMPTS = 2  # of the workers that had one job

Executor = Callable[[Iterator[Any]], Generator[Any, None, None]]


@dataclass(frozen=True)
class WorkerResources:
    """What of its machine a worker of a stage takes, and how many jobs it claims at once."""

    cpus: float = 1.0
    gpus: float = 0.0
    jobs: int = 8

    def __post_init__(self):
        if min(self.cpus, self.gpus) < 0 or not (self.cpus or self.gpus) or self.jobs < 1:
            raise RethinkError("share: expected CPUs and GPUs of 0 or more, not both 0, and at least one job.")


@contextmanager
def cluster(address: str = "", cpus: int | None = None) -> Iterator[None]:
    """Join the Ray cluster at `address` ("auto": the one of this machine), or start one here with so many CPUs.

    The other machines need the package at the same path, or installed. Raises RethinkError when it cannot be joined.
    """
    ray = lazy_import("ray")
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    options = {"address": address} if address else {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(
            **options,
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RethinkError(f"address: cannot join the Ray cluster {address!r}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def ray_executor(
    open: Callable[[], Callable], lost: Callable[[Any, str], Any], share: WorkerResources = WorkerResources()
) -> Executor:
    """jobs → results in any order, inside `with cluster():`.

    open() → do(job) → result; it is opened once by every process that works at this stage. lost(job, why) → the result of
    a job that kills its workers. A RethinkError from a worker ends the run, as it would here.
    """

    def execute(jobs: Iterator[Any]) -> Generator[Any, None, None]:
        ray = lazy_import("ray")
        opener = ray.put(ray.cloudpickle.dumps(open))
        work = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, max_retries=MAX_ATTEMPTS - 1)(_work)
        _check_room(ray, share)
        running: dict[Any, list] = {}
        try:
            while True:
                while len(running) < PREFETCH * _workers(ray, share) and (shard := list(islice(jobs, share.jobs))):
                    running[work.remote(opener, shard)] = shard
                if not running:
                    return
                (ready,), _ = ray.wait(list(running))
                shard = running.pop(ready)
                try:
                    yield from ray.get(ready)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except _worker_crash_errors(ray):
                    if len(shard) == 1:
                        yield lost(shard[0], PROCESS_DIED)
                    else:
                        running |= {work.remote(opener, [job]): [job] for job in shard}
                except ray.exceptions.RayError as error:
                    raise RethinkError(f"ray: the cluster failed: {error}") from error
        finally:
            for task in running:
                ray.cancel(task, force=True)

    return execute


def _check_room(ray, share: WorkerResources) -> None:
    """Ray waits for ever for what no machine of the cluster has."""
    for kind, need in (("CPU", share.cpus), ("GPU", share.gpus)):
        most = max((node["Resources"].get(kind, 0) for node in ray.nodes() if node["Alive"]), default=0)
        if need > most:
            raise RethinkError(
                f"share: a worker wants {need:g} {kind}s, but the largest machine of the cluster has {most:g}."
            )


def _worker_crash_errors(ray) -> tuple[type[Exception], ...]:
    """How Ray says that a worker is no more: killed, out of memory, or its machine gone."""
    return ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError


def _workers(ray, share: WorkerResources) -> int:
    """How many workers of this share the cluster has room for now; machines may come and go."""
    room = ray.cluster_resources()
    return max(
        1, int(min(room.get(kind, 0) / need for kind, need in (("CPU", share.cpus), ("GPU", share.gpus)) if need))
    )


def _work(opener: bytes, shard: list) -> list:
    do = _opened(opener)
    return [do(job) for job in shard]


@lru_cache(maxsize=4)
def _opened(opener: bytes) -> Callable:
    return lazy_import("ray").cloudpickle.loads(opener)()
