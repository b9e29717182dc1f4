"""Trains a LoRA that does an edit, from pairs, for any editor that shows its denoiser.

Two stages: the pairs are brought into latents once (`example_cache`), then the denoiser alone works. Whatever is drawn for a
step is a function of the seed and the step's number, so a run that goes on ends with the weights of one that was never cut off.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..atomic import atomic_write
from ..errors import RethinkError, is_out_of_memory
from ..images import save_image
from ..progress import JobProgress, OnProgress, eta
from .edit_model import EditModel, Example, join_examples, make_trainable
from .example_cache import ExampleCache
from .lora_pairs import BatchOrder, LoraPair, digest_of, generator_of, split_pairs
from .lora_report import write_report
from .lora_run import LoraRecord, LoraRun, Save, file_header, write_lora_file
from .lora_settings import KEEP, LoraSettings
from .replay import EVERYDAY_EDITS, make_replay
from .trainable_lora import TrainableLora

if TYPE_CHECKING:
    from ..editors.protocol import LoraReport

EXPLOSION_STEPS, EXPLOSION_FACTOR = 10, 10.0
GOOD_EVERY = 10  # steps between copies of weights that are known to be good


@dataclass(frozen=True)
class TrainReport:
    """output: the LoRA. record: what was done. folder: of the run. check: what the pack's loader says of the file."""

    output: Path
    record: LoraRecord
    folder: Path
    check: LoraReport

    def __str__(self) -> str:
        record, check = self.record, self.check
        lines = [
            f"{self.output}: {check.matched} of {check.matched + len(check.unmatched)} layers fit.",
            f"The LoRA of step {record.best} of {record.step}: {record.why}.",
            f"Learned from {record.pairs - len(record.held_out)} pairs; all saves and the report: {self.folder}",
        ]
        return "\n".join(lines + ([f"Stopped early: {record.stopped}"] if record.stopped else []))


