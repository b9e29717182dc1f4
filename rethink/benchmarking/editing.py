"""Make the missing edits of a benchmark, with or without thinking, and measure them if the benchmark needs no judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..editors.settings import DEFAULT_SETTINGS, Settings
from ..errors import RethinkError
from ..evaluation.benchmarks.core import Benchmark, Item, Scores
from ..images import load_image, save_image
from ..think_job import ThinkJob, resume_run, start_run
from ..think_loop import LoopConfig, RunCallbacks, ThinkTask
from ..trajectory import RECORD_FILE, load_trajectory
from .judging import decode_image

if TYPE_CHECKING:
    from torch import Tensor

    from ..editors.protocol import Editor
    from ..thinkers.critique import Thinker

RUNS = "thinking"  # the folder of trajectories, inside the results folder
# In the scores of a thinking run: the prefix of first-turn scores, and the number of turns.
FIRST_TURN, TURNS = "first turn, ", "turns"
MOST_FAILURES = 5  # failed edits in a row after which the run gives up


@dataclass(frozen=True)
class Thinking:
    """The thinking around an editor. judge: another thinker whose scores count; neither is the benchmark's judge."""

    thinker: Thinker
    config: LoopConfig
    judge: Thinker | None = None

    @property
    def record(self) -> dict[str, Any]:
        """The thinker, the judge and the rules, as JSON values."""
        names = {"thinker": self.thinker.chat.name, "judge": self.judge.chat.name if self.judge else ""}
        return names | self.config.as_dict()


@dataclass(frozen=True)
class EditSetup:
    """The editor and how it edits. thinking: None to edit once, with the instruction as the prompt. loras: the editor's, for the record.
    look: called at every step and token; what it raises ends the run."""

    editor: Editor
    settings: Settings = DEFAULT_SETTINGS
    seed: int = 0
    thinking: Thinking | None = None
    loras: tuple[str, ...] = ()
    look: Callable[[], None] = lambda: None

    @property
    def record(self) -> dict[str, Any]:
        """Everything that the edits in one folder have in common, as JSON values."""
        return {
            "editor": self.editor.name,
            "loras": list(self.loras),
            "settings": self.settings.as_inputs(),
            "seed": self.seed,
            "thinking": self.thinking.record if self.thinking else False,
        }


def make_edits(
    benchmark: Benchmark,
    items: Sequence[Item],
    folder: Path,
    setup: EditSetup,
    on_done: Callable[[int, Tensor], None],
) -> list[tuple[str, str]]:
    """Edit every item and write the result where the benchmark's script looks for it; returns (item, reason) for failures.

    on_done: called with the number of items done and the last edit. Raises RethinkError if several fail in a row.
    """
    failures: list[tuple[str, str]] = []
    in_a_row = 0
    for number, item in enumerate(items, 1):
        try:
            images = [decode_image(load()) for load in item.sources]
            edited = edit_with(setup, images, item.instruction, folder / RUNS / item.id)
            _write(benchmark, item, images[0], edited, folder)
        except (RethinkError, OSError) as error:
            failures.append((item.id, str(error)))
            in_a_row += 1
            if in_a_row == MOST_FAILURES:
                raise RethinkError(f"{item.id}: {error} ({MOST_FAILURES} edits in a row failed)") from error
            continue
        in_a_row = 0
        on_done(number, edited)
    return failures


def edit_with(setup: EditSetup, images: Sequence[Tensor], instruction: str, run: Path) -> Tensor:
    """Edit the first image, IMAGE [1, H, W, 3]; an editor that takes several images also gets the others.

    run: the folder of the trajectory, with thinking.
    """
    if setup.thinking is not None:
        return _think(images[0], instruction, run, setup, setup.thinking)
    references = images[1 : 1 + setup.editor.family.references]
    prepared = setup.editor.prepare(images[0], references)
    look = setup.look
    return setup.editor.edit(prepared, [instruction], [setup.seed], setup.settings, on_step=lambda *_: look())


def _think(source: Tensor, instruction: str, home: Path, setup: EditSetup, thinking: Thinking) -> Tensor:
    """The best image of a thinking run, which is kept and resumes after an interruption."""
    task = ThinkTask(source, instruction, thinking.thinker, thinking.judge, None, thinking.config)
    job = ThinkJob(task, setup.editor, setup.settings)
    home.parent.mkdir(parents=True, exist_ok=True)
    with (resume_run if (home / RECORD_FILE).is_file() else start_run)(home, task, job.options) as run:
        look = setup.look
        callbacks = RunCallbacks(on_step=lambda *_: look(), on_token=lambda *_: look())
        trajectory = job.run(run, lambda _: None, callbacks)
    if trajectory.best is None:
        raise RethinkError(f"thinking made no edit: {trajectory.message or trajectory.stopped}")
    return load_image(home / trajectory.steps[trajectory.best].file)


def measure_edits(
    benchmark: Benchmark,
    items: Sequence[Item],
    edits: Mapping[str, Path],
    folder: Path,
    on_done: Callable[[int], None] = lambda done: None,
) -> tuple[dict[str, Scores | None], tuple[str, ...]]:
    """(the exact scores of every edit, notes), for a benchmark that needs no judge.

    An edit made with thinking also has the scores of its first turn, prefixed with FIRST_TURN, and its TURNS.
    """
    assert benchmark.measure is not None
    judged: dict[str, Scores | None] = {}
    notes = []
    for item in items:
        if item.id in edits:
            try:
                scores = dict(benchmark.measure(item, decode_image(edits[item.id].read_bytes())))
                judged[item.id] = scores | _first_turn(benchmark.measure, item, folder / RUNS / item.id)
            except (RethinkError, OSError) as error:
                judged[item.id] = None
                notes.append(f"{item.id}: {error}.")
            on_done(len(judged))
    return judged, tuple(notes)


def _first_turn(measure: Callable[[Item, Tensor], Scores], item: Item, run: Path) -> dict[str, float | None]:
    if not (run / RECORD_FILE).is_file():
        return {}
    trajectory = load_trajectory(run)
    first = measure(item, load_image(run / trajectory.steps[0].file))
    return {TURNS: float(trajectory.steps[-1].turn)} | {FIRST_TURN + name: value for name, value in first.items()}


def _write(benchmark: Benchmark, item: Item, source: Tensor, edited: Tensor, folder: Path) -> None:
    if name := benchmark.source_name(item):
        save_image(source, folder / name)
    save_image(edited, folder / benchmark.result_names(item)[0])
