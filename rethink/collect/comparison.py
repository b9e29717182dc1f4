"""The same tasks thought about before and after something was learned: turns and success side by side."""

from __future__ import annotations

import hashlib
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from ..errors import RethinkError
from ..pairs.contact_sheet import GAP, INK, PAPER, THUMB
from ..pairs.pixels import read_pixels
from ..progress import OnProgress, ignore_progress, progress_with_eta
from ..text_files import one_line
from ..think_loop import is_accepted
from ..training.recorded_runs import read_run
from ..trajectory import SOURCE_FILE, Trajectory
from .runs import config_of, find_runs, has_succeeded

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_LINES, MAX_ROWS = 20, 12  # of a report, and of a sheet
TEXT = 44  # pixels below a row of images


@dataclass(frozen=True)
class RunOutcome:
    """How a run went. turns: how many it took. right: whether its result was accepted; at_once: whether an edit of the first
    turn was. score: of the best edit. best: its image file."""

    turns: int
    right: bool
    at_once: bool
    score: float | None
    best: Path | None

    def __str__(self) -> str:
        score = "no score" if self.score is None else f"{self.score:.1f}"
        return f"{self.turns} turn{'s' * (self.turns != 1)}, {score}{'' if self.right else ', not accepted'}"


@dataclass(frozen=True)
class ComparedRun:
    """One task before and after."""

    instruction: str
    source: Path
    before: RunOutcome
    after: RunOutcome


@dataclass(frozen=True)
class CompareRunsJob:
    """Compare recorded runs of the same tasks: same instruction, same source. before, after: folders with runs in them or
    below."""

    before: tuple[Path, ...]
    after: tuple[Path, ...]

    def run(self, on_progress: OnProgress = ignore_progress) -> Comparison:
        """Read and match. Raises RethinkError where no task was thought about twice."""
        report = progress_with_eta("runs read", on_progress)
        sides = [list(find_runs(folders)) for folders in (self.before, self.after)]
        waiting: dict[str, list[Trajectory]] = defaultdict(list)
        rows, alone, unread = [], 0, 0
        total = sum(map(len, sides))
        for done, folder in enumerate([*sides[0], *sides[1]], 1):
            trajectory, why = read_run(folder)
            report(done, total)
            if trajectory is None or why or not trajectory.steps:
                unread += 1
            elif done <= len(sides[0]):
                waiting[_task(trajectory)].append(trajectory)
            elif partners := waiting[_task(trajectory)]:
                rows.append(_compare(partners.pop(0), trajectory))
            else:
                alone += 1
        if not rows:
            raise RethinkError(
                f"after: none of its {len(sides[1])} runs has instruction and source of one of the {len(sides[0])} before; "
                "think about the same images with the same words."
            )
        return Comparison(tuple(rows), alone + sum(map(len, waiting.values())), unread)


@dataclass(frozen=True)
class Comparison:
    """Tasks before and after. alone: runs without a partner; unread: runs that are damaged, empty or have not ended."""

    rows: tuple[ComparedRun, ...]
    alone: int = 0
    unread: int = 0

    @property
    def figures(self) -> dict[str, tuple[float, float]]:
        """{name: (before, after)}: mean turns, share of runs whose result was accepted, share that were right at once,
        share that were right at once and whose result was not accepted."""
        sides = [[row.before for row in self.rows], [row.after for row in self.rows]]
        return {
            "turns": _means(sides, lambda outcome: outcome.turns),
            "success": _means(sides, lambda outcome: outcome.right),
            "right at once": _means(sides, lambda outcome: outcome.at_once),
            "harm": _means(sides, lambda outcome: outcome.at_once and not outcome.right),
        }

    def __str__(self) -> str:
        figures = self.figures
        lines = [f"{len(self.rows)} tasks, before → after"]
        lines.append("turns: {:.2f} → {:.2f}".format(*figures.pop("turns")))
        lines += [f"{name}: {before:.0%} → {after:.0%}" for name, (before, after) in figures.items()]
        if self.alone:
            lines.append(f"{self.alone} runs have no partner.")
        if self.unread:
            lines.append(f"{self.unread} runs cannot be read, or have not ended.")
        lines += [f"“{row.instruction[:80]}”: {row.before} → {row.after}" for row in self.rows[:MAX_LINES]]
        more = len(self.rows) - MAX_LINES
        return "\n".join([*lines, *([f"and {more} more"] if more > 0 else [])])


def comparison_sheet(comparison: Comparison) -> Image:
    """The first tasks, up to two beside each other: source, result before, result after, with how it went below."""
    from PIL import Image, ImageDraw, ImageFont

    tasks = comparison.rows[:MAX_ROWS]
    columns, wide = (1 if len(tasks) <= MAX_ROWS // 3 else 2), 3 * (THUMB + GAP) + GAP
    thumbs = [[_thumbnail(file) for file in (task.source, task.before.best, task.after.best)] for task in tasks]
    lines = [range(start, min(start + columns, len(tasks))) for start in range(0, len(tasks), columns)]
    heights = [max(thumb.height for task in line for thumb in thumbs[task]) for line in lines]
    sheet = Image.new("RGB", (columns * wide, sum(heights) + len(lines) * (TEXT + GAP) + GAP), PAPER)
    pencil, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(15), GAP
    for line, height in zip(lines, heights):
        for column, number in enumerate(line):
            task = tasks[number]
            words = (task.instruction, f"before: {task.before}", f"after: {task.after}")
            for side, (image, text) in enumerate(zip(thumbs[number], words)):
                left = column * wide + GAP + side * (THUMB + GAP)
                sheet.paste(image, (left, top))
                below = "\n".join(textwrap.wrap(text, THUMB // 7)[:2])
                pencil.multiline_text((left, top + height + 2), below, INK, font)
        top += height + TEXT + GAP
    return sheet


def _thumbnail(file: Path | None) -> Image:
    """Of one width; gray where there is no image."""
    from PIL import Image

    try:
        image = Image.fromarray(read_pixels(file)) if file else None
    except (RethinkError, OSError):
        image = None
    if image is None:
        return Image.new("RGB", (THUMB, THUMB), "gray")
    return image.resize((THUMB, max(1, round(image.height * THUMB / image.width))), Image.Resampling.LANCZOS)


def _task(trajectory: Trajectory) -> str:
    """What makes two runs the same task."""
    digest = hashlib.sha256((trajectory.folder / SOURCE_FILE).read_bytes())
    digest.update(one_line(trajectory.instruction).encode())
    return digest.hexdigest()


def _compare(before: Trajectory, after: Trajectory) -> ComparedRun:
    return ComparedRun(
        one_line(before.instruction), before.folder / SOURCE_FILE, _outcome_of(before), _outcome_of(after)
    )


def _outcome_of(trajectory: Trajectory) -> RunOutcome:
    config, best = config_of(trajectory), trajectory.best
    assert best is not None, "runs without steps are left out"
    step = trajectory.steps[best]
    first = (each for each in trajectory.steps if each.turn == trajectory.steps[0].turn)
    return RunOutcome(
        trajectory.steps[-1].turn,
        has_succeeded(trajectory),
        any(is_accepted(each, config) for each in first),
        step.score,
        trajectory.folder / step.file,
    )


def _means(sides: Sequence[Sequence[RunOutcome]], value) -> tuple[float, float]:
    before, after = (fmean(float(value(outcome)) for outcome in side) for side in sides)
    return before, after
