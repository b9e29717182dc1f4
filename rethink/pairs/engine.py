"""Where the stages of a job run: in processes on this machine, or on a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import RethinkError
from ..options import check_limits, option
from .ray_cluster import Executor, WorkerResources, cluster, ray_executor

STAGES = ("damage", "edit", "describe", "invent", "draw", "measure")
ENGINES = ("local", "ray")

# (stage, open_worker, make_failed) → the executor of a stage on other machines, or None. See `ray_executor`.
ExecutorFor = Callable[[str, Callable[[], Callable], Callable[[Any, str], Any]], Executor | None]


@dataclass(frozen=True)
class Engine:
    """Where a job runs.

    workers: processes on this machine; 0: one per core. address: of a Ray cluster, or "auto"; "": start one here.
    resources: of a worker, by stage.
    """

    engine: str = option("local", "ray: run on a Ray cluster (pip install ray).", choices=ENGINES)
    workers: int = option(0, "Worker processes on this machine. 0: one per core.", low=0)
    address: str = option("", "Address of the Ray cluster, or auto. Empty: start one on this machine.")
    resources: Mapping[str, WorkerResources] = field(default_factory=dict)

    def __post_init__(self):
        check_limits(self)
        if unknown := sorted(set(self.resources) - set(STAGES)):
            raise RethinkError(f"share: there is no stage {unknown[0]!r}; choose one of {', '.join(sorted(STAGES))}.")

    @property
    def processes(self) -> int:
        """The number of processes on this machine."""
        return self.workers or os.cpu_count() or 1

    @property
    def is_local(self) -> bool:
        """Whether everything runs on this machine."""
        return self.engine == "local"

    @contextmanager
    def started(self) -> Iterator[ExecutorFor]:
        """Start the engine, and yield the function that gives each stage its executor."""
        if self.is_local:
            yield lambda stage, open_worker, make_failed: None
            return
        with cluster(self.address, self.processes):
            yield lambda stage, open_worker, make_failed: ray_executor(
                open_worker, make_failed, self.resources.get(stage, WorkerResources())
            )


LOCAL = Engine()
