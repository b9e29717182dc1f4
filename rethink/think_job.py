"""A thinking run from its first file to its last: what Think While Edit, `rethink think` and the demo share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .editors.settings import DEFAULT_SETTINGS, Settings
from .errors import RethinkError
from .steps import Step
from .think_loop import (
    NO_CALLBACKS,
    RunCallbacks,
    ThinkTask,
    is_accepted,
    require_same_run,
    run_config,
    think_while_edit,
)
from .trajectory import RunningError, Trajectory, load_trajectory, new_trajectory, record_run, writing

if TYPE_CHECKING:
    from .editors.protocol import Editor


@dataclass(frozen=True, eq=False)
class OpenRun:
    """A new or resumed run with its write lock, which is held until the run is closed.

    resume_steps: the complete turns that already exist. As a context manager, it closes itself.
    """

    trajectory: Trajectory
    resume_steps: tuple[Step, ...] = ()
    lock: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Release the lock."""
        self.lock.close()

    def __enter__(self) -> OpenRun:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class ThinkJob:
    """An editor thinks about a task. settings: of every edit."""

    task: ThinkTask
    editor: Editor
    settings: Settings = DEFAULT_SETTINGS

    @property
    def options(self) -> dict[str, Any]:
        """How the run is made, as its record says."""
        return run_config(self.task, self.editor.name, self.settings)

    def run(
        self, run: OpenRun, progress: Callable[[Trajectory], None], callbacks: RunCallbacks = NO_CALLBACKS
    ) -> Trajectory:
        """Think until the run ends, and write every step as soon as it exists.

        run: from `start_run`, `resume_run` or `resume_interrupted`, with this job's task and options; it stays open.
        progress: called with the run so far after every step and at the end. Returns the run with its end.
        """
        callbacks = replace(callbacks, on_edits=callbacks.on_edits or run.trajectory.save_edits)
        steps = think_while_edit(
            self.editor, self.task, self.settings, resume_steps=run.resume_steps, callbacks=callbacks
        )
        trajectory = run.trajectory
        for trajectory in record_run(run.trajectory, steps):
            progress(trajectory)
        return trajectory


def start_run(folder: Path, task: ThinkTask, options: dict[str, Any]) -> OpenRun:
    """Start a run in a new or empty folder. Raises RethinkError if the folder is not empty."""
    trajectory = new_trajectory(folder, task.source, task.instruction, options)
    lock = ExitStack()
    lock.enter_context(writing(folder))
    return OpenRun(trajectory, lock=lock)


def resume_run(folder: Path, task: ThinkTask, options: dict[str, Any]) -> OpenRun:
    """Resume the run in a folder after its last complete turn; one that has ended continues if `options` allow it.

    Raises RethinkError if there is none or it is a different run, RunningError if it is running elsewhere right now.
    """
    load_trajectory(folder)  # checks that there is one: a lock would create the folder
    with ExitStack() as lock:
        lock.enter_context(writing(folder))
        trajectory = load_trajectory(folder)
        require_same_run(trajectory, task, options)
        return _rewound(trajectory, task, options, lock)


def resume_interrupted(folders: Iterable[Path], task: ThinkTask, options: dict[str, Any]) -> OpenRun | None:
    """Resume the first interrupted run among `folders` with the same inputs, after its last complete turn; or None.

    Raises RunningError if that run is running elsewhere right now.
    """
    for folder in folders:
        try:
            if not _was_interrupted(load_trajectory(folder), task, options):
                continue
            with ExitStack() as lock:
                lock.enter_context(writing(folder))
                trajectory = load_trajectory(folder)  # as the previous holder of the lock left it
                if _was_interrupted(trajectory, task, options):
                    return _rewound(trajectory, task, options, lock)
        except RunningError:
            raise
        except RethinkError:  # damaged, or another run
            pass
    return None


def _was_interrupted(trajectory: Trajectory, task: ThinkTask, options: dict[str, Any]) -> bool:
    """Whether the run was interrupted. Raises RethinkError if it is a different run."""
    require_same_run(trajectory, task, options)
    return trajectory.stopped in ("", "failed")


def _rewound(trajectory: Trajectory, task: ThinkTask, options: dict[str, Any], lock: ExitStack) -> OpenRun:
    """The run as it continues. The thresholds may have changed, so existing edits are judged against them again."""
    steps = tuple(replace(step, accepted=is_accepted(step, task.config)) for step in trajectory.steps)
    trajectory = replace(trajectory, steps=steps).save_options(options)
    trajectory, steps = trajectory.rewind_to_resume(task.config.candidates)
    return OpenRun(trajectory, steps, lock.pop_all())
