"""Measuring a thinker on held-out tasks during reinforcement learning, and warning when its reward disagrees."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import compress
from typing import TYPE_CHECKING, Any

import torch

from ..editors.settings import Settings
from ..errors import RethinkError, describe_error
from ..images import load_image
from ..loop_config import LoopConfig
from ..progress import format_count
from ..steps import best_of
from ..think_loop import RunCallbacks, ThinkTask, is_accepted, think_while_edit
from ..thinkers.critique import Thinker, critique
from ..thinkers.protocol import clear_cache
from .step_progress import StepProgress
from .thinker_rollouts import TimeLimit, too_late
from .thinker_steps import ThinkerStep

if TYPE_CHECKING:
    from ..editors.protocol import Editor

Context = Callable[[], AbstractContextManager[Any]]
CLEAR = 1e-3  # rewards that differ by less count as equal


@dataclass(frozen=True)
class TaskResult:
    """The result on one held-out task. success: whether the judge accepted the edit that the run ended with."""

    success: bool
    turns: int


@dataclass(frozen=True)
class HeldOut:
    """A measurement after `step` steps. success: share of tasks; turns: mean over tasks; failed: tasks that could not be measured.
    reward: mean over the steps since the last measurement, None before any. results: one per task, always in the same order, None
    if it could not be measured; () in records that only have the means."""

    step: int
    success: float
    turns: float
    tasks: int
    failed: int = 0
    reward: float | None = None
    results: tuple[TaskResult | None, ...] = ()

    @property
    def record(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        failed = f", {self.failed} could not be measured" if self.failed else ""
        return (
            f"{self.success:.0%} of {format_count(self.tasks, 'held-out task')} done, in {self.turns:.1f} turns{failed}"
        )


@dataclass(frozen=True)
class Referee:
    """How held-out tasks are edited and judged. seconds: time limit of a run, 0 for none. progress: is polled throughout, and may
    end the training."""

    editor: Editor
    judge: Thinker
    settings: Settings
    config: LoopConfig
    seconds: float = 0
    progress: StepProgress = field(default_factory=StepProgress)


def measure_tasks(
    tasks: Sequence[ThinkerStep], thinker: Thinker, referee: Referee, context: Context = nullcontext
) -> list[TaskResult | str]:
    """Run every task with the thinker; a sentence with the reason instead of a result if the editor or the judge failed, or time ran
    out.

    thinker: with its current weights; its cache is cleared. context: entered for every run, in its thread.
    """
    clear_cache(thinker.chat)
    limit = TimeLimit(referee.seconds)
    found = [_measure(task, thinker, referee, limit, context) for task in tasks]
    clear_cache(thinker.chat)
    return found


def _measure(
    task: ThinkerStep, thinker: Thinker, referee: Referee, limit: TimeLimit, context: Context
) -> TaskResult | str:
    def run() -> TaskResult:
        with context(), torch.inference_mode():
            return run_task(task, thinker, referee)

    try:
        return limit.call(run)
    except Exception as error:  # as in training: the thinker is not to blame for what cannot be measured
        if error is referee.progress.error:
            raise
        return describe_error(error)


def run_task(task: ThinkerStep, thinker: Thinker, referee: Referee) -> TaskResult:
    """Run a task: the thinker alone decides, as it will in use; the judge only scores the result.

    Raises TimeoutError if it takes too long, and any error that keeps it from being measured.
    """
    source, end = load_image(task.source), time.monotonic() + (referee.seconds or float("inf"))

    def look(*_: Any) -> None:
        referee.progress.poll()
        if time.monotonic() > end:  # in a thread that nobody waits for anymore
            raise too_late(referee.seconds)

    callbacks = RunCallbacks(on_step=look, on_token=look)
    thought = ThinkTask(source, task.instruction, thinker, config=referee.config)
    steps = list(think_while_edit(referee.editor, thought, referee.settings, callbacks=callbacks))
    best = steps[best_of(steps)]
    assert best.image is not None, "a step that was just made has its image"
    (verdict,) = critique(referee.judge, source, [best.image], task.instruction, [best.prompt], [best.seed])
    if verdict.overall is None:
        raise RethinkError(f"judge: did not answer. {verdict.note}")
    return TaskResult(is_accepted(replace(best, judge=verdict), referee.config), steps[-1].turn)


def sum_up(step: int, results: Sequence[TaskResult | str], rewards: Sequence[float]) -> HeldOut | None:
    """The measurement over all tasks; None if none could be measured. rewards: since the last measurement."""
    reward = statistics.fmean(rewards) if rewards else None
    return _measurement(step, [result if isinstance(result, TaskResult) else None for result in results], reward)


def _measurement(step: int, results: Sequence[TaskResult | None], reward: float | None) -> HeldOut | None:
    found = [result for result in results if result]
    if not found:
        return None
    success = statistics.fmean(result.success for result in found)
    turns = statistics.fmean(result.turns for result in found)
    return HeldOut(step, success, turns, len(found), len(results) - len(found), reward, tuple(results))


def is_better(new: HeldOut, best: HeldOut | None) -> bool:
    """Whether success on the same tasks is higher, or equal in fewer turns, or equal but measured on more tasks."""
    if best is None:
        return True
    one, other = of_same_tasks(new, best)
    return (one.success, -one.turns, new.tasks) > (other.success, -other.turns, best.tasks)


def of_same_tasks(one: HeldOut, other: HeldOut) -> tuple[HeldOut, HeldOut]:
    """Two measurements over the tasks that both could measure; otherwise a judge that fails on hard tasks would make a thinker look
    better. Unchanged if no task is known to be in both."""
    if len(one.results) != len(other.results):
        return one, other
    both = [bool(mine and theirs) for mine, theirs in zip(one.results, other.results)]
    found = [_measurement(each.step, [*compress(each.results, both)], each.reward) for each in (one, other)]
    return found[0] or one, found[1] or other


def warn_of_reward(measured: Sequence[HeldOut]) -> str:
    """A warning if the reward has risen while held-out success has fallen by more than one task since the best measurement; "" if
    not."""
    if len(measured) < 2:
        return ""
    best, last = measured[0], measured[-1]
    for each in measured[1:]:
        best = each if is_better(each, best) else best
    after = [each.reward for each in measured if each.step >= best.step and each.reward is not None]
    best, last = of_same_tasks(best, last)
    fell = best.success - last.success > 1 / last.tasks + 1e-9
    if not fell or len(after) < 2 or after[-1] <= after[0] + CLEAR:
        return ""
    return (
        f"The reward is going up ({after[0]:.3f} → {after[-1]:.3f}) while held-out success is going down ({best.success:.0%} at step "
        f"{best.step} → {last.success:.0%}): the reward no longer matches what you want. The thinker of step {best.step} is kept. "
        "Use a stronger or different judge, a higher kl, or a lower learning rate."
    )


def read_held_out(record: dict[str, Any]) -> HeldOut:
    """The measurement in a `record`. Raises TypeError for anything else."""
    results = tuple(result and TaskResult(**result) for result in record.get("results", ()))
    return replace(HeldOut(0, 0.0, 0.0, 0), **{**record, "results": results})
