"""Supervised fine-tuning of a thinker on what thinking runs have taught: `python -m rethink train-thinker --method sft`.

EditThinker's recipe (arXiv 2512.05965, section 4 and appendix): one epoch over the steps of good trajectories, batch 32,
rate 2e-5 falling like a cosine after a tenth of warm-up, vision tower and projector frozen, loss on the answer alone.
trl trains; what a model sees is put together by the very code that asks it later (`thinkers.transformers_chat`).
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

# What may differ when a run goes on: how long it is, and what no step depends on.
FREE = ("epochs", "minutes", "workers", "save_every", "log_every")
FLAGS = {"lora_rank": "--lora", "train_vision": "--see"}  # options that are not named as their fields


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
    """Trains the chat's model on a sequence of Conversations and returns it, adapters merged.

    conversations: anything with `[index]`; length: how many, where it does not say itself. work: checkpoints go here; a
    run that finds one goes on from it. report: prints a line every so many steps. progress: is told of every step, and may end it.
    Raises RethinkError for a model or for checkpoints that do not fit the config.
    """
    trl = lazy_import("trl")
    progress = progress or StepProgress()
    # other weights are trained where one of these differs
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
    """What trl's trainer calls as it goes."""
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            self.since, self.loss = time.monotonic(), ""
            self.before = schedule.done  # of an earlier run, from which this one goes on
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
                control.should_log = True  # the last step has a line, also between two that have one
            progress.tell(round(schedule.done * state.max_steps), state.max_steps, self.line(state))

        def line(self, state) -> str:
            done, seconds = schedule.done - self.before, time.monotonic() - self.since
            left = format_duration(seconds / done * (1 - schedule.done)) if done > 0 else "?"
            return f"step {state.global_step} of {state.max_steps}{self.loss} · {left} left"

    return Callback()


def freeze_vision(model: Any) -> None:
    """Leaves only the language model of a transformers model to be trained: neither the vision tower nor what joins the two."""
    language = getattr(getattr(model, "model", None), "language_model", None)
    if language is None:
        raise RethinkError(
            "train_vision: this model's language model cannot be told from its vision tower; train both, with train_vision."
        )
    model.requires_grad_(False)
    language.requires_grad_(True)
    model.get_output_embeddings().requires_grad_(True)


def add_adapters(model: nn.Module, rank: int, train_vision: bool) -> Any:
    """The model with adapters on every linear layer, of the language model alone where the vision tower is frozen."""
    peft = lazy_import("peft")
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name != "lm_head"]
    # By their whole names: Qwen2.5-VL calls some of its layers “0” and “2”.
    targets = [name for name in linear if train_vision or ".language_model." in name]
    return peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets))


def _lazy_dataset(conversations, length: int):
    """A dataset whose rows are looked up, drawn or loaded only when they are needed."""
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
    """How many processes read images: none where they are not forked, as on Windows and macOS, since neither the rows nor what puts
    them together, with its model, can be handed over."""
    return workers if multiprocessing.get_start_method() == "fork" else 0


@dataclass(frozen=True)
class SFTJob:
    """Teach a thinker what thinking runs have taught.

    thinker: transformers folder to start from. data: data sets of `collect`, or folders with runs in them or below. output: folder
    of the trained thinker. folder: where checkpoints are kept, each training's in a folder of its own; None: beside the output. A run that was cut off goes
    on from them. template: the critique's wording that it will be asked in.
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
        """Train to the end. report: prints a line. What `on_progress` raises ends it; it goes on when it is started again.

        Raises RethinkError for what cannot be trained, before any work.
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
        """All that decides what is learned, by its contents."""
        config = {name: value for name, value in asdict(self.config).items() if name not in FREE}
        learned = [digest_of([each.messages, each.answer, *map(_image_id, each.images)]) for each in conversations]
        start = fingerprint_weights(chat.module)
        return {"method": "sft", "thinker": start, "template": self.template, "data": learned, **config}


def _image_id(image: Tensor | Path) -> tuple[str, int]:
    """What an image is known by without reading it: there may be a hundred thousand. Beside it stands what was said of it."""
    assert isinstance(image, Path), "folders hold files"
    return image.name, image.stat().st_size


class SFTLines:
    """Passes lines on, and knows the last one."""

    def __init__(self, report: Callable[[str], None]):
        self._report, self.last = report, ""

    def __call__(self, line: str) -> None:
        self.last = line
        self._report(line)


@dataclass(frozen=True)
class SFTReport:
    """The result of a job. conversations: how many there were to learn. end: the last line of the training. left_out: runs
    that cannot be learned from, see `read_runs`."""

    output: Path
    conversations: int
    end: str
    left_out: int = 0

    def __str__(self) -> str:
        lines = [f"thinker → {self.output}", f"{format_count(self.conversations, 'conversation')} learned; {self.end}"]
        return "\n".join(filter(None, [*lines, describe_left_out(self.left_out)]))


@contextmanager
def _oom_guard(config: SFTConfig) -> Iterator[None]:
    """Within it, that memory runs out is an OutOfMemoryError that says what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"batch: the thinker ran out of memory in training; lower batch (it is {config.batch}) and raise accumulate, or train a "
            "LoRA (lora_rank)."
        ) from None


def load_trainable(thinker: Path, lora_rank: int, precision: str) -> TransformersChat:
    """A thinker to be trained. In full, Adam's small steps need fp32 weights; under adapters, frozen weights may be small."""
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
    parser.add_argument("data", type=Path, nargs="+", help="folders with trajectories in them or below")
    parser.add_argument("out", type=Path, help="folder for the trained thinker; checkpoints go beside it")
    parser.add_argument("--template", type=Path, help="text file with another wording of the critique")
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
