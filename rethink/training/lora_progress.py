"""How far a training is, for front ends that show more of it than a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..progress import JobProgress

if TYPE_CHECKING:
    from .lora_run import LoraRecord


@dataclass(frozen=True, kw_only=True)
class TrainProgress(JobProgress):
    """A step of a training.

    record: what it is so far; losses: of all its steps. folder: of the run. phase: what it does besides taking steps, "" while
    it takes them.
    """

    record: LoraRecord
    losses: Sequence[float]
    folder: Path
    phase: str = ""


def peak_memory(device: torch.device) -> int:
    """The most bytes that were taken on the device since the process began; on a CPU of the process as a whole; 0 where nobody
    says."""
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
