"""The loop that all trainers share, over several processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rethink.atomic import move
from rethink.errors import RethinkError
from rethink.training import train_loop as train_loop_module
from rethink.training.loss_watch import Diverged
from rethink.training.train_loop import TrainConfig, TrainLog, TrainStep, lr_factor, train_loop
from tests.support.mapped_files import is_mapped

ROOT = Path(__file__).resolve().parents[3]

# The second process' clock runs three times as fast: it alone would end far too early. And it takes its time to save.
SCRIPT = """
import os, sys, time
from pathlib import Path

import torch
from accelerate import PartialState
from rethink.training.train_loop import TrainConfig, train_loop

rank, clock = int(os.environ["RANK"]), time.monotonic
time.monotonic = lambda: clock() * (1 + 2 * rank)
save = torch.save
torch.save = lambda *args, **options: time.sleep(rank / 2) or save(*args, **options)


class Distance(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))

    def forward(self, batch):
        return (batch - self.weight).square().mean()


PartialState(cpu=True)
plan = TrainConfig(steps=10**6, batch=4, minutes=0.02, ema=0.9, workers=0)
train_loop(Distance(), torch.ones(64, 3), plan, Path(sys.argv[1]))
"""


class Distance(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))

    def forward(self, batch):
        return (batch - self.weight).square().mean()


def test_fewer_samples_than_a_batch_are_trained_on(tmp_path):
    model = Distance()
    train_loop(model, torch.ones(3, 3), TrainConfig(steps=2, batch=16, workers=0, warmup=1), tmp_path, report=str)
    assert model.weight.abs().sum() > 0


class Frozen(Distance):
    """With a large part that is not trained, and a weight that another part shares."""

    def __init__(self):
        super().__init__()
        self.base = torch.nn.Linear(300, 300).requires_grad_(False)
        self.norm = torch.nn.BatchNorm1d(3)
        self.same = self.norm

    def forward(self, batch):
        return (self.norm(batch * self.weight) - batch).square().mean() + self.base.weight.sum() * 0


def test_checkpoints_hold_what_is_trained_and_no_frozen_base(tmp_path):
    data, plan = torch.randn(8, 3), TrainConfig(steps=2, batch=4, workers=0, warmup=1, ema=0.0)
    model, other = Frozen(), Frozen()
    train_loop(model, data, plan, tmp_path, report=str)
    files = list((tmp_path / "checkpoint").iterdir())
    assert sum(file.stat().st_size for file in files) < 60_000 < model.base.weight.nbytes
    assert set(load_file(tmp_path / "checkpoint" / "trained-0.safetensors")) >= {
        "weight",
        "norm.weight",
        "norm.running_mean",
    }
    lines = []
    train_loop(other, data, plan, tmp_path, report=lines.append)
    assert lines == ["resuming from step 2"]
    assert torch.equal(other.weight, model.weight) and torch.equal(other.norm.running_mean, model.norm.running_mean)
    assert not torch.equal(other.base.weight, model.base.weight)  # each brings its own


def test_a_kill_before_a_checkpoint_is_in_its_place_loses_nothing(tmp_path, monkeypatch):
    data, plan, moves = torch.ones(8, 3), TrainConfig(steps=6, batch=4, workers=0, save_every=2), []

    def die(source, target):
        moves.append(source)
        if len(moves) == 2:
            raise KeyboardInterrupt
        move(source, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(train_loop_module, "move", die)
        train_loop(Distance(), data, plan, tmp_path, report=str)
    lines = []
    train_loop(Distance(), data, plan, tmp_path, report=lines.append)
    assert lines == ["resuming from step 4"] and [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert not is_mapped(tmp_path)


def test_a_clock_that_stands_still_is_no_reason_to_stop(monkeypatch):
    """That of Windows moves every 16 ms."""
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    lines = []
    log = TrainLog(TrainConfig(log_every=1), 1, lines.append, lambda step: None)
    log.step(1, 0.5, torch.tensor(1.0), 0.1)
    log.step(2, 1.0, torch.tensor(1.0), 0.1)
    assert len(lines) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="torch's launcher wants libuv, which its Windows builds lack")
def test_processes_that_differ_in_speed_end_together(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [*command, tmp_path / "train.py", tmp_path / "out"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert ran.returncode == 0, ran.stderr
    written = {path.name for path in (tmp_path / "out" / "checkpoint").iterdir()}
    assert {"complete", "random_states_0.pkl", "random_states_1.pkl"} <= written


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, 0) for name in ("steps", "batch", "accumulate", "save_every", "log_every")],
        *[("workers", -1), ("seed", -1), ("learning_rate", 1e6), ("learning_rate", float("nan")), ("precision", "foo")],
    ],
)
def test_values_that_cannot_be_trained_with_are_named(name, value):
    with pytest.raises(RethinkError, match=f"^{name}: "):
        TrainConfig(**{name: value})


class Seen(Distance):
    """Notes what it is trained on."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, batch):
        self.batches.append(batch[:, 0].tolist())
        return super().forward(batch)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_goes_on_sees_the_samples_that_it_would_have_seen(tmp_path, workers):
    data = torch.arange(7.0)[:, None].expand(7, 3)
    whole, first, second = Seen(), Seen(), Seen()
    plan = {"batch": 2, "accumulate": 2, "workers": workers, "warmup": 1}
    train_loop(whole, data, TrainConfig(steps=8, **plan), tmp_path / "whole", report=str)
    train_loop(first, data, TrainConfig(steps=3, **plan), tmp_path / "cut", report=str)
    train_loop(second, data, TrainConfig(steps=8, **plan), tmp_path / "cut", report=str)
    assert len(whole.batches) == 16 and first.batches + second.batches == whole.batches
    seen = [index for batch in whole.batches for index in batch]
    assert all(set(seen[epoch : epoch + 7]) == set(range(7)) for epoch in (0, 7, 14))
    assert seen[:7] != seen[7:14]


