"""Processes that do something together, as `accelerate launch` starts them."""

import multiprocessing
import os
from collections.abc import Callable

from rethink.training.process_group import ProcessGroup, join_processes
from tests.support.servers import held_port

PATIENCE = 240  # seconds, after which one that waits for another is ended


def run_together(do: Callable[[ProcessGroup], object], count: int) -> list[int | None]:
    """Do it in so many processes at once, forks of this one; → their exit codes."""
    context = multiprocessing.get_context("fork")
    with held_port() as port:
        processes = [context.Process(target=_run_as, args=(do, rank, count, port)) for rank in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(PATIENCE)
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def _run_as(do: Callable[[ProcessGroup], object], rank: int, count: int, port: int) -> None:
    import torch
    from accelerate import PartialState

    torch.set_num_threads(1)  # a fork has no other threads
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": count, "RANK": rank, "LOCAL_RANK": rank}
    os.environ.update({name: str(value) for name, value in place.items()})
    PartialState._reset_state()  # what the fork has taken along
    do(join_processes("cpu"))
