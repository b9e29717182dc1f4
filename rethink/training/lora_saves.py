"""The saves of a LoRA training: each LoRA by its step, the best one under its chosen name."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import atomic_write
from ..errors import RethinkError, reason_of
from ..progress import format_count
from .edit_model import EditModel
from .lora_pairs import LoraPair
from .lora_report import write_report
from .lora_run import LoraRecord, LoraRun, file_header, write_lora_file
from .trainable_lora import TrainableLora

if TYPE_CHECKING:
    from ..editors.protocol import LoraReport


@dataclass(frozen=True)
class TrainReport:
    """output: the LoRA file. record: the training's. folder: the run's. check: the result of loading the file with this pack.
    too_small: layers that were not trained because they are smaller than the rank. note: one more sentence, or ""."""

    output: Path
    record: LoraRecord
    folder: Path
    check: LoraReport
    too_small: Sequence[str] = ()
    note: str = ""

    def __str__(self) -> str:
        record, check = self.record, self.check
        lines = [
            f"{self.output}: {check.matched} of {check.matched + len(check.unmatched)} layers fit.",
            f"The LoRA of step {record.best} of {record.step}: {record.why}.",
            f"Trained on {format_count(record.pairs - len(record.held_out), 'pair')}; all saves and the report are in {self.folder}",
        ]
        if self.too_small:
            lines.append(f"Layers not trained because they are smaller than the rank: {', '.join(self.too_small)}.")
        if record.preview_editors:
            lines.append(f"The previews were made by {record.preview_editors}.")
        if self.note:
            lines.append(self.note)
        if record.skipped:
            lines.append(f"Left out because their files are missing: {', '.join(record.skipped)}.")
        return "\n".join(lines + ([f"Stopped early: {record.stopped}"] if record.stopped else []))


class LoraSaves:
    """Writes the LoRAs of a run and publishes the best."""

    def __init__(self, run: LoraRun, output: Path, model: EditModel, lora: TrainableLora):
        self._run, self._output, self._model, self._lora = run, output, model, lora

    def write_lora(self, record: LoraRecord, pairs: Sequence[LoraPair]) -> Path:
        """Write the current LoRA to the saves. pairs: those it is trained on."""
        path = self._run.save_path(record.step)
        header = file_header(record, self._model.row, self._lora.rank, pairs)
        write_lora_file(path, self._model.row, self._lora, self._model.dtype, header)
        return path

    def is_name_free(self) -> bool:
        """Whether there is no LoRA under the chosen name yet, or one from this run."""
        own = (self._run.folder / "saves").glob("*.safetensors")
        return not self._output.exists() or any(filecmp.cmp(self._output, save, shallow=False) for save in own)

    def publish(self, record: LoraRecord) -> TrainReport:
        """Copy the best of all saved LoRAs to the chosen name, and write the record and the report."""
        best = next(save for save in record.saves if save.step == record.best)
        self.write_record(record)
        try:
            with atomic_write(self._output) as part:
                shutil.copyfile(self._run.folder / best.file, part)
        except OSError as error:
            raise RethinkError(
                f"output: {self._output} cannot be replaced ({reason_of(error)}); close the program that has it open, or free "
                f"some space. The LoRA itself is kept: {self._run.folder / best.file}"
            ) from error
        return self.report(record)

    def report(self, record: LoraRecord) -> TrainReport:
        """The report, with the result of loading the file with this pack."""
        _, check = self._model.editor.with_lora(self._output, 1.0)
        too_small = self._model.layers_too_small(record.settings["layers"], self._lora.rank)
        return TrainReport(self._output, record, self._run.folder, check, too_small)

    def write_record(self, record: LoraRecord) -> None:
        """Write the record and the HTML report."""
        self._run.write_record(record)
        write_report(self._run, record)
