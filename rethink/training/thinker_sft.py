"""Supervised fine-tuning of a thinker on recorded runs: `python -m rethink train-thinker --method sft`.

EditThinker's recipe (arXiv 2512.05965, section 4 and appendix): one epoch over the steps of good trajectories, batch size 32,
learning rate 2e-5 with 10% warmup and cosine decay, vision tower and projector frozen, loss on the answer only. trl does the
training; the model's inputs come from the same code that is used at inference (`thinkers.transformers_chat`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import OutOfMemoryError, RethinkError, is_out_of_memory, lazy_import, reason_of
from ..options import options_of
from ..progress import OnProgress, format_count, format_duration, ignore_progress
from ..thinkers.backends.local_folder import load_thinker
from ..thinkers.critique import TEMPLATE, check_template
from ..thinkers.transformers_chat import TransformersChat
from .conversation_batches import DataCollator
from .conversations import COLLECTED, Conversation, from_folders
from .process_group import is_first_process
from .recorded_runs import describe_left_out
from .step_progress import AlreadyDone, StepProgress
from .thinker_folders import (
    check_layout,
    check_output,
    digest_of,
    find_last_checkpoint,
    full_disk_as_error,
    save_trained,
    work_folder,
)
from .thinker_settings import SFTConfig
from .time_budget import TimeBudgetSchedule, end_callback
from .weight_fingerprints import fingerprint_weights

# May differ when a run resumes: its length, and what no step depends on.
FREE = ("epochs", "minutes", "workers", "save_every", "log_every")
FLAGS = {"lora_rank": "--lora", "train_vision": "--see"}  # options that are not named after their fields


def train(
    chat: TransformersChat,
    conversations,
    config: SFTConfig,
    work: Path,
    *,
    length: int | None = None,
    report: Callable[[str], None] = print,
    progress: StepProgress | None = None,
) -> nn.Module:
    """Train the chat's model on a sequence of Conversations and return it, adapters merged.

    conversations: anything with `[index]`; length: their number, if they have no `len`. work: the checkpoint folder; a run that
    finds one resumes from it. report: prints a log line. progress: is told about every step, and may end the training.
    Raises RethinkError for a model or for checkpoints that do not fit the config.
    """
    trl = lazy_import("trl")
    progress = progress or StepProgress()
    # if one of these differs, other weights are being trained
    last = find_last_checkpoint(
        work, {"lora": config.lora_rank, "see": config.train_vision, "thinker": fingerprint_weights(chat.module)}
    )
    model, length = chat.module, length or len(conversations)
    if not config.train_vision:
        freeze_vision(model)
    if config.lora_rank:
        model = add_adapters(model, config.lora_rank, config.train_vision)
    schedule = TimeBudgetSchedule(config.minutes, config.warmup)

    class Trainer(trl.SFTTrainer):
        def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None):
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, schedule)
            return self.lr_scheduler

    trainer = Trainer(
        model=model,
        args=_arguments(trl, config, work),
        train_dataset=_lazy_dataset(conversations, length),
        data_collator=DataCollator(chat, config.pack),
        processing_class=chat.tokenizer,
    )
    trainer.remove_callback(lazy_import("transformers").PrinterCallback)
    trainer.add_callback(end_callback(schedule, config.minutes, config.warmup, trainer.accelerator))
    trainer.add_callback(_callback(schedule, progress, report))
    progress.run(trainer, last)
    trained = trainer.accelerator.unwrap_model(trainer.model)
    return trained.merge_and_unload() if config.lora_rank else trained


def _callback(schedule: TimeBudgetSchedule, progress: StepProgress, report: Callable[[str], None]) -> Any:
    """The callback for trl's trainer."""
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            self.since, self.loss = time.monotonic(), ""
            self.before = schedule.done  # in an earlier run, which this one resumes
            if self.before >= 1:
                done = f"step {state.global_step} of {state.max_steps}: nothing is left to train"
                if state.is_world_process_zero:
                    report(done)
                progress.tell(1, 1, done)
                raise AlreadyDone

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "loss" in logs:
                self.loss = f" · loss {float(logs['loss']):.4f}"
                if state.is_world_process_zero:
                    report(self.line(state))

        def on_substep_end(self, args, state, control, **kwargs):
            progress.poll()

        def on_step_end(self, args, state, control, **kwargs):
            if control.should_training_stop or state.global_step >= state.max_steps:
                control.should_log = True  # always log the last step
            progress.tell(round(schedule.done * state.max_steps), state.max_steps, self.line(state))

        def line(self, state) -> str:
            done, seconds = schedule.done - self.before, time.monotonic() - self.since
            left = format_duration(seconds / done * (1 - schedule.done)) if done > 0 else "?"
            return f"step {state.global_step} of {state.max_steps}{self.loss} · {left} left"

    return Callback()


