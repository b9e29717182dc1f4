"""Reinforcement learning (GRPO) of a thinker: trl samples answers and updates weights, `thinker_rollouts` scores the answers.

EditThinker's recipe (arXiv 2512.05965, section 4): eight answers per question, learning rate 2e-6, temperature 1; an editor runs
their prompts, and a judge scores the results against the source and the user's instruction.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import RethinkError, lazy_import
from ..images import load_image, to_pil
from ..loop_config import LoopConfig
from ..progress import eta
from ..thinkers.critique import Thinker
from ..thinkers.critique_format import parse_critique
from ..thinkers.transformers_chat import TransformersChat
from .process_group import fail_together
from .step_progress import AlreadyDone, StepProgress
from .thinker_busy import work_clock
from .thinker_folders import digest_of, find_last_checkpoint, step_of
from .thinker_grpo_log import GRPOLog, Sample
from .thinker_page import write_page
from .thinker_processor import make_processor
from .thinker_rewards import Reward, count_groups, reward_of
from .thinker_rollouts import Rollouts
from .thinker_settings import GRPOConfig
from .thinker_sft import add_adapters, freeze_vision
from .thinker_steps import ThinkerStep
from .thinker_watch import HeldOut, Referee, measure_tasks, sum_up
from .weight_fingerprints import fingerprint_weights

if TYPE_CHECKING:
    from PIL import Image

BEST = "best.safetensors"
TRL = 1, 6  # from this version on, answers without reward do not count in their group's mean and have no advantage
SAMPLES = 3  # answers shown per logged step


class RolloutReward:
    """The reward function for trl's GRPOTrainer: a value or None for every answer, in the order of the answers."""

    __name__ = "reward"

    def __init__(self, task: GRPOTask, log: GRPOLog):
        self.steps, self.rollouts, self.rules, self.log = task.steps, task.rollouts, task.config.reward, log
        self.progress = task.progress

    def __call__(self, *, completions: Sequence[Any], index: Sequence[int], **_: Any) -> list[float | None]:
        """completions: from trl, [{"role": …, "content": …}] each. index: which of `steps` each one answers."""
        from accelerate.utils import gather_object

        texts = [completion[0]["content"] for completion in completions]
        answers = [parse_critique(text) for text in texts]
        steps = [self.steps[at] for at in index]
        with self.progress.stop_point(), fail_together():
            scored = self.rollouts.score(steps, [answer.next_prompt for answer in answers])
        rewards = [reward_of(answer, each.before, each.after, self.rules) for answer, each in zip(answers, scored)]
        values = [None if reward is None else reward.value for reward in rewards]
        answered = gather_object([(at, value, each.before) for at, value, each in zip(index, values, scored)])
        self.log.add(count_groups(answered), gather_object([reward for reward in rewards if reward is not None]))
        samples = [Sample.of(*row) for row in zip(steps, texts, answers, scored, rewards)]
        self.log.keep_samples(_extremes(samples, rewards))
        return values


