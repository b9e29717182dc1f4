"""The job of training a thinker by reinforcement: from recorded runs, an editor and a judge to a folder that Load Thinker opens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import check_target
from ..builtin import THINKER_FOLDER
from ..errors import OutOfMemoryError, is_out_of_memory
from ..model_files import model_name, snapshot_of
from ..thinkers.critique import TEMPLATE, Thinker, check_template
from .process_group import ALONE, ProcessGroup
from .thinker_grpo import GRPOConfig, GRPOResult, GRPOTask, train
from .thinker_rollouts import Rollouts, settings_for
from .thinker_sft import checkpoints_of, load_trainable, save
from .thinker_steps import hold_out, read_steps
from .thinker_watch import HeldOut, warn_of_reward

if TYPE_CHECKING:
    from ..editors.protocol import Editor


@dataclass(frozen=True)
class GRPOJob:
    """Train a thinker by reinforcement (GRPO): what it proposes is really edited, and a judge scores what comes of it.

    thinker: transformers folder to start from. data: data sets of `collect`, or folders with runs in them or below. output:
    folder of the trained thinker; checkpoints and the log go beside it, and a run that was cut off goes on from them. template:
    the critique's wording that runs are asked in; collected data have theirs.
    """

    thinker: Path
    data: tuple[Path, ...]
    output: Path
    config: GRPOConfig = field(default_factory=GRPOConfig)
    template: str = TEMPLATE

    def __post_init__(self):
        check_template(self.template)

    def run(
        self,
        editor: Editor,
        judge: Thinker,
        report: Callable[[str], None] = print,
        processes: ProcessGroup = ALONE,
    ) -> GRPOReport:
        """Train to the end. report: prints a line. processes: that train together, each with an editor and a judge of its own.

        Raises RethinkError for what is wrong with data, models or settings before any work, and where the editor or the judge is
        gone for good; then it goes on from its last checkpoint when it is started again.
        """
        check_target(self.output / "config.json", "output")
        say = report if processes.is_main else _say_nothing
        steps, held_out = hold_out(read_steps(self.data, self.template), self.config.hold_out)
        config = replace(self.config, prompts=min(self.config.prompts, len(steps)))
        config.accumulate(processes.count)
        say(f"{len(steps)} questions to learn from; {len(held_out)} tasks held out")
        if config.prompts < self.config.prompts:
            say(f"prompts: {config.prompts} a step, as there are no more")
        same_judge = is_judge(self.thinker, judge)
        if same_judge:
            say(NOT_INDEPENDENT)
        chat = load_trainable(self.thinker, config.lora_rank, config.precision)
        limit = config.time_limit
        rollouts = Rollouts(editor, judge, settings_for(editor, config.editor_steps), config.seed, limit)
        work = checkpoints_of(self.output)
        try:
            result = train(GRPOTask(chat, self.template, steps, held_out, rollouts, config, work, say))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"batch: {chat.name} ran out of memory; lower batch (it is {config.batch}), then answer_tokens, train a LoRA "
                "(lora_rank), or keep editor and judge behind servers or on another GPU."
            ) from None
        if processes.is_main:
            save(result.model, self.thinker, self.output)
        return GRPOReport.of(self.output, result, same_judge)


NOT_INDEPENDENT = (
    "Not independent: the judge is the thinker that is trained. It may learn to please itself; take another judge."
)


def is_judge(thinker: Path, judge: Thinker) -> bool:
    """Whether a judge is the thinker in a folder, as far as their names tell."""
    name = "built-in" if thinker == THINKER_FOLDER else model_name(snapshot_of(thinker))
    return judge.chat.name == name


def _say_nothing(line: str) -> None:
    """For all processes but the first."""


@dataclass(frozen=True)
class GRPOReport:
    """The result of a job. first, last, best: measurements on the held-out tasks, None without any."""

    output: Path
    first: HeldOut | None
    last: HeldOut | None
    best: HeldOut | None
    warnings: tuple[str, ...] = ()

    @staticmethod
    def of(output: Path, result: GRPOResult, same_judge: bool) -> GRPOReport:
        measured = result.measured
        warnings = [warn_of_reward(measured), NOT_INDEPENDENT if same_judge else ""]
        first, last = (measured[0], measured[-1]) if measured else (None, None)
        return GRPOReport(output, first, last, result.best, tuple(filter(None, warnings)))

    def __str__(self) -> str:
        lines = [f"thinker → {self.output}"]
        if self.best is None or self.first is None:
            lines.append("Nothing was measured on held-out tasks: this is the thinker of the last step.")
        elif self.best.step == 0:
            lines.append(f"No step was better than the start ({self.best}): the thinker is as it was.")
        else:
            lines += [f"before: {self.first}", f"after {self.best.step} steps, the best: {self.best}"]
        return "\n".join([*lines, *self.warnings])
