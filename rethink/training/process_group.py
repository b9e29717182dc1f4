"""Several processes, a GPU each, that train one model together, as `accelerate launch` starts them; alone, one process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor

from ..errors import RethinkError, lazy_import

PATIENCE = timedelta(hours=3)  # for the main process, which alone saves and edits previews


@dataclass(frozen=True)
class ProcessGroup:
    """count: how many processes there are. rank: the number of this one."""

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this one writes what is kept."""
        return self.rank == 0

    def share(self, items: int) -> range:
        """Which of so many items are for this process."""
        return range(self.rank, items, self.count)

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            torch.distributed.barrier()

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Every tensor becomes the sum of all processes'."""
        if self.count > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)


ALONE = ProcessGroup()


def join_processes(device: str) -> ProcessGroup:
    """Those that `accelerate launch` or `torchrun` has started, if any. On GPUs, each has its own as "cuda" from then on."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return ALONE
    state = lazy_import("accelerate").PartialState(cpu=device == "cpu", timeout=PATIENCE)
    return ProcessGroup(state.process_index, state.num_processes)


@contextmanager
def fail_together() -> Iterator[None]:
    """Where one process of a training that accelerate runs fails within it, all do, with its reason: else the others would wait for
    it. All have to come here."""
    from accelerate.utils import gather_object

    error: Exception | None = None
    try:
        yield
    except Exception as raised:  # not Ctrl-C, which comes to each by itself
        error = raised
    failures = gather_object([None if error is None else str(error) or type(error).__name__])
    if error is not None:
        raise error
    for rank, failure in enumerate(failures):
        if failure is not None:
            raise RethinkError(f"process {rank} of {len(failures)} has failed: {failure}")


def is_first_process() -> bool:
    """Whether this is the process that writes, in a training that trl and accelerate run."""
    return lazy_import("accelerate").PartialState().is_main_process