def _extremes(samples: Sequence[Sample], rewards: Sequence[Reward | None]) -> list[Sample]:
    """The best, the median and the worst answer; answers without reward rank last."""
    order = sorted(
        range(len(samples)), key=lambda row: -1.0 if (found := rewards[row]) is None else found.value, reverse=True
    )
    chosen = dict.fromkeys([order[0], order[len(order) // 2], order[-1]]) if order else {}
    return [samples[row] for row in chosen][:SAMPLES]


@dataclass(frozen=True, eq=False)
class GRPOTask:
    """The inputs of a training. work: folder of the checkpoints and the log. held_out: from `thinker_steps.hold_out`. progress: is
    told about every step, and may end the training."""

    chat: TransformersChat
    template: str
    steps: Sequence[ThinkerStep]
    held_out: Sequence[ThinkerStep]
    rollouts: Rollouts
    config: GRPOConfig
    work: Path
    report: Callable[[str], None] = print
    progress: StepProgress = field(default_factory=StepProgress)


@dataclass(frozen=True, eq=False)
class GRPOResult:
    """model: the trained model, adapters merged. measured: measurements on held-out tasks, by step. best: the one of the model;
    None if nothing could be measured, and the model is the last one. busy: `thinker_busy.busy_shares` over all steps. warnings:
    sentences about the whole training."""

    model: torch.nn.Module
    measured: tuple[HeldOut, ...]
    best: HeldOut | None
    busy: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def train(task: GRPOTask) -> GRPOResult:
    """Train the chat's model; the result has the weights that did best on the held-out tasks.

    A run that finds checkpoints in `work` resumes from them. Raises RethinkError for a model, checkpoints or settings that do not
    fit, if the editor or the judge fails for good, and if no answer had a reward.
    """
    trl = _import_trl()
    config = task.config
    if config.vllm != "off":
        _require_vllm()
    last = find_last_checkpoint(task.work, _trained(task))
    model: Any = task.chat.module
    model.train()
    if not config.train_vision:
        freeze_vision(model)
    if config.lora_rank:
        model = add_adapters(model, config.lora_rank, config.train_vision)
    log = GRPOLog(task.work, task.rollouts, config.steps, task.report, after=step_of(last))
    trainer = trl.GRPOTrainer(
        model=model,
        reward_funcs=RolloutReward(task, log),
        args=_arguments(trl, config, task.work),
        train_dataset=_lazy_dataset(task.steps, config.prompts),
        processing_class=make_processor(task.chat),
    )
    _quiet(trainer)
    watch = _Watch(task, log, trainer)
    trainer.add_callback(_callback(watch, log, task.progress))
    task.progress.run(trainer, last)
    if log.never_rewarded:
        raise RethinkError(
            f"editor, judge: no answer had a reward, so nothing was learned; fix what fails, remove {task.work} and start again. "
            f"Last failure: {log.note}"
        )
    watch.load_best()
    trained = trainer.accelerator.unwrap_model(trainer.model)
    model = trained.merge_and_unload() if config.lora_rank else trained
    return GRPOResult(model, tuple(log.measured), log.best, log.busy(), log.warnings())


def _import_trl() -> Any:
    """Import trl. Raises RethinkError for a version that treats answers without reward as if the reward were zero."""
    trl = lazy_import("trl")
    version = tuple(map(int, re.findall(r"\d+", trl.__version__)[:2]))
    if version < TRL:
        raise RethinkError(
            f"trl: version {trl.__version__} treats a failed edit or judgment as a reward of zero; "
            f'pip install --upgrade "trl>={".".join(map(str, TRL))}"'
        )
    return trl


def _require_vllm() -> None:
    if sys.platform == "win32":
        raise RethinkError("vllm: only runs on Linux; leave it off, or train in the Windows Subsystem for Linux.")
    lazy_import("vllm")


def _trained(task: GRPOTask) -> dict[str, Any]:
    """What identifies a training that may resume from the checkpoints."""
    return {
        "lora": task.config.lora_rank,
        "see": task.config.train_vision,
        "method": "grpo",
        "thinker": fingerprint_weights(task.chat.module),
        "data": digest_steps(task.steps),
    }


def digest_steps(steps: Sequence[ThinkerStep]) -> str:
    """A digest that is the same for questions with the same text and images, wherever their files are."""
    return digest_of([digest_of((step.messages, step.source_id, step.edited_id)) for step in steps])


def _lazy_dataset(steps: Sequence[ThinkerStep], at_once: int):
    """Rows for trl whose images are opened on demand. at_once: the number of questions per step, which trl asks for again for every
    answer and batch."""
    from datasets import Dataset

    @lru_cache(at_once)
    def open_images(index: int) -> list[Image.Image]:
        return [pil for image in steps[index].images for pil in to_pil(load_image(image))]

    def rows(batch: dict[str, list[int]]) -> dict[str, list]:
        indices = batch["index"]
        prompts = [steps[index].messages for index in indices]
        return {"index": indices, "prompt": prompts, "images": [open_images(index) for index in indices]}

    return Dataset.from_dict({"index": list(range(len(steps)))}).with_transform(rows)


def _arguments(trl, config: GRPOConfig, work: Path):
    from accelerate import PartialState

    processes = PartialState(cpu=not torch.cuda.is_available()).num_processes
    return trl.GRPOConfig(
        output_dir=str(work),
        max_steps=config.steps,
        per_device_train_batch_size=config.batch,
        gradient_accumulation_steps=config.accumulate(processes),
        num_generations=config.rollouts,
        max_completion_length=config.answer_tokens,
        temperature=config.temperature,
        beta=config.beta,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        gradient_checkpointing=config.checkpointing,
        bf16=config.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        use_vllm=config.vllm != "off",
        vllm_mode="server" if config.vllm == "server" else "colocate",
        vllm_server_base_url=config.vllm_server or None,
        seed=config.seed % 2**32,
        save_steps=config.save_every,
        save_total_limit=2,
        logging_steps=config.log_every,
        report_to=[],
        disable_tqdm=True,
    )


def _quiet(trainer: Any) -> None:
    """Silence all output but our own: for answers without reward, trl would print whole rows, images included."""
    import logging

    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    logger = logging.getLogger("trl.trainer.grpo_trainer")
    logger.addFilter(lambda record: "returned None for the following kwargs" not in record.getMessage())


class _Watch:
    """Measures the policy on the held-out tasks, shared among the processes, and keeps the weights of the best measurement."""

    def __init__(self, task: GRPOTask, log: GRPOLog, trainer: Any):
        self.task, self.log, self.trainer = task, log, trainer
        log.read_best(task.work / BEST)
        config, rollouts = task.config, task.rollouts
        loop = LoopConfig(turns=config.turns, seed=config.seed)
        seconds = config.time_limit * config.turns
        self.referee = Referee(rollouts.editor, rollouts.judge, rollouts.settings, loop, seconds, task.progress)
        self.measured_at = log.last_measured

    def measure(self, step: int) -> None:
        """Measure, log the result, and keep the weights if they are the best so far."""
        from accelerate.utils import gather_object

        if not self.task.held_out or step == self.measured_at:
            return
        first, self.measured_at = self.measured_at is None, step
        started, worked = time.monotonic(), work_clock()
        accelerator = self.trainer.accelerator
        numbers = range(len(self.task.held_out))[accelerator.process_index :: accelerator.num_processes]
        share = [self.task.held_out[number] for number in numbers]
        model = self.trainer.model
        model.eval()
        thinker = Thinker(self.task.chat, self.task.template, max_tokens=self.task.config.answer_tokens)
        with self.task.progress.stop_point():
            results = measure_tasks(share, thinker, self.referee, accelerator.autocast)
        model.train()
        by_number = dict(gather_object(list(zip(numbers, results))))
        results = [by_number[number] for number in sorted(by_number)]
        found = sum_up(step, results, self.log.take_rewards())
        if found is None and first:
            raise RethinkError(
                f"editor, judge: none of the {len(results)} held-out tasks could be measured; fix what fails and start again. Last "
                f"failure: {results[-1]}"
            )
        if self.log.add_measurement(found) and accelerator.is_main_process:
            self._keep()
        self.log.pause(time.monotonic() - started, work_clock() - worked)

    def _keep(self) -> None:
        from safetensors.torch import save_file

        from ..atomic import atomic_write

        with atomic_write(self.task.work / BEST) as part:
            save_file(_trained_weights(self.trainer), part, metadata=self.log.best_metadata())

    def load_best(self) -> None:
        """Go back to the weights of the best measurement."""
        from safetensors.torch import load_file

        file = self.task.work / BEST
        if self.log.best is None or not self.trainer.accelerator.is_main_process:
            return  # nothing could be measured; any file there is from an earlier run
        best, mine = load_file(file), dict(self.trainer.accelerator.unwrap_model(self.trainer.model).named_parameters())
        with torch.no_grad():
            for name, value in best.items():
                mine[name].copy_(value)


def _trained_weights(trainer: Any) -> dict[str, torch.Tensor]:
    model = trainer.accelerator.unwrap_model(trainer.model)
    return {
        name: value.detach().cpu().contiguous().clone()
        for name, value in model.named_parameters()
        if value.requires_grad
    }


def _callback(watch: _Watch, log: GRPOLog, progress: StepProgress) -> Any:
    """The callback for trl's trainer."""
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            self.first, self.since = state.global_step, time.monotonic()
            watch.measure(state.global_step)
            log.start(time.monotonic())
            if state.global_step >= state.max_steps:
                raise AlreadyDone

        def on_substep_end(self, args, state, control, **kwargs):
            progress.poll()

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "reward" in logs:
                log.write(state.global_step, logs, time.monotonic(), state.is_world_process_zero)

        def on_step_end(self, args, state, control, **kwargs):
            done, total, now = state.global_step, state.max_steps, time.monotonic()
            left = eta(done - self.first, total - done, now - self.since)
            progress.tell(done, total, f"step {done} of {total} · {left} left")
            if state.global_step % args.save_steps == 0 or state.global_step >= state.max_steps:
                watch.measure(state.global_step)

        def on_save(self, args, state, control, **kwargs):
            if state.is_world_process_zero:
                write_page(watch.task.work, watch.task.config.save_every)

        def on_train_end(self, args, state, control, **kwargs):
            self.on_save(args, state, control)  # to include the last log line, which comes after the last save

    return Callback()
