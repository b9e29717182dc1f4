"""Compare runs of the same tasks before and after training: turns and success side by side."""

from __future__ import annotations

import hashlib
import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from ..errors import RethinkError
from ..pairs.contact_sheet import GAP, INK, PAPER, THUMB
from ..pairs.pixels import read_pixels
from ..progress import OnProgress, format_count, ignore_progress, progress_with_eta
from ..text_files import one_line
from ..thinkers.critique import Thinker
from ..thinkers.loading import is_same_model
from ..thinkers.protocol import OnToken
from ..training.recorded_runs import read_run
from ..trajectory import SOURCE_FILE, Trajectory
from .drops import Drops
from .outcomes import OutcomeJudge, RunOutcome, own_outcome
from .runs import REASONS, find_runs, warn_of_same_judge

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_LINES, MAX_ROWS = 20, 12  # lines in a report, rows in a sheet
TEXT = 44  # height of the text below a row of images, in pixels
NO_JUDGE = "The runs' own scores cannot show harm, because a run ends at the first edit they accept; a judge can."


@dataclass(frozen=True)
class ComparedRun:
    """One task before and after."""

    instruction: str
    source: Path
    before: RunOutcome
    after: RunOutcome


@dataclass(frozen=True)
class CompareRunsJob:
    """Compare recorded runs of the same tasks: same instruction, same source.

    before, after: folders with runs, in them or in their subfolders; a folder inside one of the other side counts only on its own side.
    judge: rescores the first and the winning edit of every run; None: the run's own scores count, which cannot show harm.
    replies: the folder that keeps the judge's answers, so that nothing is asked twice; None: nothing is kept.
    """

    before: tuple[Path, ...]
    after: tuple[Path, ...]
    judge: Thinker | None = None
    replies: Path | None = None

    def run(self, on_progress: OnProgress = ignore_progress, on_token: OnToken | None = None) -> Comparison:
        """Read, match and judge. A comparison that was stopped asks only for what is not in `replies` yet.

        on_token: called while the judge answers; what it raises ends the job. Raises RethinkError if no task has runs on both
        sides, or if the judge fails to answer several times in a row.
        """
        pairs, alone, unread = self._match(on_progress)
        outcome_of = own_outcome if self.judge is None else self._judge_outcomes(self.judge, on_token)
        report, rows = progress_with_eta("tasks compared", on_progress), []
        for done, (before, after) in enumerate(pairs, 1):
            outcomes = outcome_of(before), outcome_of(after)
            rows.append(ComparedRun(one_line(before.instruction), before.folder / SOURCE_FILE, *outcomes))
            report(done, len(pairs))
        judge = self.judge.chat.name if self.judge else ""
        thinkers = [run.options.get("thinker") for pair in pairs for run in pair]
        same_judge = sum(is_same_model(judge, thinker) for thinker in thinkers) if judge else 0
        return Comparison(tuple(rows), alone, unread, judge, same_judge)

    def _match(self, on_progress: OnProgress) -> tuple[list[tuple[Trajectory, Trajectory]], int, Drops]:
        """(pairs of runs of the same task before and after, how many runs have no partner, runs that were left out)."""
        report = progress_with_eta("runs read", on_progress)
        sides = [_runs_of(self.before, self.after), _runs_of(self.after, self.before)]
        waiting: dict[str, list[Trajectory]] = defaultdict(list)
        pairs, alone, unread = [], 0, Drops()
        total = sum(map(len, sides))
        for done, folder in enumerate([*sides[0], *sides[1]], 1):
            trajectory, why = read_run(folder)
            report(done, total)
            if trajectory is None or why or not trajectory.steps:
                unread.add(why or "failed", str(folder))
            elif done <= len(sides[0]):
                waiting[_task(trajectory)].append(trajectory)
            elif partners := waiting[_task(trajectory)]:
                pairs.append((partners.pop(0), trajectory))
            else:
                alone += 1
        if not pairs:
            for name, folders, runs in zip(("before", "after"), (self.before, self.after), sides, strict=True):
                if not runs:
                    places = ", ".join(map(str, folders))
                    raise RethinkError(
                        f"{name}: there is no recorded run in {places} or its subfolders; give another folder."
                    )
            raise RethinkError(
                f"after: none of its {len(sides[1])} runs has the same instruction and source as one of the {len(sides[0])} runs before; "
                "run the same instructions on the same images."
            )
        return pairs, alone + sum(map(len, waiting.values())), unread

    def _judge_outcomes(self, judge: Thinker, on_token: OnToken | None) -> Callable[[Trajectory], RunOutcome]:
        from ..benchmarking.cached_chat import with_replies_in

        if self.replies is not None:
            judge, _ = with_replies_in(judge, self.replies, "answers")
        return OutcomeJudge(judge, on_token).outcome


