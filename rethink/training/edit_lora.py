"""Trains an edit LoRA on pairs, for any editor that exposes its denoiser.

There are two stages: the pairs are encoded to latents once (`lora_examples`), then only the denoiser runs. Everything random in a
step depends only on the seed and the step's number, so a resumed run ends with the same weights as an uninterrupted one.
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
from dataclasses import replace
from pathlib import Path

import torch

from ..errors import RethinkError, is_out_of_memory, lazy_import
from ..progress import JobProgress, OnProgress, format_bytes
from ..thinkers.critique import Thinker
from .best_save import Save
from .edit_model import EditModel
from .lora_examples import LoraExamples
from .lora_objective import LoraObjective
from .lora_pairs import LoraPair, digest_of, generator_of
from .lora_previews import Previewer, Previews
from .lora_progress import TrainProgress, describe_step, peak_memory
from .lora_run import LoraRecord, LoraRun
from .lora_saves import LoraSaves, TrainReport
from .lora_settings import KEEP, OPTIMIZERS, LoraSettings
from .loss_watch import Diverged, LossWatch
from .preview_editor import PreviewEditor, check_preview_editor
from .process_group import ALONE, ProcessGroup
from .trainable_lora import TrainableLora
from .trainable_parts import make_trainable

GOOD_EVERY = 10  # steps between copies of weights that are known to be good


class LoraTraining:
    """One run of a job.

    preview: the editor for previews, to which the LoRA is applied; None: the model's own editor.
    losses: the mean loss of every step, from step 1 on; copied to the record whenever that is written.
    """

    def __init__(
        self,
        settings: LoraSettings,
        output: Path,
        folder: Path,
        model: EditModel,
        pairs: Sequence[LoraPair],
        on_progress: OnProgress,
        thinker: Thinker | None = None,
        processes: ProcessGroup = ALONE,
        preview: PreviewEditor | None = None,
    ):  # more than eight: what is trained on what, who watches, and who shares the work
        layers = model.layers(settings.layers, settings.rank)
        self.settings, self.model, self.output, self.on_progress = settings, model, output, on_progress
        self.processes = processes
        self.examples = LoraExamples(settings, model, pairs, folder / "cache", processes)
        self.steps = settings.count_steps(len(self.examples.training))
        self.save_every = settings.save_every or max(1, math.ceil(self.steps / 10))
        self.lora = TrainableLora(layers, settings.rank, settings.seed % 2**63, model.editor.device, settings.dropout)
        self.optimizer = make_optimizer(settings, self.lora)
        self.objective = LoraObjective(model, self.lora, settings.change_weight, settings.hold_outside)
        self.preview = preview or PreviewEditor(model.editor)
        if self.preview.is_other:
            check_preview_editor(self.preview.editor, model, self.lora)
        identity = [settings.as_record(), digest_of(pairs), model.identity, sorted(layers)]
        name = hashlib.blake2b(json.dumps(identity).encode(), digest_size=4).hexdigest()
        self.run_folder = LoraRun(folder / f"{output.stem}-{name}")
        self.saves = LoraSaves(self.run_folder, output, model, self.lora)
        shown = (self.examples.held_out or self.examples.training)[: settings.previews]
        words, by = settings.preview_instruction, self.preview.name
        self.previewer = Previewer(self.run_folder, self.preview.editor, shown, thinker, words, by)
        self.losses: list[float] = []
        self._mid_step = False  # whether some or all weights may already be those of the next step
        self.record = LoraRecord(
            title=output.stem,
            settings=settings.as_record(),
            editor=model.editor.name,
            family=model.editor.family.id,
            pairs=len(pairs),
            held_out=tuple(pair.id for pair in self.examples.held_out),
            data=digest_of(pairs),
            layers=len(layers),
            references=self.examples.most_references,
        )

    def run(self) -> TrainReport:
        """Run both stages, from the beginning or from the newest state. Of several processes, only the main one writes."""
        with self.run_folder.held() if self.processes.is_main else nullcontext():
            self.processes.wait()
            known = self.run_folder.read_state(self.lora, self.optimizer) or self.record
            self.record = replace(known, stopped="", steps=self.steps)
            self.losses = list(self.record.losses)
            save_anew = bool(known.stopped) and self._is_at_save
            is_done = self.record.step >= self.steps and not save_anew
            if not is_done:
                self.encode_all()
                self._train_to_the_end(save_anew)
            if self.processes.is_main:
                report = self.saves.publish(self.record)
                report = replace(report, note=self._note_of_previews() if is_done else "")
                self.processes.wait()
                return report
        self.processes.wait()
        return self.saves.report(self.run_folder.read_record() or self.record)

    def _note_of_previews(self) -> str:
        """For a run that was already finished: a note that a newly chosen preview editor does not make its previews again."""
        made_by = {save.preview_editor for save in self.record.saves if save.previews}
        if not (self.settings.previews and made_by) or made_by == {self.preview.name}:
            return ""
        wanted = self.preview.name or self.record.editor
        return (
            "The run was already finished, so its previews stay as they are; train more steps or choose another seed to have "
            f"{wanted} make them."
        )

    def _train_to_the_end(self, save_anew: bool) -> None:
        """save_anew: repeat the newest save, if the run was stopped perhaps before that was measured and previewed."""
        self.good = self.lora.factors()
        try:
            if save_anew:
                self._save()
            self._train()
        except Diverged as error:
            kept = self._keep_good(str(error))
            raise RethinkError(f"{error} The best weights so far are kept: {kept}.") from None
        except BaseException as error:  # ComfyUI's Cancel is not an Exception
            if not (isinstance(error, RuntimeError) and is_out_of_memory(error)):
                self._keep_newest(f"{type(error).__name__} at step {self.record.step}")
            raise

    def encode_all(self) -> None:
        """Run stage one."""

        def report(done: int, total: int) -> None:
            self.on_progress(JobProgress(done, total, f"{done} of {total} pairs encoded"))

        self.examples.encode_all(self._check_room, report)

    def _check_room(self, examples: int) -> None:
        weights = sum(weight.numel() * 4 for weight in self.lora.parameters())
        saves = (self.steps - self.record.step) // self.save_every
        needed = examples + weights * (4 + saves)  # three copies in the state, one in the output
        free = shutil.disk_usage(self.run_folder.folder).free
        if needed > free:
            raise RethinkError(
                f"folder: {self.run_folder.folder} needs about {format_bytes(needed)} for latents and LoRAs, but the disk has "
                f"{format_bytes(free)} left; free some space, or choose a folder on another disk."
            )

    # ── stage two ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _train(self) -> None:
        watch = LossWatch(self.settings.batch * self.settings.accumulate)
        started = time.monotonic() - self.record.seconds
        while self.record.step < self.steps:
            until = min(self.steps, (self.record.step // self.save_every + 1) * self.save_every)
            on_card = self.model.less_memory() if self.model.editor.device.type != "cpu" else nullcontext()
            with self.model.denoiser_alone(), self.model.computing(*self._batch_room), self.lora.attached(), on_card:
                while self.record.step < until:
                    loss, ids = self.step(self.record.step)
                    watch.look(loss, self.record.step, ids)
                    self.losses.append(loss)
                    self.record = replace(self.record, step=len(self.losses), seconds=time.monotonic() - started)
                    self._mid_step = False
                    if watch.calm and self.record.step % GOOD_EVERY == 0:
                        self.good = self.lora.factors()
                    self._report_step()
            self._save()

    def step(self, step: int) -> tuple[float, list[str]]:
        """Take an optimizer step → (mean loss, ids of its pairs).

        Everything random depends only on the seed, the step and the part of it. Several processes share the parts, and their
        gradients are summed, so that each takes the same step as a single process would.
        """
        parts = self.settings.accumulate
        loss = torch.zeros((), device=self.model.editor.device)
        for part in self.processes.share(parts):
            batch, _ = self.examples.batch(step * parts + part)
            with self._drawing("step", step, part) as generator:
                mean = self.objective.loss(batch, generator) / parts
                mean.backward()
            loss += mean.detach()
        every = KEEP[self.settings.keep]
        if self.examples.replay_keys and step % every == 0 and self.processes.rank == parts % self.processes.count:
            with self._drawing("replay", step) as generator:
                self.objective.drift(self.examples.replay_batch(step // every), generator).backward()
        self.processes.add_up([loss, *self._gradients()])
        norm = torch.nn.utils.clip_grad_norm_(self.lora.parameters(), 1.0)
        ids = [name for part in range(parts) for name in self.examples.ids(step * parts + part)]
        if not math.isfinite(float(loss) + float(norm)):
            raise Diverged(step, ids, "is not a number")
        self._mid_step = True
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss), ids

    def _gradients(self) -> list[torch.Tensor]:
        """The gradients of all weights, whichever parts this process computed."""
        if self.processes.count > 1:
            for weight in self.lora.parameters():
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        return [weight.grad for weight in self.lora.parameters() if weight.grad is not None]

    @contextmanager
    def _drawing(self, *names: object) -> Iterator[torch.Generator]:
        """A generator seeded by the seed and `names`; dropout, which takes no generator, draws from the global one."""
        generator = generator_of(self.settings.seed, *names)
        if not self.settings.dropout:
            yield generator
            return
        device = self.model.editor.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            yield generator

    def _report_step(self, phase: str = "") -> None:
        """phase: what is being done between steps."""
        if not self.processes.is_main:
            return
        rate = self.optimizer.param_groups[0]["lr"]
        if not self.record.rates or self.record.rates[-1][1] != rate:
            self.record = replace(self.record, rates=(*self.record.rates, (self.record.step, rate)))
        line = phase or describe_step(self.record, self.losses)
        self.on_progress(
            TrainProgress(
                *(self.record.step, self.steps, line, lambda: self.previewer.newest),
                record=self.record,
                losses=self.losses,
                folder=self.run_folder.folder,
                phase=phase,
            )
        )

    # ── what is kept ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _save(self) -> None:
        """Save the LoRA of this step, measure it, reload it and edit the previews; then write the state, which makes it count."""
        if not self.processes.is_main:
            self.processes.wait()
            return
        path = self._write_lora()
        with self.model.denoiser_alone(), self.model.computing(*self._batch_room), self.lora.attached():
            losses = tuple(self.objective.held_out_losses(self.examples, self.settings.batch))
        if not all(map(math.isfinite, losses)):
            raise Diverged(self.record.step - 1, [pair.id for pair in self.examples.held_out], "is not a number")
        recent = statistics.fmean(self.losses[-self.save_every :])
        previews = self._preview(path)
        memory = max(self.record.memory, peak_memory(self.model.editor.device))
        self.record = replace(self.record, preview_pairs=previews.pairs, memory=memory)
        held_out, file = statistics.fmean(losses) if losses else None, self.run_folder.relative(path)
        measured = previews.files, previews.scores, losses
        self._add_save(Save(self.record.step, file, recent, held_out, *measured, preview_editor=self.preview.name))
        self.run_folder.write_state(self.lora, self.optimizer, self.record)
        self.saves.write_record(self.record)
        self.processes.wait()

    def _preview(self, path: Path) -> Previews:
        """Edit the previews with a saved LoRA. If another editor makes them, the device is left to it."""
        changed = self.preview.with_lora(path)
        if self.preview.is_other:
            self.model.release()
        with self.preview.making_room() if self.settings.previews else nullcontext():
            previews = self.previewer.edit(changed, self.record.step, self._report_phase)
        make_trainable(self.model.editor.module)
        return previews

    def _report_phase(self, number: int) -> None:
        self._report_step(f"step {self.record.step} is saved; preview {number}")

    def _write_lora(self) -> Path:
        self.record = replace(self.record, losses=tuple(self.losses), skipped=tuple(self.examples.skipped))
        return self.saves.write_lora(self.record, self.examples.training)

    def _add_save(self, save: Save) -> None:
        others = tuple(each for each in self.record.saves if each.step != save.step)
        self.record = replace(self.record, saves=(*others, save)).choose_best()

    @property
    def _batch_room(self) -> tuple[int, int]:
        """(rows of a batch, most references of each), for which there must be room."""
        return self.settings.batch, self.examples.most_references

    @property
    def _is_at_save(self) -> bool:
        """Whether the LoRA is to be saved after the newest step."""
        step = self.record.step
        return step > 0 and (step == self.steps or step % self.save_every == 0)

    @property
    def _is_saved(self) -> bool:
        return any(save.step == self.record.step for save in self.record.saves)

    def _keep_newest(self, why: str) -> None:
        """After a cancel, keep the newest weights as a LoRA and as the state to resume from, and the best LoRA as the output. In
        the middle of a step, the weights are not valid, so the last written state stays."""
        if not (self.record.step and self.processes.is_main):
            return
        with suppress(OSError, RethinkError):
            self.optimizer.zero_grad(set_to_none=True)
            self.record = replace(self.record, stopped=why)
            if not self._mid_step:
                path = self._write_lora()
                if not self._is_saved:
                    self._add_save(Save(self.record.step, self.run_folder.relative(path), self.losses[-1], None))
                self.run_folder.write_state(self.lora, self.optimizer, self.record)
            if self.record.saves:
                self._publish_stopped()

    def _keep_good(self, why: str) -> Path:
        """After a loss explosion, save the last good weights as one more LoRA; the last complete state stays.
        → where the best LoRA is."""
        if not self.processes.is_main:
            return self.output
        self.lora.load_factors(self.good)
        with suppress(OSError, RethinkError):
            if not self._is_saved:  # otherwise it is good and measured
                path = self._write_lora()
                last = self.losses[-1] if self.losses else 0.0
                self._add_save(Save(self.record.step, self.run_folder.relative(path), last, None))
            self.record = replace(self.record, losses=tuple(self.losses), stopped=why)
            return self._publish_stopped()
        return self.run_folder.folder

    def _publish_stopped(self) -> Path:
        """Publish the best LoRA of a stopped run → where it is. It stays among the saves if the output name has a LoRA of another
        run and this one did not reach its first save."""
        if any(save.step % self.save_every == 0 for save in self.record.saves) or self.saves.is_name_free():
            return self.saves.publish(self.record).output
        self.saves.write_record(self.record)
        return self.run_folder.folder


def make_optimizer(settings: LoraSettings, lora: TrainableLora) -> torch.optim.Optimizer:
    """The optimizer that the settings name. Raises RethinkError if its package is not installed."""
    module, name = OPTIMIZERS[settings.optimizer]
    found = getattr(lazy_import(module), name)
    return found(lora.parameters(), lr=settings.learning_rate, weight_decay=0.01)