def test_the_rate_warms_up_and_falls():
    config = TrainConfig(warmup=10, decay_from=0.5)
    assert lr_factor(0, 0.0, config) == pytest.approx(0.1)
    assert lr_factor(100, 0.5, config) == 1
    assert lr_factor(100, 1.0, config) == pytest.approx(0.01)


def test_a_loss_that_is_no_number_ends_the_run():
    lines, steps = [], []
    log = TrainLog(TrainConfig(log_every=4, save_every=2, batch=1), 1, lines.append, steps.append)
    for step in (1, 2, 3, 4):
        log.see({"ids": [f"{step}"]})
        log.see({"ids": ["too"]})
        log.step(step, 0.1, torch.tensor(float(step)), 1e-4)
        assert len(steps) == step // 2 * 2  # before every save
    assert len(lines) == 1 and "loss 2.50000" in lines[0]
    assert steps[2] == TrainStep(3, 3.0, 1e-4, ("3", "too"))
    log.see({"ids": ["bad"]})
    log.step(5, 0.3, torch.tensor(float("nan")), 1e-4)
    with pytest.raises(Diverged, match="is not a number at step 5, with the pairs bad[.]"):
        log.step(6, 0.4, torch.tensor(1.0), 1e-4)


class Cliff(Distance):
    """Its gradients stop being numbers after three steps, while the loss is one."""

    def forward(self, batch):
        loss = super().forward(batch)
        self.calls = getattr(self, "calls", 0) + 1
        return loss if self.calls < 4 else (self.weight - self.weight.detach()).abs().sqrt().sum() + loss.detach()


def test_what_was_saved_before_the_gradients_exploded_is_kept(tmp_path):
    plan = TrainConfig(steps=9, batch=2, workers=0, warmup=1, save_every=3)
    with pytest.raises(Diverged, match="at step 4[.]"):
        train_loop(Cliff(), torch.ones(8, 3), plan, tmp_path, report=str)
    assert load_file(tmp_path / "checkpoint" / "trained-0.safetensors")["weight"].isfinite().all()
    lines = []
    train_loop(Distance(), torch.ones(8, 3), plan, tmp_path, report=lines.append)
    assert lines[0] == "resuming from step 3"