def _runs_of(folders: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """The folders of the runs of one side, without runs in a folder of the other side that is inside one of them."""
    own = {folder.resolve() for folder in folders}
    inner = {other for other in (folder.resolve() for folder in others) if own.intersection(other.parents)}
    return [run for run in find_runs(folders) if inner.isdisjoint([run.resolve(), *run.resolve().parents])]


@dataclass(frozen=True)
class Comparison:
    """Tasks before and after. alone: runs without a partner; unread: runs without an edit, or that `read_run`
    leaves out. judge: the name of the judge that rescored them, "" for none; same_judge: runs in which it was the thinker itself."""

    rows: tuple[ComparedRun, ...]
    alone: int = 0
    unread: Drops = field(default_factory=Drops)
    judge: str = ""
    same_judge: int = 0

    @property
    def figures(self) -> dict[str, tuple[float, float] | None]:
        """{name: (before, after)}: mean turns, share of runs whose result is good enough, share where an edit of turn 1 was, and
        share where one was but the result is not. Only over tasks where it is known on both sides; None if there are none."""
        return {
            "turns": self._means(lambda outcome: outcome.turns),
            "success": self._means(lambda outcome: outcome.right),
            "right at once": self._means(lambda outcome: outcome.at_once),
            "harm": self._means(lambda outcome: outcome.harmed),
        }

    def _means(self, value: Callable[[RunOutcome], float | None]) -> tuple[float, float] | None:
        values = [(value(row.before), value(row.after)) for row in self.rows]
        known = [(before, after) for before, after in values if before is not None and after is not None]
        if not known:
            return None
        return fmean(before for before, _ in known), fmean(after for _, after in known)

    def __str__(self) -> str:
        lines = [f"{format_count(len(self.rows), 'task')}, before → after{self.judge and f'; judged by {self.judge}'}"]
        for name, means in self.figures.items():
            number = "{:.2f} → {:.2f}" if name == "turns" else "{:.0%} → {:.0%}"
            lines.append(f"{name}: {number.format(*means) if means else '—'}")
        lines += self._notes
        lines += [f"“{row.instruction[:80]}”: {row.before} → {row.after}" for row in self.rows[:MAX_LINES]]
        more = len(self.rows) - MAX_LINES
        return "\n".join([*lines, *([f"and {more} more"] if more > 0 else [])])

    @property
    def _notes(self) -> list[str]:
        """Notes on the figures, one sentence each."""
        unjudged = sum(outcome.right is None for row in self.rows for outcome in (row.before, row.after))
        notes = [
            "" if self.judge else NO_JUDGE,
            warn_of_same_judge(self.same_judge),
            f"{format_count(unjudged, 'run')} got no scores from the judge." if unjudged else "",
            f"{format_count(self.alone, 'run has', 'runs have')} no partner." if self.alone else "",
            f"{format_count(self.unread.total(), 'run')} left out: {'; '.join(self.unread.describe(REASONS))}."
            if self.unread
            else "",
        ]
        return [note for note in notes if note]


def comparison_sheet(comparison: Comparison) -> Image:
    """A sheet of the first tasks, up to two per row: source, result before, result after, with the outcome below."""
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


def _thumbnail(file: Path) -> Image:
    """The image at the width of a thumbnail; gray if it cannot be read."""
    from PIL import Image

    try:
        image = Image.fromarray(read_pixels(file))
    except (RethinkError, OSError):
        return Image.new("RGB", (THUMB, THUMB), "gray")
    return image.resize((THUMB, max(1, round(image.height * THUMB / image.width))), Image.Resampling.LANCZOS)


def _task(trajectory: Trajectory) -> str:
    """A digest that is the same for two runs of the same task."""
    digest = hashlib.sha256((trajectory.folder / SOURCE_FILE).read_bytes())
    digest.update(one_line(trajectory.instruction).encode())
    return digest.hexdigest()
