"""The training loop for whole models, including the built-in ones: warmup, EMA, mixed precision, resumable checkpoints.

A trainer supplies a module whose `forward(batch)` returns the loss, and a dataset. accelerate handles everything else (several
GPUs, gradient accumulation, precision).
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn

from ..atomic import move
from ..errors import lazy_import
from ..options import check_limits, option
from .endless_order import EndlessOrder
from .lora_run import save_tensors
from .loss_watch import Diverged
from .moving_average import MovingAverage

MAX_SEED = 2**32 - 1  # of numpy
TRAINED = "trained-{}.safetensors"  # in a checkpoint, by the number of the model
COMPLETE = "complete"  # the last file written to a checkpoint


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Raises RethinkError for a value out of range."""

    steps: int = option(15_000, "Optimizer steps.", low=1)
    batch: int = option(16, "Images per batch and process. Lower it if you run out of memory.", low=1)
    accumulate: int = option(
        1, "Batches per optimizer step, one after another: the effect of a larger batch in less memory.", low=1
    )
    learning_rate: float = option(1e-4, "Learning rate. Lower it if the loss jumps.", low=0.0, high=1.0)
    warmup: int = option(200, "Steps over which the learning rate rises.", low=0)
    decay_from: float = option(
        1.0, "Share of the run after which the learning rate falls linearly to 1%. 1: never.", low=0.0, high=1.0
    )
    ema: float = option(
        0.9999,
        "Decay of the moving average of the weights, which is what is kept: closer to 1 is slower.",
        low=0.0,
        high=1.0,
    )
    precision: str = option("no", "Number format to compute in. no: fp32.", choices=("no", "fp16", "bf16"))
    workers: int = option(2, "Processes that read samples.", low=0)
    seed: int = option(0, "Seed for everything random.", low=0, high=MAX_SEED)
    save_every: int = option(1000, "Steps between saves.", low=1)
    log_every: int = option(100, "Steps between progress lines.", low=1)
    minutes: float = option(
        0.0,
        "Train for this many minutes, with the schedule spread over them; steps is then an upper limit. 0: off.",
        low=0.0,
    )

    def __post_init__(self):
        check_limits(self)


@dataclass(frozen=True)
class TrainStep:
    """An optimizer step that was taken.

    step: counted from 1. samples, skipped: the samples in it and those that could not be read, if batches list them under `ids`
    and `skipped`.
    """

    step: int
    loss: float
    rate: float
    samples: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


class TrainWatch(Protocol):
    """Watches a training, in the main process only."""

    def go_on(self, step: int) -> None:
        """Training begins, with this many steps already taken."""

    def step(self, taken: TrainStep) -> None:
        """A step was taken. Called some steps later, but before the next save. May raise Diverged."""

    def save(self, step: int, seconds: float) -> None:
        """The model holds the weights to keep after this many steps and seconds. May raise Diverged."""

    def end(self) -> None:
        """Training is over. The weights in the model are kept, unless this puts others into it."""

    def rescue(self, why: str) -> bool:
        """The loss has exploded; → whether the model has good weights again."""
        ...


