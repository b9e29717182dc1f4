"""The job of training a whole InstructPix2Pix editor: from a folder of pairs to an editor's folder with a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import RethinkError
from ..model_files import snapshot_of
from ..options import check_limits, option
from .editor_run import FOLDER, MOST, SHARE, EditorWatch
from .instruct_pix2pix import SETTINGS, InstructPix2PixLoss, LossConfig, is_main_process, open_model, train
from .lora_pairs import digest_of, split_pairs
from .lora_run import REPORT, LoraRecord, LoraRun
from .pair_dataset import PairSamples, read_pair_folder
from .train_loop import TrainConfig


@dataclass(frozen=True)
class TrainEditorJob:
    """Train a whole editor. model: diffusers folder to start from. pairs: a store, or a folder with `metadata.jsonl`. output: the
    editor's folder; an interrupted run resumes from what is there. Raises RethinkError for a value out of range."""

    model: Path
    pairs: Path
    output: Path
    resolution: int = option(256, "Width and height in pixels (paper: 256).", low=32, high=8192)
    loss: LossConfig = field(default_factory=LossConfig)
    plan: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        check_limits(self)

    @property
    def report(self) -> Path:
        """The HTML report, written at every save."""
        return self.output / FOLDER / REPORT

    def run(self, report: Callable[[str], None] = print) -> None:
        """Train to the end. Raises RethinkError for a model or pairs that cannot be used, before any work."""
        self._check_output()
        pairs = read_pair_folder(self.pairs)
        training, held_out = split_pairs(pairs, min(SHARE, MOST / max(1, len(pairs))))
        pipe = open_model(self.model)
        record = LoraRecord(
            title=self.output.name,
            settings={**asdict(self.plan), **asdict(self.loss), "resolution": self.resolution},
            editor=self.model.name,
            family="InstructPix2Pix XL" if hasattr(pipe, "text_encoder_2") else "InstructPix2Pix",
            pairs=len(pairs),
            held_out=(),
            data=digest_of(pairs),
            steps=self.plan.steps,
        )

        def watch(model: InstructPix2PixLoss) -> EditorWatch:
            return EditorWatch(model, pipe, held_out, record, self.output, self.resolution)

        samples = PairSamples(training, self.resolution)
        train(pipe, samples, self.loss, self.plan, self.output, report=report, watch=watch)
        done = LoraRun(self.output / FOLDER).read_record()
        if done and done.skipped and is_main_process():
            report(f"Left out because their files are missing: {', '.join(done.skipped)}.")

    def _check_output(self) -> None:
        """Raise RethinkError if the output would replace a model, especially the one to start from."""
        if self.output.exists() and not self.output.is_dir():
            raise RethinkError(f"output: {self.output} is not a folder; choose another name.")
        if self.output.resolve() in (self.model.resolve(), snapshot_of(self.model).resolve()):
            raise RethinkError(
                f"output: {self.output} is the model to start from, which would be overwritten; choose another folder."
            )
        if (self.output / "model_index.json").exists() and not (self.output / SETTINGS).exists():
            raise RethinkError(
                f"output: {self.output} contains a model that was not trained by Rethink and would be overwritten; choose another "
                "folder."
            )
