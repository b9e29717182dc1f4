"""What a training of a whole editor keeps beside it: the record and the report that a LoRA has too, and the best weights so far.

OUT/training/
  training.json       the record: settings, pairs, losses, saves, which is the best and why
  report.html         the same to look at
  best.safetensors    the U-Net of the save with the lowest held-out loss, until training is over
  previews/           held-out pairs by every save
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..editors.loading import edit_with
from ..errors import lazy_import
from .best_save import Save
from .edit_model import make_trainable
from .instruct_pix2pix import InstructPix2PixLoss, as_editor
from .lora_pairs import LoraPair, generator_of
from .lora_previews import Previewer, Previews
from .lora_progress import peak_memory
from .lora_report import write_report
from .lora_run import LoraRecord, LoraRun
from .pair_dataset import PairSamples, make_collate_fn
from .text_conditions import tokenizers_of
from .train_loop import save_tensors

FOLDER, BEST = "training", "best.safetensors"
SHARE, MOST = 0.1, 64  # of the pairs that are held out, and how many at most: each is measured at every save
PREVIEWS = 2


class EditorWatch:
    """Measures every save of a full fine-tune on held-out pairs, and puts the best weights back when it is over.

    record: what is known before it begins. resolution: of the squares that the held-out loss is measured on.
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
        self._losses: list[Tensor | float] = []
        self._previewer = Previewer(self._run, self._open_editor(), held_out[:PREVIEWS])

    @property
    def record(self) -> LoraRecord:
        return self._record

    def go_on(self, step: int) -> None:
        """With what was recorded up to that step; at the beginning, the editor as it is edits the previews."""
        self._run.folder.mkdir(parents=True, exist_ok=True)
        known = self._run.read_record() if step else None
        if known:
            saves = tuple(save for save in known.saves if save.step <= step)
            rates = tuple(rate for rate in known.rates if rate[0] <= step)
            self._record = replace(known, saves=saves, rates=rates, steps=self._record.steps, stopped="")
        self._losses = list(known.losses[:step]) if known else []
        if not step:
            self._preview(0)

    def step(self, step: int, loss: Tensor, rate: float) -> None:
        self._losses.append(loss)
        if not self._record.rates or self._record.rates[-1][1] != rate:
            self._record = replace(self._record, rates=(*self._record.rates, (step, rate)))

    def save(self, step: int, seconds: float) -> None:
        """Measure the model as it is; keep its U-Net where it is the best so far."""
        self._losses = [float(loss) for loss in self._losses]
        before = self._record.saves[-1].step if self._record.saves else 0
        recent = statistics.fmean(self._losses[before:] or [0.0])
        previews = self._preview(step)
        save = Save(step, "", recent, self._held_out_loss(), previews.files, previews.scores)
        others = tuple(each for each in self._record.saves if each.step != step)
        record = replace(
            self._record,
            step=step,
            seconds=seconds,
            losses=tuple(self._losses),
            saves=(*others, save),
            memory=max(self._record.memory, peak_memory(self._model.alphas.device)),
            preview_pairs=previews.pairs,
        )
        self._record = _choose_lowest(record)
        if self._record.best == step:
            save_tensors(self._model.unet.state_dict(), self._run.folder / BEST)
        self._run.write_record(self._record)
        write_report(self._run, self._record)

    def end(self) -> None:
        best = self._run.folder / BEST
        if self._record.best != self._record.step and best.is_file():
            self._model.unet.load_state_dict(lazy_import("safetensors.torch").load_file(best), strict=False)
        best.unlink(missing_ok=True)

    def _preview(self, step: int) -> Previews:
        editor = self._open_editor()
        with torch.random.fork_rng():
            previews = self._previewer.edit(editor, step)
        make_trainable(editor.module)
        return previews

    def _open_editor(self) -> Any:
        """The parts as an editor that remembers nothing of what they were."""
        return edit_with(as_editor(self._pipe), self._record.title)

    def _held_out_loss(self) -> float | None:
        """The mean over the held-out pairs, each with its own noise, the same at every save."""
        collate, device = make_collate_fn(tokenizers_of(self._pipe)), self._model.alphas.device
        losses = []
        for index, pair in enumerate(self._held_out):
            batch = {name: value.to(device) for name, value in collate([self._samples[index]]).items()}
            losses.append(self._model.held_out_loss(batch, generator_of("held out", pair.digest)))
        return statistics.fmean(losses) if losses else None


def _choose_lowest(record: LoraRecord) -> LoraRecord:
    """With the save of the lowest held-out loss as the best: of a whole editor only one can be kept."""
    losses = {save.step: save.held_out for save in record.saves if save.held_out is not None}
    if not losses:
        return replace(record, best=record.step, why="the newest, as there are too few pairs to hold some out")
    best = min(losses, key=lambda step: losses[step])
    count = len(record.held_out)
    return replace(
        record, best=best, why=f"the lowest loss on {count} held-out pairs, {losses[best]:.5f}, of {len(losses)} saves"
    )
