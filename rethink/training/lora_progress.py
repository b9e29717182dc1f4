"""The progress of a training, for front ends that show more than one line."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..progress import JobProgress, eta
from .lora_run import LoraRecord
from .lora_view import samples_per_second


@dataclass(frozen=True, kw_only=True)
class TrainProgress(JobProgress):
    """The progress after a step.

    record: the training so far; losses: those of all its steps. folder: the run's. phase: what is being done between steps, ""
    during them.
    """

    record: LoraRecord
    losses: Sequence[float]
    folder: Path
    phase: str = ""


def describe_step(record: LoraRecord, losses: Sequence[float]) -> str:
    """The current state in one line."""
    measured = [save.held_out for save in record.saves if save.held_out is not None]
    held_out = f" · held-out {measured[-1]:.4f}" if measured else ""
    return (
        f"step {record.step} of {record.steps} · loss {statistics.fmean(losses[-20:]):.4f}{held_out} · "
        f"{samples_per_second(record):.1f} samples/s · {eta(record.step, record.steps - record.step, record.seconds)} left"
    )


def peak_memory(device: torch.device) -> int:
    """Peak memory on the device since the process began, in bytes; on a CPU, that of the whole process; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    try:
        import resource
        import sys
    except ImportError:  # on Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