def freeze_vision(model: Any) -> None:
    """Freeze all of a transformers model but its language model: the vision tower and the projector."""
    language = getattr(getattr(model, "model", None), "language_model", None)
    if language is None:
        raise RethinkError(
            "train_vision: this model's language model cannot be told apart from its vision tower; turn on train_vision to train "
            "both."
        )
    model.requires_grad_(False)
    language.requires_grad_(True)
    model.get_output_embeddings().requires_grad_(True)


def add_adapters(model: nn.Module, rank: int, train_vision: bool) -> Any:
    """The model with adapters on every linear layer; only on those of the language model if the vision tower is frozen."""
    peft = lazy_import("peft")
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name != "lm_head"]
    # By their full names: Qwen2.5-VL calls some of its layers “0” and “2”.
    targets = [name for name in linear if train_vision or ".language_model." in name]
    return peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets))


def _lazy_dataset(conversations, length: int):
    """A dataset whose rows are looked up, drawn or loaded on demand."""
    from datasets import Dataset

    indices = Dataset.from_dict({"index": list(range(length))})
    return indices.with_transform(lambda rows: {"conversation": [conversations[index] for index in rows["index"]]})


def _arguments(trl, config: SFTConfig, work: Path):
    return trl.SFTConfig(
        output_dir=str(work),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch,
        gradient_accumulation_steps=config.accumulate,
        learning_rate=config.learning_rate,
        weight_decay=0.01,
        adam_beta2=0.99,
        gradient_checkpointing=config.checkpointing,
        bf16=config.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        dataloader_num_workers=_count_readers(config.workers),
        seed=config.seed,
        save_steps=config.save_every,
        save_total_limit=2,
        logging_steps=config.log_every,
        max_length=None,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        ddp_find_unused_parameters=False,
        report_to=[],
        disable_tqdm=True,
    )


def _count_readers(workers: int) -> int:
    """The number of processes that read images: none where processes are not forked, as on Windows and macOS, since neither the
    rows nor the collator, with its model, can be passed to them."""
    return workers if multiprocessing.get_start_method() == "fork" else 0


@dataclass(frozen=True)
class SFTJob:
    """Fine-tune a thinker on recorded runs.

    thinker: transformers folder to start from. data: datasets made by `collect`, or folders that contain runs at any depth.
    output: folder for the trained thinker. folder: where checkpoints are kept, in a separate folder for each training; None: next
    to the output. An interrupted run resumes from them. template: the critique template that the thinker will be prompted with.
    """

    thinker: Path
    data: tuple[Path, ...]
    output: Path
    config: SFTConfig = field(default_factory=SFTConfig)
    template: str = TEMPLATE
    folder: Path | None = None

    def __post_init__(self):
        check_template(self.template)

    def run(self, report: Callable[[str], None] = print, on_progress: OnProgress = ignore_progress) -> SFTReport:
        """Train to the end. report: prints a line. An exception from `on_progress` ends the training; a restart resumes it.

        Raises RethinkError for anything that cannot be trained, before any work.
        """
        config, lines = self.config, SFTLines(report)
        check_output(self.output, self.thinker)
        check_layout(self.data, COLLECTED)
        conversations, left_out = from_folders(self.data, self.template, seed=config.seed)
        lines(" · ".join(filter(None, [format_count(len(conversations), "conversation"), describe_left_out(left_out)])))
        with torch.inference_mode(False), torch.enable_grad(), _oom_guard(config):
            chat = load_trainable(self.thinker, config.lora_rank, config.precision)
            work = work_folder(self.output, self.folder, self._training(chat, conversations))
            with full_disk_as_error(self.output, work):
                model = train(chat, conversations, config, work, report=lines, progress=StepProgress(on_progress))
                if is_first_process():
                    save_trained(model, self.thinker, self.output)
        return SFTReport(self.output, len(conversations), lines.last, left_out)

    def _training(self, chat: TransformersChat, conversations: Sequence[Conversation]) -> dict[str, Any]:
        """Everything that determines the result, identified by its contents."""
        config = {name: value for name, value in asdict(self.config).items() if name not in FREE}
        learned = [digest_of([each.messages, each.answer, *map(_image_id, each.images)]) for each in conversations]
        start = fingerprint_weights(chat.module)
        return {"method": "sft", "thinker": start, "template": self.template, "data": learned, **config}