def adamw(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """One optimizer for everything that requires gradients."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return [torch.optim.AdamW(weights, rate, betas=(0.9, 0.99), weight_decay=0.01)]


def train_loop(
    model: nn.Module,
    dataset: torch.utils.data.Dataset,
    config: TrainConfig,
    folder: Path,
    *,
    collate: Callable | None = None,
    report: Callable[[str], None] = print,
    watch: TrainWatch | None = None,
    optimizers: Callable[[nn.Module, float], list[torch.optim.Optimizer]] = adamw,
) -> None:
    """Train the parameters of `model` that require gradients and leave their moving average in it.

    folder: checkpoints go to `folder/checkpoint`; a run that finds one resumes from it. optimizers: makes them from the model and
    the learning rate, which all of them follow.
    Raises Diverged if the loss is no longer a number; the checkpoint is then that of the last save.
    """
    accelerator = _accelerator(config)
    weights = [p for p in model.parameters() if p.requires_grad]
    made = optimizers(model, config.learning_rate)
    loader, order = _loader(dataset, config, collate)
    model, loader, *made = accelerator.prepare(model, loader, *made)
    average = MovingAverage(weights, config.ema)
    progress = TrainState()
    accelerator.register_for_checkpointing(average, progress)
    keep_trained_weights_only(accelerator)
    checkpoint = folder / "checkpoint"
    finish_checkpoint(accelerator, checkpoint)
    if (checkpoint / COMPLETE).exists():
        accelerator.load_state(str(checkpoint))
        report(f"resuming from step {progress.step}")
        if order:
            order.begin = progress.step * config.accumulate * order.batch * accelerator.num_processes
    watch = watch if accelerator.is_main_process else None
    if watch:
        watch.go_on(progress.step)
    log = TrainLog(
        config,
        accelerator.num_processes,
        report if accelerator.is_main_process else _silent,
        watch.step if watch else _silent,
    )
    started = time.monotonic() - progress.seconds
    for batch in endless(loader):
        done = mean_across_processes(accelerator, fraction_done(progress, config))
        if done >= 1:
            break
        rate = config.learning_rate * lr_factor(progress.step, done, config)
        for optimizer in made:
            for group in optimizer.param_groups:
                group["lr"] = rate
        log.see(batch)
        with accelerator.accumulate(model):
            loss = model(batch)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                norm = accelerator.clip_grad_norm_(weights, 1.0)
                if (
                    norm is not None and accelerator.scaler is None
                ):  # in fp16, steps with infinite gradients are skipped
                    loss = loss + 0 * norm  # not a number if the gradients are not
            for optimizer in made:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        if not accelerator.sync_gradients:
            continue
        average.update(weights, progress.step)
        progress.step += 1
        progress.seconds = time.monotonic() - started
        log.step(progress.step, done, loss.detach(), rate)
        if progress.step % config.save_every == 0:
            if watch:
                with average.in_place(weights):
                    watch.save(progress.step, progress.seconds)
            save_checkpoint(accelerator, checkpoint)
    log.read()
    if watch and progress.step % config.save_every:
        with average.in_place(weights):
            watch.save(progress.step, progress.seconds)
    save_checkpoint(accelerator, checkpoint)
    average.copy_to(weights)
    if watch:
        watch.end()


def _accelerator(config: TrainConfig):
    accelerate = lazy_import("accelerate")
    accelerator = accelerate.Accelerator(
        mixed_precision=config.precision,
        gradient_accumulation_steps=config.accumulate,
        # An endless dataset draws its own samples in every process, so none has to wait for the first one.
        dataloader_config=accelerate.DataLoaderConfiguration(dispatch_batches=False),
    )
    accelerate.utils.set_seed(config.seed, device_specific=True)
    return accelerator


def _loader(
    dataset: torch.utils.data.Dataset, config: TrainConfig, collate: Callable | None
) -> tuple[torch.utils.data.DataLoader, EndlessOrder | None]:
    """The loader and the order that it follows; None for a stream, which has its own."""
    is_stream = isinstance(dataset, torch.utils.data.IterableDataset)
    order = None if is_stream else EndlessOrder(len(cast(Sized, dataset)), config.batch, config.seed)
    loader = torch.utils.data.DataLoader(
        dataset,
        order.batch if order else config.batch,
        sampler=order,
        collate_fn=collate,
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
        drop_last=True,
    )
    return loader, order


class TrainLog:
    """Reads the losses of steps only before progress lines and saves, since each read waits for the device; passes them to
    `on_step`, and reports their mean and the speed."""

    def __init__(
        self,
        config: TrainConfig,
        processes: int,
        report: Callable[[str], None],
        on_step: Callable[[TrainStep], None],
    ) -> None:
        self._config, self._report, self._on_step = config, report, on_step
        self._images = config.log_every * config.batch * config.accumulate * processes
        self._since, self._losses = time.monotonic(), []
        self._samples: list[str] = []
        self._skipped: list[str] = []
        self._unread: list[tuple[torch.Tensor, TrainStep]] = []

    def see(self, batch: Any) -> None:
        """Note the samples of a batch of the next step."""
        if isinstance(batch, Mapping):
            self._samples += batch.get("ids", ())
            self._skipped += batch.get("skipped", ())

    def step(self, step: int, done: float, loss: torch.Tensor, rate: float) -> None:
        """Record a step. Raises Diverged."""
        taken = TrainStep(step, math.nan, rate, tuple(self._samples), tuple(self._skipped))
        self._unread.append((loss, taken))
        self._samples, self._skipped = [], []
        if step % self._config.log_every and step % self._config.save_every:
            return
        self.read()
        if step % self._config.log_every:
            return
        speed = self._images / max(time.monotonic() - self._since, 1e-3)  # clocks may stand still for 16 ms
        self._report(f"step {step} ({done:.0%}) loss {statistics.fmean(self._losses):.5f} {speed:.0f} images/s")
        self._since, self._losses = time.monotonic(), []

    def read(self) -> None:
        """Read the losses of all steps not read yet. Raises Diverged for one that is not a number."""
        unread, self._unread = self._unread, []
        losses = torch.stack([loss for loss, _ in unread]).tolist() if unread else []
        for (_, taken), loss in zip(unread, losses):
            if not math.isfinite(loss):
                raise Diverged(taken.step - 1, taken.samples, "is not a number")
            self._losses.append(loss)
            self._on_step(replace(taken, loss=loss))


def fraction_done(progress: TrainState, config: TrainConfig) -> float:
    """The share of the run that is done, 0…1 and above, by steps or by the clock."""
    return max(progress.step / config.steps, progress.seconds / 60 / config.minutes if config.minutes else 0)


def mean_across_processes(accelerator, value: float) -> float:
    """The mean over all processes: their clocks differ, and one that stopped a step early would leave the others waiting."""
    if accelerator.num_processes == 1:
        return value
    return accelerator.reduce(torch.tensor(value, device=accelerator.device), "mean").item()


def lr_factor(step: int, done: float, config: TrainConfig) -> float:
    """The factor on the learning rate: rises over `warmup` steps, stays level, then falls linearly to 1%."""
    down = max(0.0, (done - config.decay_from) / (1 - config.decay_from)) if config.decay_from < 1 else 0.0
    return min(1.0, (step + 1) / max(1, config.warmup)) * (1 - 0.99 * down)


def endless(loader):
    while True:
        yield from loader


def save_checkpoint(accelerator, folder: Path) -> None:
    """Write a checkpoint next to the old one, then replace that, so that a killed run always finds a whole one."""
    accelerator.wait_for_everyone()
    fresh = _fresh_of(folder)
    accelerator.save_state(str(fresh))
    accelerator.wait_for_everyone()  # every process writes its own random state to it
    if accelerator.is_main_process:
        (fresh / COMPLETE).touch()
    finish_checkpoint(accelerator, folder)


def finish_checkpoint(accelerator, folder: Path) -> None:
    """Move a complete checkpoint into place, including one left by a run that was killed just before."""
    fresh = _fresh_of(folder)
    if accelerator.is_main_process and (fresh / COMPLETE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        move(fresh, folder)
    accelerator.wait_for_everyone()


def _fresh_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.part")


def keep_trained_weights_only(accelerator) -> None:
    """Have checkpoints hold only the trained weights and the buffers next to them, not the frozen model. Older ones, which hold
    everything, can still be read."""

    def save(models: list[nn.Module], weights: list[dict], folder: str) -> None:
        if accelerator.is_main_process:
            for number, model in enumerate(models):
                save_once(trained_tensors(accelerator.unwrap_model(model)), Path(folder) / TRAINED.format(number))
        weights.clear()  # nothing is left for accelerate to write

    def load(models: list[nn.Module], folder: str) -> None:
        if not (Path(folder) / TRAINED.format(0)).is_file():
            return
        for number, model in enumerate(models):
            tensors = lazy_import("safetensors.torch").load_file(Path(folder) / TRAINED.format(number))
            accelerator.unwrap_model(model).load_state_dict(tensors, strict=False)
        models.clear()

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def trained_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights that require gradients, and the buffers of the modules that have such weights, by name."""
    state, found = model.state_dict(), {}
    for name, part in model.named_modules():
        if any(weight.requires_grad for weight in part.parameters(recurse=False)):
            frozen = {key for key, weight in part.named_parameters(recurse=False) if not weight.requires_grad}
            names = [*dict(part.named_parameters(recurse=False)), *dict(part.named_buffers(recurse=False))]
            found |= {f"{name}.{key}".lstrip("."): None for key in names if key not in frozen}
    return {name: state[name].contiguous() for name in found if name in state}


def save_once(tensors: dict[str, torch.Tensor], path: Path, header: dict[str, str] | None = None) -> None:
    """Save tensors to a file, those that share memory only once; see `save_tensors`."""
    places: dict[int, str] = {}
    alone = {name: tensor for name, tensor in tensors.items() if places.setdefault(tensor.data_ptr(), name) == name}
    save_tensors(alone, path, header or {})


class TrainState:
    """How far a run has progressed."""

    def __init__(self) -> None:
        self.step, self.seconds = 0, 0.0

    def state_dict(self) -> dict:
        return vars(self).copy()

    def load_state_dict(self, state: dict) -> None:
        vars(self).update(state)


def _silent(said: object) -> None:
    pass


@contextmanager
def main_process_first() -> Iterator[bool]:
    """True in the process that writes; the others follow when it is done."""
    state = lazy_import("accelerate").PartialState()
    with state.main_process_first():
        yield state.is_main_process


def write_json(path: Path, data: dict) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
