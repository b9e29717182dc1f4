"""Supervised fine-tuning of a thinker on what thinking runs have taught: `python -m rethink train-thinker --method sft`.

EditThinker's recipe (arXiv 2512.05965, section 4 and appendix): one epoch over the steps of good trajectories, batch 32,
rate 2e-5 falling like a cosine after a tenth of warm-up, vision tower and projector frozen, loss on the answer alone.
trl trains; what a model sees is put together by the very code that asks it later (`thinkers.transformers_chat`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import RethinkError, lazy_import
from ..model_files import snapshot_of
from ..options import check_limits, option, options_of
from ..thinkers.backends.local_folder import load_thinker
from ..thinkers.critique import TEMPLATE
from ..thinkers.transformers_chat import TransformersChat, positions
from .conversations import Conversation, from_folders, load_images
from .process_group import is_first_process
from .time_budget import TimeBudgetSchedule, end_callback

IGNORED = -100  # labels of what is not to be learned


@dataclass(frozen=True)
class SFTConfig:
    """How to train. `batch` is conversations a step and process; `accumulate` such batches make one step."""

    epochs: float = option(1.0, "Times that every conversation is learned.", low=0.0, high=1000.0)
    minutes: float = option(
        0.0, "Train for so long; `epochs` is an upper bound then. 0: as long as those take.", low=0.0, high=10.0**6
    )
    batch: int = option(4, "Conversations in memory at once, of every process.", low=1, high=4096)
    accumulate: int = option(8, "Batches a step.", low=1, high=4096)
    learning_rate: float = option(2e-5, "Step size of the optimizer, at its highest.", low=0.0, high=1.0)
    warmup: float = option(0.1, "Share of the training in which it rises.", low=0.0, high=0.99)
    lora_rank: int = option(0, "Rank of a LoRA on the language model; 0 trains it in full.", low=0, high=1024)
    train_vision: bool = option(False, "Train the vision tower and its projector too.")
    pack: bool = option(
        False, "Lay a batch's conversations end to end instead of padding them: faster, for models of Qwen-VL's kind."
    )
    checkpointing: bool = option(True, "Compute activations twice: slower, and far less memory.")
    precision: str = option("bf16", "Of the computation.", choices=("bf16", "no"))
    workers: int = option(2, "Processes that read images.", low=0, high=256)
    seed: int = option(0, "Of the order of conversations.", low=0, high=2**32 - 1)
    save_every: int = option(200, "A checkpoint every so many steps.", low=1, high=10**9)
    log_every: int = option(10, "A line every so many steps.", low=1, high=10**9)

    def __post_init__(self):
        check_limits(self)


FLAGS = {"lora_rank": "--lora", "train_vision": "--see"}  # options that are not named as their fields


def train(
    chat: TransformersChat, conversations, config: SFTConfig, work: Path, *, length: int | None = None
) -> nn.Module:
    """Trains the chat's model on a sequence of Conversations and returns it, adapters merged.

    conversations: anything with `[index]`; length: how many, where it does not say itself. work: checkpoints go here; a
    run that finds one goes on from it. Raises RethinkError for a model or for checkpoints that do not fit the config.
    """
    trl = lazy_import("trl")
    # other weights are trained where one of these differs
    last = find_last_checkpoint(work, {"lora": config.lora_rank, "see": config.train_vision})
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
    trainer.add_callback(end_callback(schedule, config.minutes, config.warmup, trainer.accelerator))
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trained = trainer.accelerator.unwrap_model(trainer.model)
    return trained.merge_and_unload() if config.lora_rank else trained


def find_last_checkpoint(work: Path, trained: dict[str, Any]) -> Path | None:
    """The newest checkpoint in `work` that was written to its end, which trainer_state.json marks; None for a new run.

    trained: what is trained, and how; a run with another one is refused by a RethinkError.
    """
    marker = work / "trained.json"
    whole = [file.parent for file in work.glob("checkpoint-*/trainer_state.json")]
    if whole and marker.is_file() and (before := json.loads(marker.read_text(encoding="utf-8"))) != trained:
        raise RethinkError(
            f"out: {work} holds the checkpoints of a run with {before}; remove it, or train into another folder."
        )
    work.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps(trained), encoding="utf-8")
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def freeze_vision(model: Any) -> None:
    """Leaves only the language model of a transformers model to be trained: neither the vision tower nor what joins the two."""
    language = getattr(getattr(model, "model", None), "language_model", None)
    if language is None:
        raise RethinkError(
            "see: this model's language model cannot be told from its vision tower; train both, with --see."
        )
    model.requires_grad_(False)
    language.requires_grad_(True)
    model.get_output_embeddings().requires_grad_(True)


class DataCollator:
    """Batches of rows {"conversation": Conversation} as a model takes them, with the loss on the answers alone."""

    def __init__(self, chat: TransformersChat, pack: bool):
        self.chat, self.pack = chat, pack

    def __call__(self, rows: list[dict]) -> dict[str, Tensor]:
        encoded = [self.encode(row["conversation"]) for row in rows]
        if self.pack:
            return _pack(encoded)
        return _pad(encoded, self.chat.tokenizer.pad_token_id or 0)

    def encode(self, conversation: Conversation) -> EncodedConversation:
        """The question exactly as `TransformersChat` asks it, and the answer after it."""
        question = self.chat.reader(conversation.messages, load_images(conversation))
        answer = self.chat.tokenizer(conversation.answer + self.chat.tokenizer.eos_token, add_special_tokens=False)
        answer = torch.tensor(answer.input_ids)
        tokens = torch.cat([question.tokens, answer])
        token_inputs = {"input_ids": tokens, "labels": torch.cat([torch.full_like(question.tokens, IGNORED), answer])}
        images = {}
        for name, value in question.inputs.items():
            if value.shape == (1, len(question.tokens)):  # one value a token; the answer has no images
                token_inputs[name] = torch.cat([value[0], torch.zeros_like(answer, dtype=value.dtype)])
            else:
                images[name] = value
        if "image_grid_thw" in images:
            token_inputs["position_ids"] = self._positions(tokens, images["image_grid_thw"])
        elif self.pack:
            raise RethinkError("pack: is for models of Qwen-VL's kind; leave --pack out.")
        return EncodedConversation(token_inputs, images)

    def _positions(self, tokens: Tensor, grid: Tensor) -> Tensor:
        """[3, n], of tokens [n] and images of `grid`."""
        return positions(cast(Any, self.chat.module).model, tokens[None], grid)[0][:, 0]


@dataclass(frozen=True, eq=False)
class EncodedConversation:
    """One conversation. token_inputs: tensors [n] or [3, n], a value per token; images: of the images, by name."""

    token_inputs: dict[str, Tensor]
    images: dict[str, Tensor]


def _pad(rows: list[EncodedConversation], pad: int) -> dict[str, Tensor]:
    """One row a conversation, padded on the right: tensors [B, n], positions [3, B, n]."""
    longest = max(len(row.token_inputs["input_ids"]) for row in rows)
    fill = {"input_ids": pad, "labels": IGNORED}
    batch = {}
    for name in rows[0].token_inputs:
        values = [row.token_inputs[name] for row in rows]
        values = [nn.functional.pad(v, (0, longest - v.shape[-1]), value=fill.get(name, 0)) for v in values]
        batch[name] = torch.stack(values, -2)
    lengths = torch.tensor([len(row.token_inputs["input_ids"]) for row in rows])
    return batch | _stack_image_inputs(rows) | {"attention_mask": (torch.arange(longest) < lengths[:, None]).long()}


def _pack(rows: list[EncodedConversation]) -> dict[str, Tensor]:
    """All conversations end to end in one row [1, n]. Positions [4, 1, n], the first counting through each conversation
    from 0, tell the attention where one ends and the next begins."""
    batch = {name: torch.cat([row.token_inputs[name] for row in rows], -1) for name in rows[0].token_inputs}
    batch = {name: value[..., None, :] for name, value in batch.items()}
    count = torch.cat([torch.arange(len(row.token_inputs["input_ids"])) for row in rows])
    batch["position_ids"] = torch.cat([count[None, None], batch["position_ids"]])
    for start in (count == 0).nonzero().flatten().tolist()[1:]:
        batch["labels"][0, start] = IGNORED  # nothing predicts how the next one begins
    return batch | _stack_image_inputs(rows)


def _stack_image_inputs(rows: list[EncodedConversation]) -> dict[str, Tensor]:
    names = {name: None for row in rows for name in row.images}
    return {name: torch.cat([row.images[name] for row in rows if name in row.images]) for name in names}


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
        dataloader_num_workers=config.workers,
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


def save(model: Any, like: Path, out: Path) -> None:
    """A folder that Load Thinker opens: the weights, and everything else as in the folder that was trained."""
    model.save_pretrained(out)
    for file in snapshot_of(Path(like)).iterdir():
        if file.is_file() and ".safetensors" not in file.name and not (out / file.name).exists():
            shutil.copy(file, out / file.name)


@dataclass(frozen=True)
class SFTJob:
    """Teach a thinker what thinking runs have taught.

    thinker: transformers folder to start from. data: folders with runs in them or below. output: folder of the trained thinker;
    checkpoints go beside it, and a run that was cut off goes on from them. template: the critique's wording that it will be
    asked in.
    """

    thinker: Path
    data: tuple[Path, ...]
    output: Path
    config: SFTConfig = field(default_factory=SFTConfig)
    template: str = TEMPLATE

    def run(self, report: Callable[[str], None] = print) -> None:
        """Train to the end. Raises RethinkError for what cannot be trained, before any work."""
        config = self.config
        conversations = from_folders(self.data, self.template, seed=config.seed)
        report(f"{len(conversations)} conversations")
        chat = load_trainable(self.thinker, config.lora_rank, config.precision)
        model = train(chat, conversations, config, checkpoints_of(self.output))
        if is_first_process():
            save(model, self.thinker, self.output)


def load_trainable(thinker: Path, lora_rank: int, precision: str) -> TransformersChat:
    """A thinker to be trained. In full, Adam's small steps need fp32 weights; under adapters, frozen weights may be small."""
    return load_thinker(thinker, dtype="bf16" if lora_rank and precision == "bf16" else "fp32")


def checkpoints_of(output: Path) -> Path:
    """The folder beside `output` in which a training keeps what it needs to go on."""
    return output.with_name(output.name + "-checkpoints")


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
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RethinkError(f"template: {path} cannot be read: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
