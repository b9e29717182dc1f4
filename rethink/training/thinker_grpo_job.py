"""The job of training a thinker with reinforcement learning, from recorded runs to a folder that Load Thinker opens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..builtin import THINKER_FOLDER
from ..errors import OutOfMemoryError, is_out_of_memory
from ..model_files import model_name, snapshot_of
from ..names import name_anywhere
from ..progress import OnProgress, format_count, ignore_progress
from ..thinkers.critique import TEMPLATE, Thinker, check_template
from ..thinkers.loading import BUILT_IN, is_same_model
from .process_group import ALONE, ProcessGroup
from .recorded_runs import describe_left_out
from .step_progress import StepProgress
from .thinker_busy import describe_busy
from .thinker_folders import check_layout, check_output, full_disk_as_error, save_trained, work_folder
from .thinker_grpo import GRPOResult, GRPOTask, digest_steps, train
from .thinker_page import PAGE
from .thinker_rollouts import Rollouts, settings_for
from .thinker_settings import GRPOConfig
from .thinker_sft import load_trainable
from .thinker_steps import COLLECTED, hold_out, read_steps
from .thinker_watch import HeldOut, warn_of_reward
from .weight_fingerprints import fingerprint_weights

if TYPE_CHECKING:
    from ..editors.protocol import Editor


@dataclass(frozen=True)
class GRPOJob:
    """Train a thinker with reinforcement learning (GRPO): an editor runs its prompts, and a judge scores the edits.

    thinker: transformers folder to start from. data: datasets made by `collect`, or folders that contain runs at any depth.
    output: folder for the trained thinker. folder: where checkpoints and the log are kept, in a separate folder for each training;
    None: next to the output. An interrupted run resumes from them. template: the critique template for questions about runs;
    collected data already contain theirs.
    """

    thinker: Path
    data: tuple[Path, ...]
    output: Path
    config: GRPOConfig = field(default_factory=GRPOConfig)
    template: str = TEMPLATE
    folder: Path | None = None

    def __post_init__(self):
        check_template(self.template)

    def run(
        self,
        editor: Editor,
        judge: Thinker,
        report: Callable[[str], None] = print,
        processes: ProcessGroup = ALONE,
        on_progress: OnProgress = ignore_progress,
    ) -> GRPOReport:
        """Train to the end. report: prints a line. processes: those that train together, each with its own editor and judge. An
        exception from `on_progress` ends the training with a checkpoint to resume from.

        Raises RethinkError for invalid data, models or settings before any work, and if the editor or the judge fails for good; a
        restart then resumes from the last checkpoint.
        """
        check_output(self.output, self.thinker)
        check_layout(self.data, COLLECTED)
        say = report if processes.is_main else _say_nothing
        found, left_out = read_steps(self.data, self.template)
        steps, held_out = hold_out(found, self.config.hold_out)
        config = replace(self.config, prompts=min(self.config.prompts, len(steps)))
        config.accumulate(processes.count)
        say(f"{format_count(len(steps), 'question')} to learn from; {format_count(len(held_out), 'task')} held out")
        if self.config.hold_out and not held_out:
            say(
                "hold_out: there are too few images to hold any out, so the last thinker is kept, not the best; record runs on 5 "
                "or more"
            )
        if left_out:
            say(describe_left_out(left_out))
        if config.prompts < self.config.prompts:
            say(f"prompts: only {config.prompts} per step, since there are no more questions")
        same_judge = is_judge(self.thinker, judge)
        if same_judge:
            say(NOT_INDEPENDENT)
        limit, progress = config.time_limit, StepProgress(on_progress)
        settings = settings_for(editor, config.editor_steps)
        rollouts = Rollouts(editor, judge, settings, config.seed, limit, progress)
        try:
            with torch.inference_mode(False), torch.enable_grad():
                chat = load_trainable(self.thinker, config.lora_rank, config.precision)
                training = self._training(editor, judge) | {
                    "thinker": fingerprint_weights(chat.module),
                    "data": digest_steps(steps),
                }
                work = work_folder(self.output, self.folder, training)
                say(f"report, updated at every save: {work / PAGE}")
                task = GRPOTask(chat, self.template, steps, held_out, rollouts, config, work, say, progress)
                with full_disk_as_error(self.output, work):
                    result = train(task)
                    if processes.is_main:
                        save_trained(result.model, self.thinker, self.output)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"batch: {self.thinker.name} ran out of memory; lower batch (it is {config.batch}), then answer_tokens; train a LoRA "
                "(lora_rank); or run the editor and the judge on servers or another GPU."
            ) from None
        return GRPOReport.of(self.output, result, same_judge, left_out)

    def _training(self, editor: Editor, judge: Thinker) -> dict[str, Any]:
        """What determines the result, other than the thinker and the data, which are identified by their contents."""
        config = {name: value for name, value in asdict(self.config).items() if name not in FREE}
        referees = {"editor": name_anywhere(editor.name), "judge": judge.chat.name}
        return {"method": "grpo", **referees, "template": self.template, **config}


FREE = ("steps", "save_every", "log_every", "vllm", "vllm_server")  # may differ when a run resumes
NOT_INDEPENDENT = (
    "Not independent: the judge is the thinker being trained, which may learn to please itself. Use another judge."
)


def is_judge(thinker: Path, judge: Thinker) -> bool:
    """Whether a judge is the thinker in a folder, judging by their names."""
    name = BUILT_IN if thinker == THINKER_FOLDER else model_name(snapshot_of(thinker))
    return is_same_model(name, judge.chat.name)


def _say_nothing(line: str) -> None:
    """Report nothing, for all processes but the first."""


@dataclass(frozen=True)
class GRPOReport:
    """The result of a job. first, last, best: measurements on the held-out tasks, None without any. busy: `busy_shares` over all
    steps."""

    output: Path
    first: HeldOut | None
    last: HeldOut | None
    best: HeldOut | None
    warnings: tuple[str, ...] = ()
    busy: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def of(output: Path, result: GRPOResult, same_judge: bool, left_out: int) -> GRPOReport:
        measured = result.measured
        warnings = [warn_of_reward(measured), *result.warnings, describe_left_out(left_out)]
        warnings += [NOT_INDEPENDENT] if same_judge else []
        first, last = (measured[0], measured[-1]) if measured else (None, None)
        return GRPOReport(output, first, last, result.best, tuple(filter(None, warnings)), result.busy)

    def __str__(self) -> str:
        lines = [f"thinker → {self.output}"]
        if self.best is None or self.first is None:
            lines.append("Nothing was measured on held-out tasks: this is the thinker of the last step.")
        elif self.best.step == 0:
            lines.append(f"No step was better than the start ({self.best}): the thinker is unchanged.")
        else:
            lines += [f"before: {self.first}", f"after {self.best.step} steps, the best: {self.best}"]
        if self.busy:
            lines.append(f"over all steps: {describe_busy(self.busy)}")
        return "\n".join([*lines, *self.warnings])