class LoraTraining:
    """One run of a job."""

    def __init__(
        self,
        settings: LoraSettings,
        output: Path,
        folder: Path,
        model: EditModel,
        pairs: Sequence[LoraPair],
        layers: dict[str, torch.nn.Module],
        on_progress: OnProgress,
    ):
        self.settings, self.output, self.model, self.on_progress = settings, output, model, on_progress
        self.training, self.held_out = split_pairs(pairs, settings.hold_out)
        self.steps = settings.count_steps(len(self.training))
        self.save_every = settings.save_every or max(1, math.ceil(self.steps / 10))
        self.device = model.editor.device
        self.lora = TrainableLora(layers, settings.rank, settings.seed % 2**63, self.device)
        self.optimizer = torch.optim.AdamW(self.lora.parameters(), settings.learning_rate, weight_decay=0.01)
        identity = [settings.as_record(), digest_of(pairs), model.identity, sorted(layers)]
        name = hashlib.blake2b(json.dumps(identity).encode(), digest_size=4).hexdigest()
        self.cache = ExampleCache(folder / "cache", model)
        self.newest: Tensor | None = None  # the first held-out input and its newest edit, as one IMAGE
        self.run_folder = LoraRun(folder / f"{output.stem}-{name}")
        self.record = LoraRecord(
            title=output.stem,
            settings=settings.as_record(),
            editor=model.editor.name,
            family=model.editor.family.id,
            pairs=len(pairs),
            held_out=tuple(pair.id for pair in self.held_out),
            data=digest_of(pairs),
            layers=len(layers),
        )

    def run(self) -> TrainReport:
        """Both stages, from the beginning or from the newest state."""
        self.run_folder.folder.mkdir(parents=True, exist_ok=True)
        self.record = self.run_folder.read_state(self.lora, self.optimizer) or self.record
        self.record = replace(self.record, stopped="")
        if self.record.step < self.steps:
            self.encode_all()
            try:
                self._train()
            except Diverged as error:
                self._keep_good(str(error))
                raise RethinkError(f"{error} What was good is kept: {self.output}.") from None
            except BaseException as error:  # ComfyUI's Cancel is none of Exception
                if not (isinstance(error, RuntimeError) and is_out_of_memory(error)):
                    self._keep_newest(f"{type(error).__name__} at step {self.record.step}")
                raise
        return self._publish()

    # ── stage one ────────────────────────────────────────────────────────────────────────────────────────────────────

    def encode_all(self) -> None:
        """Stage one: pairs and replay in latents, what is there already as it is."""
        pairs = [*self.training, *self.held_out]
        every = KEEP[self.settings.keep]
        total = len(pairs) + (self.settings.replay if every else 0)

        def report(done: int) -> None:
            self.on_progress(JobProgress(done, total, f"{done} of {total} pairs in latents"))

        keys = []
        for pair in pairs:
            keys.append(self.cache.ensure(pair.digest, lambda pair=pair: self._encode(pair)))
            if len(keys) == 1:
                self._check_room(self.cache.size(keys[0]) * total)
            report(len(keys))
        self.keys, self.held_out_keys = keys[: len(self.training)], keys[len(self.training) :]
        self.replay_keys: list[str] = []
        if every:
            texts = self.settings.keep_instructions or EVERYDAY_EDITS
            seed, count = self.settings.seed, self.settings.replay
            self.replay_keys = make_replay(
                self.model, self.training, texts, count, self.cache, seed, lambda done: report(len(pairs) + done)
            )
        self.order = self._order(self.keys)
        self.replay_order = self._order(self.replay_keys)

    def _order(self, keys: Sequence[str]) -> BatchOrder:
        return BatchOrder([self.cache.load(key).shapes for key in keys], self.settings.batch, self.settings.seed)

    def _encode(self, pair: LoraPair) -> Example:
        try:
            return self.model.encode(*pair.images(), pair.instruction)
        except RethinkError as error:
            raise RethinkError(f"pairs: {pair.id}: {error}") from error

    def _check_room(self, examples: int) -> None:
        weights = sum(weight.numel() * 4 for weight in self.lora.parameters())
        needed = examples + weights * (4 + self.steps // self.save_every)  # the state holds three, the output is one
        free = shutil.disk_usage(self.run_folder.folder).free
        if needed > free:
            raise RethinkError(
                f"folder: {self.run_folder.folder} needs about {needed / 2**30:.1f} GiB for latents and LoRAs, and the disk has "
                f"{free / 2**30:.1f} GiB left; free some, or choose a folder on another disk."
            )

    # ── stage two ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _train(self) -> None:
        watch = LossWatch()
        self.good = self.lora.factors()
        started = time.monotonic() - self.record.seconds
        while self.record.step < self.steps:
            until = min(self.steps, (self.record.step // self.save_every + 1) * self.save_every)
            on_card = self.model.less_memory() if self.device.type != "cpu" else nullcontext()
            with self._denoiser_alone(), self.model.computing(self.settings.batch), self.lora.attached(), on_card:
                while self.record.step < until:
                    loss, ids = self.step(self.record.step)
                    watch.look(loss, self.record.step, ids)
                    self.record = replace(
                        self.record, losses=(*self.record.losses, loss), seconds=time.monotonic() - started
                    )
                    if watch.calm and self.record.step % GOOD_EVERY == 0:
                        self.good = self.lora.factors()
                    self._report_step()
            self._save()

    def step(self, step: int) -> tuple[float, list[str]]:
        """One optimizer step → (mean loss, the pairs it was of). What is drawn follows from the seed and the step alone."""
        generator = generator_of("step", self.settings.seed, step)
        losses, ids = [], []
        for part in range(self.settings.accumulate):
            chosen = self.order.batch(step * self.settings.accumulate + part)
            loss = self.loss(self.load_batch([self.keys[index] for index in chosen]), generator)
            (loss / self.settings.accumulate).backward()
            losses.append(loss.detach())
            ids += [self.training[index].id for index in chosen]
        if self.replay_keys and step % KEEP[self.settings.keep] == 0:
            chosen = self.replay_order.batch(step)
            self.drift(self.load_batch([self.replay_keys[index] for index in chosen]), generator).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.lora.parameters(), 1.0)
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean + float(norm)):
            raise Diverged(step, ids, "is not a number")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return mean, ids

    def load_batch(self, keys: Sequence[str]) -> Example:
        """Examples of the same sizes as one batch, on the device."""
        return join_examples([self.cache.load(key) for key in keys]).to(self.device)

    def loss(self, batch: Example, generator: torch.Generator) -> Tensor:
        """The mean squared error of the denoiser's answers, in float32."""
        noisy, times, epsilon = self._add_noise(batch, generator)
        answer = self.model.predict(noisy, times, self.model.drop_conditions(batch, generator))
        return (answer - self.model.noise.target(batch.target, epsilon, times)).square().mean()

    def drift(self, batch: Example, generator: torch.Generator) -> Tensor:
        """How far the denoiser's answers are from those without the LoRA, mean squared."""
        noisy, times, _ = self._add_noise(batch, generator)
        with torch.no_grad(), self.lora.off():
            base = self.model.predict(noisy, times, batch)
        return (self.model.predict(noisy, times, batch) - base).square().mean()

    def _add_noise(self, batch: Example, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(noisy targets, their times, the noise in them), drawn on the CPU, so that every device draws the same."""
        noise = self.model.noise
        times = noise.draw_times(len(batch.target), generator, batch.tokens)
        epsilon = torch.randn(batch.target.shape, generator=generator).to(self.device)
        return noise.add_noise(batch.target, epsilon, times), times, epsilon

    @torch.no_grad()
    def _held_out_loss(self) -> float | None:
        """Over the held-out pairs, each at the same times with the same noise every time."""
        if not self.held_out_keys:
            return None
        losses = []
        with self._denoiser_alone(), self.model.computing(self.settings.batch), self.lora.attached():
            for pair, key in zip(self.held_out, self.held_out_keys):
                one = self.load_batch([key])
                times = self.model.noise.fixed_times(one.tokens)
                shape = (len(times), *one.target.shape[1:])
                epsilon = torch.randn(shape, generator=generator_of("held out", pair.digest)).to(self.device)
                for index in range(0, len(times), self.settings.batch):
                    part = slice(index, index + self.settings.batch)
                    batch = join_examples([one] * len(times[part]))
                    noisy = self.model.noise.add_noise(batch.target, epsilon[part], times[part])
                    answer = self.model.predict(noisy, times[part], batch)
                    target = self.model.noise.target(batch.target, epsilon[part], times[part])
                    losses += (answer - target).square().flatten(1).mean(1).tolist()
        return statistics.fmean(losses)

    @contextmanager
    def _denoiser_alone(self) -> Iterator[None]:
        """Within it the encoders, whose work is done, leave the card to the denoiser."""
        others = [
            part for name, part in self.model.editor.module.named_children() if name != self.model.editor.denoiser_name
        ]
        moved = [part for part in others if self.device.type != "cpu" and _is_movable(part, self.device)]
        for part in moved:
            part.to("cpu")
        try:
            yield
        finally:
            for part in moved:
                part.to(self.device)

    def _report_step(self) -> None:
        record = self.record
        seconds = max(1e-3, record.seconds)
        measured = [save.held_out for save in record.saves if save.held_out is not None]
        held_out = f" · held-out {measured[-1]:.4f}" if measured else ""
        speed = record.step * self.settings.batch * self.settings.accumulate / seconds
        line = (
            f"step {record.step} of {self.steps} · loss {statistics.fmean(record.losses[-20:]):.4f}{held_out} · "
            f"{speed:.1f} samples/s · {eta(record.step, self.steps - record.step, seconds)} left"
        )
        self.on_progress(JobProgress(record.step, self.steps, line, lambda: self.newest))

    # ── what is kept ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _save(self) -> None:
        """The LoRA of this step, measured, loaded again, tried on held-out pairs; then the state, which makes it count."""
        path, step = self._write_lora(), self.record.step
        previews = self._preview(path, step)
        recent = statistics.fmean(self.record.losses[-self.save_every :])
        save = Save(step, self.run_folder.relative(path), recent, self._held_out_loss(), previews)
        others = tuple(each for each in self.record.saves if each.step != step)
        self.record = replace(self.record, saves=(*others, save)).choose_best()
        self.run_folder.write_state(self.lora, self.optimizer, self.record)
        self._write_record()

    def _write_lora(self) -> Path:
        path = self.run_folder.save_path(self.record.step)
        dtype = self.model.dtype
        header = file_header(self.record, self.model.row, self.settings.rank, self.training)
        write_lora_file(path, self.model.row, self.lora, dtype, header)
        return path

    def _preview(self, path: Path, step: int) -> tuple[str, ...]:
        """Edits of the first held-out pairs by the file as it is loaded, and once by the base editor."""
        editor, report = self.model.editor.with_lora(path, 1.0)
        if report.unmatched:
            raise RethinkError(f"lora: {report} This is a fault of Rethink; please report it.")
        files = []
        for number, pair in enumerate(self.held_out[: self.settings.previews]):
            image = pair.images()[0]
            for by, at in ((self.model.editor, 0), (editor, step)):
                file = self.run_folder.preview_path(at, number)
                if at or not file.is_file():
                    edited = by.edit(by.prepare(image), [pair.instruction], [number])
                    save_image(edited, file)
                    self.newest = self.newest if number else torch.cat([image, edited], 2)
            files.append(self.run_folder.relative(file))
        make_trainable(self.model.editor.module)
        return tuple(files)

    def _keep_newest(self, why: str) -> None:
        """After a cancel: the newest weights as a LoRA and as the state to go on from; the best as the output."""
        if not self.record.step:
            return
        with suppress(OSError, RethinkError):
            self.optimizer.zero_grad(set_to_none=True)
            path = self._write_lora()
            if self.record.step not in [save.step for save in self.record.saves]:
                newest = Save(self.record.step, self.run_folder.relative(path), self.record.losses[-1], None)
                self.record = replace(self.record, saves=(*self.record.saves, newest))
            self.record = replace(self.record.choose_best(), stopped=why)
            self.run_folder.write_state(self.lora, self.optimizer, self.record)
            self._publish()

    def _keep_good(self, why: str) -> None:
        """After the loss has exploded: the last good weights as one more LoRA; the state stays the last whole one's."""
        self.lora.load_factors(self.good)
        with suppress(OSError, RethinkError):
            if any(save.step == self.record.step for save in self.record.saves):  # it is good, and measured
                self.record = replace(self.record, stopped=why)
                self._publish()
                return
            path = self._write_lora()
            good = Save(
                self.record.step,
                self.run_folder.relative(path),
                self.record.losses[-1] if self.record.losses else 0.0,
                None,
            )
            self.record = replace(self.record, saves=(*self.record.saves, good), stopped=why).choose_best()
            self._publish()

    def _publish(self) -> TrainReport:
        """The best LoRA of all saves under the name that was chosen; the report beside the run."""
        best = next(save for save in self.record.saves if save.step == self.record.best)
        with atomic_write(self.output) as part:
            shutil.copyfile(self.run_folder.folder / best.file, part)
        self._write_record()
        _, check = self.model.editor.with_lora(self.output, 1.0)
        return TrainReport(self.output, self.record, self.run_folder.folder, check)

    def _write_record(self) -> None:
        self.run_folder.write_record(self.record)
        write_report(self.run_folder, self.record, self.held_out[: self.settings.previews])


def _is_movable(part: torch.nn.Module, device: torch.device) -> bool:
    """Whether it lies on the device as a whole, and nothing else moves it."""
    first = next(part.parameters(), None)
    hooked = hasattr(part, "_hf_hook") or getattr(part, "is_quantized", False)
    return first is not None and first.device == device and not hooked


class LossWatch:
    """Sees from the losses of the steps that a training explodes: the mean of some steps is many times the lowest there was.

    calm: whether the last steps were as they should be.
    """

    def __init__(self) -> None:
        self.calm = True
        self._recent: list[float] = []
        self._lowest = math.inf

    def look(self, loss: float, step: int, pairs: Sequence[str]) -> None:
        """Take note of a step's loss. Raises Diverged."""
        self._recent = [*self._recent, loss][-EXPLOSION_STEPS:]
        if len(self._recent) < EXPLOSION_STEPS:
            return
        mean = statistics.fmean(self._recent)
        self._lowest = min(self._lowest, mean)
        self.calm = mean < EXPLOSION_FACTOR / 2 * self._lowest
        if mean > EXPLOSION_FACTOR * self._lowest:
            raise Diverged(step, pairs, f"has risen to {mean / self._lowest:.0f} times its lowest")


class Diverged(RethinkError):
    """The loss is no longer one."""

    def __init__(self, step: int, pairs: Sequence[str], what: str):
        named = ", ".join(dict.fromkeys(pairs))
        super().__init__(
            f"learning_rate: the loss {what} at step {step + 1}, with the pairs {named}. Try a tenth of the learning rate, then a "
            "larger batch; look at those pairs; load the editor with bf16 or fp32."
        )
