"""What a thinker in reinforcement learning is worth on tasks it is not trained on, and when its reward says something else."""

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
CLEAR = 1e-3  # rewards that differ by less are equal


@dataclass(frozen=True)
class TaskResult:
    """One held-out task. success: whether the judge accepted the edit that the run ended with."""

    success: bool
    turns: int


@dataclass(frozen=True)
class HeldOut:
    """A measurement after some steps. success: share of the tasks; turns: their mean; failed: tasks that could not be measured.
    reward: the mean of the steps since the last measurement, None before any. results: of every task, in an order that stays, None
    where it could not be measured; () in records that have the means alone."""

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
    """Who edits and who judges held-out tasks, and how. seconds: a run may take so long, 0 for any time. progress: is asked all the
    while whether to go on."""

    editor: Editor
    judge: Thinker
    settings: Settings
    config: LoopConfig
    seconds: float = 0
    progress: StepProgress = field(default_factory=StepProgress)


def measure_tasks(
    tasks: Sequence[ThinkerStep], thinker: Thinker, referee: Referee, context: Context = nullcontext
) -> list[TaskResult | str]:
    """Thinks over every task; in a sentence why not, where the editor, the judge or the time failed.

    thinker: as it is now; what it remembers of before is forgotten. context: made anew around every run, in its thread.
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
    except Exception as error:  # as in training: what cannot be measured is no failure of the thinker's
        if error is referee.progress.error:
            raise
        return describe_error(error)


def run_task(task: ThinkerStep, thinker: Thinker, referee: Referee) -> TaskResult:
    """The thinker alone decides, as it will at use; the judge only says what came of it.

    Raises TimeoutError when it takes too long, and whatever keeps it from being measured.
    """
    source, end = load_image(task.source), time.monotonic() + (referee.seconds or float("inf"))

    def look(*_: Any) -> None:
        referee.progress.poll()
        if time.monotonic() > end:  # in a thread that nobody waits for any more
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
    """The measurement of all tasks; None where none could be measured. rewards: since the last one."""
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
    """More success at the same tasks, or the same in fewer turns, or as measured by more tasks."""
    if best is None:
        return True
    one, other = of_same_tasks(new, best)
    return (one.success, -one.turns, new.tasks) > (other.success, -other.turns, best.tasks)


def of_same_tasks(one: HeldOut, other: HeldOut) -> tuple[HeldOut, HeldOut]:
    """Two measurements without what only one of them could measure: else a judge that fails at hard tasks makes a thinker better.
    As they are where no task is known to be in both."""
    if len(one.results) != len(other.results):
        return one, other
    both = [bool(mine and theirs) for mine, theirs in zip(one.results, other.results)]
    found = [_measurement(each.step, [*compress(each.results, both)], each.reward) for each in (one, other)]
    return found[0] or one, found[1] or other


def warn_of_reward(measured: Sequence[HeldOut]) -> str:
    """A sentence where the reward has risen while held-out success fell by more than one task, since the best of all
    measurements; "" where not."""
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
        f"The reward goes up ({after[0]:.3f} → {after[-1]:.3f}) while held-out success goes down ({best.success:.0%} at step "
        f"{best.step} → {last.success:.0%}): what is rewarded is no longer what is wanted. The thinker of step {best.step} is kept. "
        "Use a stronger or another judge, more KL, or a lower learning rate."
    )


def read_held_out(record: dict[str, Any]) -> HeldOut:
    """The measurement of a `record`. Raises TypeError for any other."""
    results = tuple(result and TaskResult(**result) for result in record.get("results", ()))
    return replace(HeldOut(0, 0.0, 0.0, 0), **{**record, "results": results})
