"""The main job on a bare machine: editor and thinker together get right what was asked in a way the editor never learned."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from ..builtin import EDITOR_FOLDER, THINKER_FOLDER
from ..editors.loading import load_editor
from ..editors.protocol import DEFAULT_SETTINGS
from ..think_loop import LoopConfig, run_config, think_while_edit, validate_source
from ..thinkers.critique import Thinker
from ..thinkers.loading import load_thinker
from ..trajectory import Trajectory, new_trajectory, record_run
from ..trajectory_html import write_html
from .oracle import Verdict, judge
from .scene import render
from .tasks import sample_task

HARD = ("reasoning", "unusual")  # the levels, in turn


def make_demo(page: Path, seed: int, tell: Callable[[Trajectory], None]) -> Verdict:
    """Thinks about the built-in task number `seed` and writes the run to `page`, every image within.

    tell: called with the run so far after every step and at the end. Returns what the oracle says of the best image.
    """
    task = sample_task(seed, HARD[seed % len(HARD)], wording="held_out")
    editor, thinker = load_editor(EDITOR_FOLDER), Thinker(load_thinker(THINKER_FOLDER))
    source = validate_source(render([task.source]), task.instruction)
    options = run_config(LoopConfig(seed=seed), DEFAULT_SETTINGS, "", thinker) | {
        "editor": "built-in",
        "thinker": "built-in",
    }
    with tempfile.TemporaryDirectory() as folder:
        begun = new_trajectory(folder, source, task.instruction, options)
        for trajectory in record_run(begun, think_while_edit(editor, thinker, source, task.instruction, seed=seed)):
            tell(trajectory)
        write_html(trajectory, page)
        return judge(trajectory.image(trajectory.steps[trajectory.best]), task)
