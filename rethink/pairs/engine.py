"""Where the stages of a job are worked on: by processes of this machine, or over a Ray cluster."""

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

# (stage, open, lost) → what carries the work of a stage to other machines; None where there are none. See `ray_executor`.
ExecutorFor = Callable[[str, Callable[[], Callable], Callable[[Any, str], Any]], Executor | None]


@dataclass(frozen=True)
class Engine:
    """workers: processes of this machine, 0: one a core. address: of a Ray cluster, or "auto"; "": one is started here.
    resources: what a worker of a stage takes, by stage."""

    engine: str = option("local", "ray: over a Ray cluster (pip install ray).", choices=ENGINES)
    workers: int = option(0, "Processes on this machine; 0: one a core.", low=0)
    address: str = option("", "Address of the Ray cluster, or auto; empty: one is started here.")
    resources: Mapping[str, WorkerResources] = field(default_factory=dict)

    def __post_init__(self):
        check_limits(self)
        if unknown := sorted(set(self.resources) - set(STAGES)):
            raise RethinkError(f"share: there is no stage {unknown[0]!r}; choose among {', '.join(sorted(STAGES))}.")

    @property
    def processes(self) -> int:
        """How many processes of this machine work."""
        return self.workers or os.cpu_count() or 1

    @property
    def is_local(self) -> bool:
        """Whether all work is done on this machine."""
        return self.engine == "local"

    @contextmanager
    def started(self) -> Iterator[ExecutorFor]:
        """Within it, what brings the stages of a job to where they are worked on."""
        if self.is_local:
            yield lambda stage, open, lost: None
            return
        with cluster(self.address, self.processes):
            yield lambda stage, open, lost: ray_executor(open, lost, self.resources.get(stage, WorkerResources()))


LOCAL = Engine()
