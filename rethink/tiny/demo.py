"""The main job on a bare machine: editor and thinker together solve tasks worded in ways the editor never learned."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from ..builtin import EDITOR_FOLDER
from ..editors.loading import load_editor
from ..think_job import ThinkJob, start_run
from ..think_loop import LoopConfig, ThinkTask
from ..thinkers.loading import BUILT_IN, open_thinker
from ..trajectory import Trajectory
from ..trajectory_html import write_html
from .oracle import Verdict, judge
from .scene import render
from .tasks import sample_task

HARD = ("reasoning", "unusual")  # the levels, in turn


def make_demo(page: Path, seed: int, progress: Callable[[Trajectory], None]) -> Verdict:
    """Think about the built-in task number `seed` and write the run to `page`, with every image.

    progress: called with the run so far after every step and at the end. Returns the oracle's verdict on the best
    image.
    """
    task = sample_task(seed, HARD[seed % len(HARD)], wording="held_out")
    editor = load_editor(EDITOR_FOLDER)
    editor.name = BUILT_IN
    thought = ThinkTask(
        render([task.source]), task.instruction, open_thinker(), config=LoopConfig(seed=seed, regions=True)
    )
    job = ThinkJob(thought, editor)
    with tempfile.TemporaryDirectory() as folder, start_run(Path(folder), thought, job.options) as run:
        trajectory = job.run(run, progress)
        write_html(trajectory, page)
        assert trajectory.best is not None, "a run that ends has steps"
        return judge(trajectory.image(trajectory.steps[trajectory.best]), task)
