"""The files that full fine-tuning of an editor keeps next to it: a record and a report, as for a LoRA, and the best weights so far.

OUT/training/
  training.json       the record: settings, pairs, losses, saves, which is the best and why
  report.html         the same as a page
  best.safetensors    the trained weights at the save with the lowest held-out loss; the header says which save that is
  previews/           held-out pairs, edited at every save
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..editors.loading import edit_with
from ..errors import RethinkError, lazy_import
from ..progress import format_count
from .best_save import Save
from .instruct_pix2pix import InstructPix2PixLoss, as_editor
from .lora_pairs import LoraPair, generator_of
from .lora_previews import Previewer, Previews
from .lora_progress import peak_memory
from .lora_report import write_report
from .lora_run import LoraRecord, LoraRun
from .loss_watch import EXPLOSION_FACTOR, Diverged, LossWatch
from .pair_dataset import PairCollator, PairSamples
from .text_conditions import tokenizers_of
from .train_loop import TrainStep, save_once, trained_tensors
from .trainable_parts import make_trainable

FOLDER, BEST = "training", "best.safetensors"
SHARE, MOST = 0.1, 64  # share of the pairs to hold out, and the most: each is measured at every save
PREVIEWS = 2


class EditorWatch:
    """Measures every save of a full fine-tune on held-out pairs, and restores the best weights at the end.

    record: what is known before training begins. resolution: of the squares that the held-out loss is measured on.
    """

    def __init__(
        self,
        model: InstructPix2PixLoss,
        pipe: Any,
        held_out: Sequence[LoraPair],
        record: LoraRecord,
        out: Path,
        resolution: int,
    ):
        self._model, self._pipe, self._held_out = model, pipe, held_out
        self._run = LoraRun(out / FOLDER)
        self._record = replace(record, held_out=tuple(pair.id for pair in held_out))
        self._samples = PairSamples(held_out, resolution, at_random=False)
        self._skipped: dict[str, None] = {}
        self._losses: list[float] = []
        self._lowest = math.inf  # loss on held-out pairs so far
        self._step_samples = record.settings["batch"] * record.settings["accumulate"]
        self._loss_watch = LossWatch(self._step_samples)
        self._kept = 0  # the step of the save whose weights are kept
        self._previewer = Previewer(self._run, self._open_editor(), held_out[:PREVIEWS])

    @property
    def record(self) -> LoraRecord:
        return self._record

    def go_on(self, step: int) -> None:
        """Continue the record up to that step; at the very beginning, edit the previews with the untrained editor."""
        self._run.folder.mkdir(parents=True, exist_ok=True)
        known = self._run.read_record() if step else None
        if known:
            saves = tuple(save for save in known.saves if save.step <= step)
            rates = tuple(rate for rate in known.rates if rate[0] <= step)
            self._record = replace(known, saves=saves, rates=rates, steps=self._record.steps, stopped="")
            self._kept = self._read_kept() or step + 1
        self._losses = list(known.losses[:step]) if known else []
        if not step:
            self._preview(0)
        measured = [save.held_out for save in self._record.saves] if step else [self._held_out_loss()]
        self._lowest = min((loss for loss in measured if loss is not None), default=math.inf)
        self._loss_watch = LossWatch(self._step_samples, self._lowest * (1 + self._model.loss_config.edit_weight))

    def step(self, taken: TrainStep) -> None:
        self._loss_watch.look(taken.loss, taken.step - 1, taken.samples)
        self._losses.append(taken.loss)
        self._skipped |= dict.fromkeys(taken.skipped)
        if not self._record.rates or self._record.rates[-1][1] != taken.rate:
            self._record = replace(self._record, rates=(*self._record.rates, (taken.step, taken.rate)))

    def save(self, step: int, seconds: float) -> None:
        """Measure the current model, and keep the trained weights if they are the best so far."""
        held_out = self._held_out_loss()
        self._check(step, held_out)
        others = tuple(each for each in self._record.saves if each.step != step)
        before = others[-1].step if others else 0
        recent = statistics.fmean(self._losses[before:] or [0.0])
        previews = self._preview(step)
        save = Save(step, "", recent, held_out, previews.files, previews.scores)
        record = replace(
            self._record,
            step=step,
            seconds=seconds,
            skipped=tuple(dict.fromkeys([*self._record.skipped, *self._skipped])),
            losses=tuple(self._losses),
            saves=(*others, save),
            memory=max(self._record.memory, peak_memory(self._model.alphas.device)),
            preview_pairs=previews.pairs,
        )
        self._record = _choose_lowest(record, self._kept)
        if self._record.best == step:
            self._kept = step
            save_once(trained_tensors(self._model), self._run.folder / BEST, {"step": str(step)})
        self._run.write_record(self._record)
        write_report(self._run, self._record)

    def end(self) -> None:
        if self._record.best != self._record.step:
            self._load_best()

    def rescue(self, why: str) -> bool:
        if not self._record.saves or self._read_kept() != self._record.best:
            return False
        self._load_best()
        self._record = replace(self._record, stopped=why)
        self._run.write_record(self._record)
        write_report(self._run, self._record)
        return True

    def _check(self, step: int, held_out: float | None) -> None:
        """Raise Diverged if the editor is far worse on held-out pairs than before: its edits are not worth looking at."""
        if held_out is None:
            return
        if not math.isfinite(held_out):
            raise Diverged(step - 1, (), "on held-out pairs is not a number")
        if held_out > EXPLOSION_FACTOR * self._lowest:
            raise Diverged(
                step - 1, (), f"on held-out pairs has risen to {held_out / self._lowest:.0f} times its lowest"
            )
        self._lowest = min(self._lowest, held_out)

    def _load_best(self) -> None:
        tensors = lazy_import("safetensors.torch").load_file(self._run.folder / BEST)
        self._model.load_state_dict(tensors, strict=False)

    def _read_kept(self) -> int:
        """The step of the save whose weights are kept; 0 without one, and for files of older versions, which had only the U-Net."""
        best = self._run.folder / BEST
        if not best.is_file():
            return 0
        with lazy_import("safetensors").safe_open(best, framework="pt") as file:
            return int((file.metadata() or {}).get("step", 0))

    def _preview(self, step: int) -> Previews:
        editor = self._open_editor()
        with torch.random.fork_rng():
            previews = self._previewer.edit(editor, step)
        make_trainable(editor.module)
        return previews

    def _open_editor(self) -> Any:
        """The pipeline's parts as a new editor without any cached state."""
        return edit_with(as_editor(self._pipe), self._record.title)

    def _held_out_loss(self) -> float | None:
        """The mean loss over the held-out pairs, each with its own noise, which is the same at every save."""
        losses = [
            self._model.held_out_loss(*latents, generator_of("held out", pair.digest))
            for pair, latents in self._held_out_latents
        ]
        return statistics.fmean(losses) if losses else None

    @cached_property
    def _held_out_latents(self) -> list[tuple[LoraPair, tuple[Tensor, Tensor, Tensor]]]:
        """The readable held-out pairs, with the latents of source and target, and tokens. They are read once, so that all saves are
        measured on the same pairs, whatever happens to the files."""
        collate, device = PairCollator(tokenizers_of(self._pipe)), self._model.alphas.device
        found = []
        for pair in self._held_out:
            try:
                opened = pair.images()
            except RethinkError:
                self._skipped[pair.id] = None
                continue
            batch = collate([self._samples.sample(pair, opened)])
            images, tokens = [batch[name].to(device) for name in ("source", "edited")], batch["tokens"].to(device)
            with torch.no_grad():
                source, edited = (self._model.encode(image) for image in images)
            found.append((pair, (source, edited, tokens)))
        return found


def _choose_lowest(record: LoraRecord, kept: int = 0) -> LoraRecord:
    """The record with the save of the lowest held-out loss as the best; for a whole editor, only one save is kept.

    kept: the step of the best save so far; the weights of older saves no longer exist.
    """
    losses = {save.step: save.held_out for save in record.saves if save.held_out is not None}
    if not losses:
        return replace(record, best=record.step, why="the newest, since there are too few pairs to hold any out")
    best = min((step for step in losses if step >= kept or step == record.step), key=lambda step: losses[step])
    saves, pairs = format_count(len(losses), "save"), format_count(record.measured_pairs, "held-out pair")
    why = f"the lowest loss of {saves} on {pairs} ({losses[best]:.5f})"
    gone = "; the weights of a better save are gone" if losses[best] > min(losses.values()) else ""
    return replace(record, best=best, why=why + gone)
