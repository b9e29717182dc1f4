"""Training a whole InstructPix2Pix editor as a job: from a folder of pairs to an editor's folder with a report beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .editor_run import FOLDER, MOST, SHARE, EditorWatch
from .instruct_pix2pix import InstructPix2PixLoss, LossConfig, open_model, train
from .lora_pairs import digest_of, split_pairs
from .lora_run import REPORT, LoraRecord
from .pair_dataset import PairSamples, read_pair_folder
from .train_loop import TrainConfig


@dataclass(frozen=True)
class TrainEditorJob:
    """model: diffusers folder to start from. pairs: a store, or a folder with `metadata.jsonl`. output: the editor's folder; a
    run that was interrupted goes on from what lies there. resolution: pixels, width and height (paper: 256)."""

    model: Path
    pairs: Path
    output: Path
    resolution: int = 256
    loss: LossConfig = field(default_factory=LossConfig)
    plan: TrainConfig = field(default_factory=TrainConfig)

    @property
    def report(self) -> Path:
        """A page to look at, written at every save."""
        return self.output / FOLDER / REPORT

    def run(self, report: Callable[[str], None] = print) -> None:
        """Train to the end. Raises RethinkError for a model or pairs that cannot be trained on, before any work."""
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
