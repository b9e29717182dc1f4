"""What the trainers share, in several processes."""

import os
import subprocess
import sys

SCRIPT = """
import os, sys, time
import torch
from accelerate import PartialState
from pathlib import Path

PartialState(cpu=True)
from rethink.training import loop

class Loss(torch.nn.Linear):
    def forward(self, batch):
        return super().forward(batch).square().mean()

clock, hurry = time.monotonic, 1 + 3 * PartialState().process_index
loop.time.monotonic = lambda: clock() * hurry
plan = loop.Plan(batch=2, minutes=0.02, workers=0, log_every=10**9, save_every=10**9)
loop.optimise(Loss(4, 1), torch.utils.data.TensorDataset(torch.ones(64, 4)), plan, Path(sys.argv[1]),
              collate=lambda rows: torch.stack([row[0] for row in rows]))
"""


def test_no_process_ends_before_the_others(tmp_path):
    """By their own clocks, the second would be through in a quarter of the time, and the first would wait for it."""
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "PYTHONPATH": "."}
    run = subprocess.run(
        [*command, tmp_path / "script.py", tmp_path / "run"], env=os.environ | environment, timeout=120,
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "run" / "checkpoint" / "complete").exists()
