"""Run stages on a Ray cluster: processes on this machine, or on several machines that share the store's folder.

One process holds the store: it hands out shards of work and writes every line. The workers hold no state except their
models. When one dies, another repeats its shard, in the end job by job, so that only a job that kills workers fails.
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
PREFETCH = 2  # shards per worker that are handed out ahead
MAX_ATTEMPTS = 2  # per shard

Executor = Callable[[Iterator[Any]], Generator[Any, None, None]]


@dataclass(frozen=True)
class WorkerResources:
    """The share of its machine that a worker uses, and how many jobs it takes at once."""

    cpus: float = 1.0
    gpus: float = 0.0
    jobs: int = 8

    def __post_init__(self):
        if min(self.cpus, self.gpus) < 0 or not (self.cpus or self.gpus) or self.jobs < 1:
            raise RethinkError("share: expected CPUs and GPUs of 0 or more, not both 0, and at least one job.")


@contextmanager
def cluster(address: str = "", cpus: int | None = None) -> Iterator[None]:
    """Join the Ray cluster at `address` ("auto": the one of this machine), or start one here with this many CPUs.

    The other machines need the package installed, or at the same path. Raises RethinkError when it cannot be joined.
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
    open_worker: Callable[[], Callable],
    make_failed: Callable[[Any, str], Any],
    resources: WorkerResources = WorkerResources(),
) -> Executor:
    """Turns jobs into results, in any order, inside `with cluster():`.

    open_worker: gives the function job → result; every process of the stage calls it once. make_failed: (job, why) → the
    result of a job that kills its workers. A RethinkError from a worker ends the run, as it would here.
    """

    def execute(jobs: Iterator[Any]) -> Generator[Any, None, None]:
        ray = lazy_import("ray")
        opener = ray.put(ray.cloudpickle.dumps(open_worker))
        work = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=MAX_ATTEMPTS - 1)(_run_shard)
        require_capacity(ray, resources)
        running: dict[Any, list] = {}
        try:
            while True:
                while len(running) < PREFETCH * _count_workers(ray, resources) and (
                    shard := list(islice(jobs, resources.jobs))
                ):
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
                        yield make_failed(shard[0], PROCESS_DIED)
                    else:
                        running |= {work.remote(opener, [job]): [job] for job in shard}
                except ray.exceptions.RayError as error:
                    raise RethinkError(f"ray: the cluster failed: {error}") from error
        finally:
            for task in running:
                ray.cancel(task, force=True)

    return execute


def require_capacity(ray: Any, resources: WorkerResources) -> None:
    """Raise RethinkError where no machine is large enough for a worker: Ray would wait forever."""
    for kind, need in (("CPU", resources.cpus), ("GPU", resources.gpus)):
        most = max((node["Resources"].get(kind, 0) for node in ray.nodes() if node["Alive"]), default=0)
        if need > most:
            raise RethinkError(
                f"share: a worker needs {need:g} {kind}s, but the largest machine of the cluster has {most:g}."
            )


def _worker_crash_errors(ray) -> tuple[type[Exception], ...]:
    """The errors that Ray raises when a worker is gone: killed, out of memory, or its machine lost."""
    return ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError


def _count_workers(ray, resources: WorkerResources) -> int:
    """How many such workers the cluster has room for now; machines may come and go."""
    available = ray.cluster_resources()
    return max(
        1,
        int(
            min(
                available.get(kind, 0) / need
                for kind, need in (("CPU", resources.cpus), ("GPU", resources.gpus))
                if need
            )
        ),
    )


def _run_shard(opener: bytes, shard: list) -> list:
    run = _load_worker(opener)
    return [run(job) for job in shard]


@lru_cache(maxsize=4)
def _load_worker(opener: bytes) -> Callable:
    return lazy_import("ray").cloudpickle.loads(opener)()