def _image_id(image: Tensor | Path) -> tuple[str, int]:
    """An identifier of an image without reading it, since there may be a hundred thousand. The digest also covers the
    conversation about it."""
    assert isinstance(image, Path), "folders hold files"
    return image.name, image.stat().st_size


class SFTLines:
    """Passes lines on and remembers the last one."""

    def __init__(self, report: Callable[[str], None]):
        self._report, self.last = report, ""

    def __call__(self, line: str) -> None:
        self.last = line
        self._report(line)


@dataclass(frozen=True)
class SFTReport:
    """The result of a job. conversations: the number trained on. end: the last line of the training. left_out: runs that cannot be
    trained on, see `read_runs`."""

    output: Path
    conversations: int
    end: str
    left_out: int = 0

    def __str__(self) -> str:
        lines = [
            f"thinker → {self.output}",
            f"trained on {format_count(self.conversations, 'conversation')}; {self.end}",
        ]
        return "\n".join(filter(None, [*lines, describe_left_out(self.left_out)]))


@contextmanager
def _oom_guard(config: SFTConfig) -> Iterator[None]:
    """Turn running out of memory into an OutOfMemoryError that says what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"batch: the thinker ran out of memory during training; lower batch (it is {config.batch}) and raise accumulate, or train "
            "a LoRA (lora_rank)."
        ) from None


def load_trainable(thinker: Path, lora_rank: int, precision: str) -> TransformersChat:
    """Load a thinker for training. Full fine-tuning needs fp32 weights for Adam's small steps; weights frozen under adapters can
    be bf16."""
    return load_thinker(thinker, dtype="bf16" if lora_rank and precision == "bf16" else "fp32")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m rethink.training.thinker_sft",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "thinker", type=Path, help="transformers folder to start from, for example Qwen3-VL-8B-Instruct"
    )
    parser.add_argument("data", type=Path, nargs="+", help="folders that contain trajectories, at any depth")
    parser.add_argument("out", type=Path, help="folder for the trained thinker; checkpoints go next to it")
    parser.add_argument("--template", type=Path, help="text file with another critique template")
    for each in options_of(SFTConfig):
        flag = FLAGS.get(each.name, f"--{each.name.replace('_', '-')}")
        kind: dict[str, Any] = {"type": type(each.default), "metavar": str(each.default)}
        if isinstance(each.default, bool):
            kind = {"action": argparse.BooleanOptionalAction}
        parser.add_argument(flag, dest=each.name, default=each.default, help=each.help, **kind)
    options = parser.parse_args(arguments)
    try:
        config = SFTConfig(**{each.name: getattr(options, each.name) for each in options_of(SFTConfig)})
        SFTJob(options.thinker, tuple(options.data), options.out, config, _template(options.template)).run(_print)
    except RethinkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _print(line: str) -> None:
    print(line, flush=True)


def _template(path: Path | None) -> str:
    if path is None:
        return TEMPLATE
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise RethinkError(f"template: {path} cannot be read: {reason_of(error)}") from error


if __name__ == "__main__":
    sys.exit(main())
