"""A group of processes, one per GPU, that train one model together, as started by `accelerate launch`; or a single process."""

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
    """count: the number of processes. rank: the number of this one, from 0."""

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the results."""
        return self.rank == 0

    def share(self, items: int) -> range:
        """Which of `items` items are for this process."""
        return range(self.rank, items, self.count)

    def wait(self) -> None:
        """Wait until all processes have reached this point."""
        if self.count > 1:
            torch.distributed.barrier()

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace every tensor by its sum over all processes."""
        if self.count > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)


ALONE = ProcessGroup()


def join_processes(device: str) -> ProcessGroup:
    """The processes started by `accelerate launch` or `torchrun`, if any. On GPUs, "cuda" then means each process's own."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return ALONE
    state = lazy_import("accelerate").PartialState(cpu=device == "cpu", timeout=PATIENCE)
    return ProcessGroup(state.process_index, state.num_processes)


@contextmanager
def fail_together() -> Iterator[None]:
    """If one process of a training run by accelerate fails within this context, fail in all of them with its reason, since the others
    would wait for it forever. All processes must enter it."""
    from accelerate.utils import gather_object

    error: Exception | None = None
    try:
        yield
    except Exception as raised:  # not Ctrl-C, which reaches every process by itself
        error = raised
    failures = gather_object([None if error is None else str(error) or type(error).__name__])
    if error is not None:
        raise error
    for rank, failure in enumerate(failures):
        if failure is not None:
            raise RethinkError(f"process {rank} of {len(failures)} failed: {failure}")


def is_first_process() -> bool:
    """Whether this is the process that writes, in a training run by trl or accelerate."""
    return lazy_import("accelerate").PartialState().is_main_process
