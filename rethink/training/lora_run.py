"""The files that a LoRA training keeps in its folder: every saved LoRA, the newest state to resume from, and the record.

RUN/
  training.json      the record: settings, pairs, losses, saves, which is the best and why
  report.html        the same as a page
  state.safetensors  LoRA and optimizer after the newest save; never the model itself
  saves/             the LoRA of every save
  previews/          pairs, edited at every save
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..atomic import atomic_write, locked
from ..errors import RethinkError, lazy_import
from ..progress import format_count
from ..records import json_text
from .best_save import Save, choose_save
from .lora_pairs import LoraPair
from .trainable_lora import TrainableLora

if TYPE_CHECKING:
    from .lora_families import TrainedFamily

RECORD, STATE, REPORT, LOCK = "training.json", "state.safetensors", "report.html", "lock"
MOST_TAGS = 200  # instructions in a file's header


@dataclass(frozen=True)
class PreviewPair:
    """A pair that every save edits, held out if any are: files in the run's folder. target: "" if the instruction is the user's own.
    base: the edit by the editor alone; scores: those of `base`, as in a `Save`. references: other images that it is edited with."""

    instruction: str
    input: str
    target: str
    base: str
    scores: Mapping[str, float | str | None] = field(default_factory=dict)
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoraRecord:
    """The record of a training, as in `training.json`.

    step: steps taken so far, of `steps` in total. losses: the mean loss of every step, from step 1 on, as of the newest save. best:
    the step of the chosen save; why: the reason, as a sentence. stopped: why the training ended early, "" if it did not. skipped:
    pairs whose files went missing during it. rates: (step, learning rate from then on). memory: the peak in bytes, 0 if unknown.
    preview_pairs: the pairs edited at saves. references: the most that any pair has.
    """

    title: str
    settings: dict[str, Any]
    editor: str
    family: str
    pairs: int
    held_out: tuple[str, ...]
    data: str
    layers: int = 0
    seconds: float = 0.0
    step: int = 0
    losses: tuple[float, ...] = ()
    saves: tuple[Save, ...] = ()
    best: int = 0
    why: str = ""
    stopped: str = ""
    skipped: tuple[str, ...] = ()
    steps: int = 0
    rates: tuple[tuple[int, float], ...] = ()
    memory: int = 0
    preview_pairs: tuple[PreviewPair, ...] = ()
    references: int = 0
    version: int = field(default=1)

    @classmethod
    def from_json(cls, record: dict) -> LoraRecord:
        saves = tuple(
            Save(**save | {name: tuple(save.get(name, ())) for name in ("previews", "scores", "losses")})
            for save in record["saves"]
        )
        pairs = tuple(
            PreviewPair(**pair | {"references": tuple(pair.get("references", ()))})
            for pair in record.get("preview_pairs", ())
        )
        rates = tuple((step, rate) for step, rate in record.get("rates", ()))
        tuples: dict[str, tuple] = {name: tuple(record.get(name, ())) for name in ("held_out", "losses", "skipped")}
        tuples |= {"saves": saves, "preview_pairs": pairs, "rates": rates}
        return cls(**{"step": len(record["losses"]), **record, **tuples})

    @property
    def preview_editors(self) -> str:
        """The editors that made the previews; "" if it was only the one being trained."""
        names = dict.fromkeys(save.preview_editor or self.editor for save in self.saves if save.previews)
        return "" if list(names) in ([], [self.editor]) else ", ".join(names)

    @property
    def measured_pairs(self) -> int:
        """The number of held-out pairs that the losses of saves cover: those whose files are not missing."""
        return sum(id not in self.skipped for id in self.held_out)

    def choose_best(self) -> LoraRecord:
        """The record with its best save chosen, and the reason."""
        best, why = choose_save(self.saves, self.measured_pairs)
        return replace(self, best=best, why=why)


class LoraRun:
    """The folder of a run."""

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def is_begun(self) -> bool:
        """Whether there is a state to resume from."""
        return (self.folder / STATE).is_file()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the folder against other processes, and remove half-written files of one that was killed.

        Raises RethinkError if another process is training here.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder / LOCK))
            except BlockingIOError as error:
                raise RethinkError(
                    f"folder: another process is training {self.folder.name} right now; wait for it, or choose another seed."
                ) from error
            for torn in self.folder.rglob(".*.part"):
                torn.unlink(missing_ok=True)
            yield

    def save_path(self, step: int) -> Path:
        return self.folder / "saves" / f"step-{step:06d}.safetensors"

    def preview_path(self, step: int, name: str) -> Path:
        """The file of the preview `name` by the save of a step; step 0: by the base editor."""
        return self.folder / "previews" / f"{name}-step-{step:06d}.png"

    def side_path(self, side: str, name: str) -> Path:
        """The file of a preview's input, target or reference."""
        return self.folder / "previews" / f"{name}-{side}.png"

    def relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def write_record(self, record: LoraRecord) -> None:
        with atomic_write(self.folder / RECORD) as part:
            part.write_text(json_text(asdict(record)), encoding="utf-8")

    def read_record(self) -> LoraRecord | None:
        """The record in `training.json`; None if there is no readable one."""
        try:
            return LoraRecord.from_json(json.loads((self.folder / RECORD).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_state(self, lora: TrainableLora, optimizer: torch.optim.Optimizer, record: LoraRecord) -> None:
        """Write LoRA, optimizer and record after the same step, atomically to one file."""
        tensors: dict[str, Tensor] = {}
        numbers: dict[str, float] = {}  # the parts of the optimizer state that are not tensors
        for number, weight in enumerate(lora.parameters()):
            tensors[f"weight.{number}"] = weight.detach().cpu().contiguous()
            for name, value in optimizer.state.get(weight, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"{name}.{number}"] = value.to("cpu", copy=True)  # in 8-bit AdamW, weights share some
                else:
                    numbers[f"{name}.{number}"] = value
        save_tensors(
            tensors, self.folder / STATE, {"record": json_text(asdict(record)), "numbers": json.dumps(numbers)}
        )

    def read_state(self, lora: TrainableLora, optimizer: torch.optim.Optimizer) -> LoraRecord | None:
        """Load the newest state to resume from it; None if there is none."""
        path = self.folder / STATE
        if not path.is_file():
            return None
        try:
            with lazy_import("safetensors").safe_open(path, framework="pt") as file:
                # Copies: on Windows, the next save cannot replace a file that tensors are still mapped from.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (it is no dict)
                header = file.metadata()
            record = LoraRecord.from_json(json.loads(header["record"]))
            values = {**tensors, **json.loads(header.get("numbers", "{}"))}
            weights = list(lora.parameters())
            for name, value in values.items():
                kind, _, number = name.rpartition(".")
                weight = weights[int(number)]
                if kind == "weight":
                    weight.data.copy_(value)
                else:  # AdamW keeps its step count on the CPU
                    state = optimizer.state[weight]
                    state[kind] = value.to(weight.device) if isinstance(value, Tensor) and kind != "step" else value
        except Exception as error:  # safetensors has its own error class, and a record may lack anything
            raise RethinkError(f"folder: {path} cannot be read ({error}); remove it to start over.") from error
        return record


def save_tensors(tensors: dict[str, Tensor], path: Path, header: dict[str, str]) -> None:
    """Write a .safetensors file atomically; an old one stays until then. Raises RethinkError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            lazy_import("safetensors.torch").save_file(tensors, part, header)
    except Exception as error:  # safetensors has its own error class
        if isinstance(error, (OSError, lazy_import("safetensors").SafetensorError)):
            raise RethinkError(
                f"folder: {path} cannot be written ({error}); free some space, or close the program that has it open, then start again "
                "to resume from the newest save."
            ) from error
        raise


def write_lora_file(
    path: Path, row: TrainedFamily, lora: TrainableLora, dtype: torch.dtype, header: dict[str, str]
) -> None:
    """Write the LoRA with its family's names, atomically; an old file stays until then."""
    from .lora_families import name_weights

    save_tensors(name_weights(row.names, lora.factors(), dtype), path, header)


def check_own_file(path: Path) -> None:
    """Raise RethinkError if there is a file that was not trained by Rethink, which would be overwritten."""
    if not path.exists():
        return
    try:
        with lazy_import("safetensors").safe_open(path, framework="pt") as file:
            ours = "rethink.family" in (file.metadata() or {})
    except Exception:  # safetensors has its own error class
        ours = False
    if not ours:
        raise RethinkError(f"output: {path} already exists and was not trained by Rethink; choose another name.")


def file_header(record: LoraRecord, row: TrainedFamily, rank: int, pairs: Sequence[LoraPair]) -> dict[str, str]:
    """The metadata that ComfyUI, Lora Manager and trainers read from a LoRA: its base model and what it was trained on. There is no
    trigger word: it follows instructions, and the ones it was trained on take the place of tags."""
    instructions = Counter(pair.instruction for pair in pairs).most_common(MOST_TAGS)
    references = {"rethink.references": str(record.references)} if record.references else {}
    return {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": row.architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.title": record.title,
        "modelspec.description": f"Edits by instruction, such as “{instructions[0][0]}”, learned from {format_count(record.pairs, 'pair')}.",
        "ss_base_model_version": row.base,
        "ss_sd_model_name": record.editor,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank),
        "ss_num_train_images": str(record.pairs),
        "ss_steps": str(record.step),
        "ss_tag_frequency": json.dumps({"instructions": dict(instructions)}, ensure_ascii=False),
        "rethink.family": record.family,
        "rethink.pairs": record.data,
        "rethink.settings": json.dumps(record.settings, ensure_ascii=False),
        **references,
    }
