"""The optimisation loop that every trainer here shares: AdamW, warm-up, EMA, mixed precision, checkpoints that resume.

A trainer brings a module whose `forward(batch)` returns the loss, and a dataset. Everything else (several GPUs,
gradient accumulation, precision) is accelerate's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import nn

from ..errors import RethinkError, lazy_import


@dataclass(frozen=True)
class TrainConfig:
    """How to train. `steps` are optimizer steps; `batch` is pictures a step and process."""

    steps: int = 15_000
    batch: int = 16
    accumulate: int = 1
    learning_rate: float = 1e-4
    warmup: int = 200
    decay_from: float = 1.0  # share of the run after which the rate falls linearly to 1%; 1: never
    ema: float = 0.9999
    precision: str = "no"  # "no", "fp16", "bf16"
    workers: int = 2
    seed: int = 0
    save_every: int = 1000
    log_every: int = 100
    minutes: float = 0.0  # > 0: `steps` is an upper bound, and the schedule runs over this much time


def add_plan_arguments(parser: argparse.ArgumentParser, defaults: TrainConfig) -> None:
    """One option for every field of `TrainConfig`."""
    group = parser.add_argument_group("optimisation")
    for field in fields(TrainConfig):
        value = getattr(defaults, field.name)
        group.add_argument(f"--{field.name.replace('_', '-')}", type=type(value), default=value, metavar=str(value))


def plan_from(arguments: argparse.Namespace) -> TrainConfig:
    """The TrainConfig in the options of `add_plan_arguments`."""
    return TrainConfig(**{field.name: getattr(arguments, field.name) for field in fields(TrainConfig)})


def train_loop(
    model: nn.Module,
    dataset: torch.utils.data.Dataset,
    plan: TrainConfig,
    folder: Path,
    *,
    collate: Callable | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Trains the parameters of `model` that require gradients and leaves their moving average in it.

    folder: checkpoints go to `folder/checkpoint`; a run that finds one goes on from it.
    Raises RethinkError if the loss stops being a number.
    """
    accelerator = _accelerator(plan)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    model, optimizer, loader = accelerator.prepare(model, optimizer, _loader(dataset, plan, collate))
    average = MovingAverage(weights, plan.ema)
    progress = TrainState()
    accelerator.register_for_checkpointing(average, progress)
    checkpoint = folder / "checkpoint"
    if (checkpoint / "complete").exists():
        accelerator.load_state(str(checkpoint))
        report(f"going on from step {progress.step}")
    log = Log(plan, accelerator.num_processes, report if accelerator.is_main_process else _silent)
    started = time.monotonic() - progress.seconds
    for batch in endless(loader):
        done = mean_across_processes(accelerator, fraction_done(progress, plan))
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * rate(progress.step, done, plan)
        with accelerator.accumulate(model):
            loss = model(batch)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if not accelerator.sync_gradients:
            continue
        average.update(weights, progress.step)
        progress.step += 1
        progress.seconds = time.monotonic() - started
        log.step(progress.step, done, loss.detach())
        if progress.step % plan.save_every == 0:
            save_checkpoint(accelerator, checkpoint)
    save_checkpoint(accelerator, checkpoint)
    average.copy_to(weights)


def _accelerator(plan: TrainConfig):
    accelerate = lazy_import("accelerate")
    accelerator = accelerate.Accelerator(
        mixed_precision=plan.precision,
        gradient_accumulation_steps=plan.accumulate,
        # An endless dataset draws its own samples in every process: none has to wait for the first one's.
        dataloader_config=accelerate.DataLoaderConfiguration(dispatch_batches=False),
    )
    accelerate.utils.set_seed(plan.seed, device_specific=True)
    return accelerator


def _loader(
    dataset: torch.utils.data.Dataset, plan: TrainConfig, collate: Callable | None
) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(
        dataset,
        plan.batch,
        shuffle=None if isinstance(dataset, torch.utils.data.IterableDataset) else True,
        collate_fn=collate,
        num_workers=plan.workers,
        persistent_workers=plan.workers > 0,
        drop_last=True,
    )


class Log:
    """Says every so many steps how large the loss was on average, and how fast it goes."""

    def __init__(self, plan: TrainConfig, processes: int, report: Callable[[str], None]) -> None:
        self.every, self.pictures = plan.log_every, plan.log_every * plan.batch * plan.accumulate * processes
        self.report, self.since, self.losses = report, time.monotonic(), []

    def step(self, step: int, done: float, loss: torch.Tensor) -> None:
        """Take note of one step's loss. Raises RethinkError when the mean since the last line is not a number."""
        self.losses.append(loss)
        if step % self.every:
            return
        mean = torch.stack(self.losses).mean().item()
        if mean != mean:
            raise RethinkError(f"The loss is not a number at step {step}: lower --learning-rate or use bf16.")
        speed = self.pictures / (time.monotonic() - self.since)
        self.report(f"step {step} ({done:.0%}) loss {mean:.5f} {speed:.0f} pictures/s")
        self.since, self.losses = time.monotonic(), []


def fraction_done(progress: TrainState, plan: TrainConfig) -> float:
    """How much of the run is behind, 0…1 and beyond, by steps or by the clock."""
    return max(progress.step / plan.steps, progress.seconds / 60 / plan.minutes if plan.minutes else 0)


def mean_across_processes(accelerator, value: float) -> float:
    """The mean over all processes: their clocks differ, and one that ended a step early would leave the others waiting."""
    if accelerator.num_processes == 1:
        return value
    return accelerator.reduce(torch.tensor(value, device=accelerator.device), "mean").item()


def rate(step: int, done: float, plan: TrainConfig) -> float:
    """The factor on the learning rate: up over `warmup` steps, level, then linearly down to 1%."""
    down = max(0.0, (done - plan.decay_from) / (1 - plan.decay_from)) if plan.decay_from < 1 else 0.0
    return min(1.0, (step + 1) / max(1, plan.warmup)) * (1 - 0.99 * down)


def endless(loader):
    while True:
        yield from loader


def save_checkpoint(accelerator, folder: Path) -> None:
    """Written beside the old one and then put in its place, so that a killed run always finds a whole one."""
    accelerator.wait_for_everyone()
    fresh = folder.with_name("checkpoint.part")
    accelerator.save_state(str(fresh))
    accelerator.wait_for_everyone()  # every process writes its own random state into it
    if accelerator.is_main_process:
        (fresh / "complete").touch()
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    accelerator.wait_for_everyone()


class TrainState:
    """How far a run has come."""

    def __init__(self) -> None:
        self.step, self.seconds = 0, 0.0

    def state_dict(self) -> dict:
        return vars(self).copy()

    def load_state_dict(self, state: dict) -> None:
        vars(self).update(state)


class MovingAverage:
    """An exponential moving average of weights in float32, warmed up so that early steps do not linger."""

    def __init__(self, weights: list[nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.values = [w.detach().float().clone() for w in weights]

    @torch.no_grad()
    def update(self, weights: list[nn.Parameter], step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, [w.detach().float() for w in weights], 1 - decay)

    @torch.no_grad()
    def copy_to(self, weights: list[nn.Parameter]) -> None:
        for weight, value in zip(weights, self.values):
            weight.copy_(value)

    def state_dict(self) -> dict:
        return {"values": self.values}

    def load_state_dict(self, state: dict) -> None:
        for mine, theirs in zip(self.values, state["values"]):
            mine.copy_(theirs)


def _silent(line: str) -> None:
    pass


def write_json(path: Path, data: dict) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
