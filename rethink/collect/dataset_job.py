"""The job of making a data set for thinkers of recorded runs: what the node and the command share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RethinkError
from ..options import check_limits, option
from ..pairs.jsonl_log import disk_full_as_error, locked
from ..pairs.own_files import write_own
from ..pairs.store import MANIFEST, RUN_LOG
from ..progress import OnProgress, format_count, ignore_progress, progress_with_eta
from ..thinkers.critique import TEMPLATE, Thinker, check_template
from ..thinkers.protocol import OnToken
from .drops import Drops
from .formats import FORMATS
from .formats.core import DatasetFormat
from .rows import IMAGES
from .rules import RULES, Choice, CollectRules, Part, apply_rules
from .run_log import ReadRuns, RunReader
from .runs import warn_of_same_judge

if TYPE_CHECKING:
    from .rows import Row

LOCK = ".lock"
LOSSES = {"lost": "went missing or changed meanwhile, or an image is damaged"}
PART_NAMES: dict[Part, str] = {"sft": "supervised learning (SFT)", "rl": "reinforcement learning (RL)"}


@dataclass(frozen=True)
class CollectJob:
    """Make a data set of recorded runs.

    runs: folders with runs in them or below. output: the data set's folder, new or begun: what was read and judged before is
    not read again. judge: scores all edits anew, in place of the runs' own scores. template: the wording of the critique
    that the thinker will be asked in.
    """

    runs: tuple[Path, ...]
    output: Path
    rules: CollectRules = field(default_factory=CollectRules)
    judge: Thinker | None = None
    template: str = TEMPLATE
    format: str = option(
        "trl",
        "Whose layout: trl's conversations, LLaMA-Factory's ShareGPT (SFT), EasyR1's JSON lines or verl's parquet (both RL).",
        choices=tuple(FORMATS),
    )

    def __post_init__(self):
        check_limits(self)
        check_template(self.template)

    def run(self, on_progress: OnProgress = ignore_progress, on_token: OnToken | None = None) -> CollectReport:
        """Read, judge, choose, write. A run that was stopped goes on; the files of the layout appear whole.

        on_token: called while the judge answers; what it raises ends the job.
        """
        format = FORMATS[self.format]
        with _open_dataset(self.output), disk_full_as_error(self.output):
            runs = RunReader(self.runs, self.judge, on_token=on_token).read(self.output, on_progress)
            choice = apply_rules(runs, self.rules)
            _require_rows(choice, format)
            counts, lost = self._write(runs, choice, format, on_progress)
            report = CollectReport(self.output, format, choice, counts, lost)
            write_own(self.output, {"README.md": report.readme().encode()})  # one that a user has changed stays
        return report

    def _write(
        self, runs: ReadRuns, choice: Choice, format: DatasetFormat, on_progress: OnProgress
    ) -> tuple[Counter[Part], Drops]:
        """(rows written of each part, runs that went missing meanwhile)."""
        from .rows import rows_of

        written: Counter[Part] = Counter()
        lost = Drops()
        total = sum(choice.chosen[part] for part in format.parts)
        report = progress_with_eta("steps written", on_progress)

        def rows(part: Part) -> Iterator[Row]:
            for its_part, facts, places in choice.choose(runs):
                if its_part != part:
                    continue
                try:
                    found = list(rows_of(facts, places, self.output, self.template))
                except (RethinkError, FileNotFoundError):
                    lost.add("lost", facts.run)
                    continue
                yield from found
                written[part] += len(found)
                report(written.total(), total)
            if not written[part]:  # the file that is there stays
                raise RethinkError(
                    f"runs: none of the steps for {PART_NAMES[part]} can be written: all their runs went missing or changed "
                    f"meanwhile, or have a damaged image. What {self.output} has of them is left as it is; run again."
                )

        for part in format.parts:
            if choice.chosen[part]:
                format.write(part, rows(part), self.output)
            else:  # of an earlier run, with other rules
                _remove_empty(format, part, self.output)
        return written, lost


@dataclass(frozen=True)
class CollectReport:
    """The result of a job. written: rows of each part in the layout's files. losses: runs that went missing or changed
    meanwhile, or have an image with wrong check sums."""

    folder: Path
    format: DatasetFormat
    choice: Choice
    written: Counter[Part]
    losses: Drops

    @property
    def drops(self) -> list[tuple[str, int]]:
        """(rule, runs that it has dropped), in the order in which the rules are applied."""
        return [*self.choice.dropped.counts(RULES), *self.losses.counts(LOSSES)]

    @property
    def lost(self) -> int:
        """How many runs were lost."""
        return self.losses.total()

    @property
    def notes(self) -> list[str]:
        """What to know about the judge, and what it says of the runs: a sentence each."""
        harmed = self.choice.harmed
        harm = (
            f"In {format_count(harmed, 'run')} the judge accepts an edit of the first turn and not the result."
            if harmed
            else ""
        )
        return [note for note in (warn_of_same_judge(self.choice.same_judge), harm) if note]

    def __str__(self) -> str:
        choice = self.choice
        lines = [f"{choice.kept - self.lost} of {format_count(choice.runs, 'run')} kept → {self.folder}"]
        lines += [*choice.dropped.describe(RULES), *self.losses.describe(LOSSES)]
        lines += [f"{PART_NAMES[part]}: {_steps(self, part)}" for part in PART_NAMES]
        return "\n".join([*lines, *self.notes])

    def readme(self) -> str:
        """The data set's README, in Markdown."""
        choice, title = self.choice, self.format.title
        table = [f"| {why} | {count} |" for why, count in self.drops]
        balanced = choice.steps.total() - choice.chosen.total()
        lines = [
            f"# {format_count(self.written.total(), 'step')} of thinking runs",
            "",
            f"Layout: {title}. Images lie in `images/`.",
            "",
            f"| {format_count(choice.runs, 'run')}, of them dropped because | runs |",
            "|---|---|",
            *table,
            f"| **kept** | **{choice.kept - self.lost}** |",
            "",
            f"Every kept run is cut at its best turn and unrolled into steps: {choice.steps.total()}. To balance tasks and "
            f"scores, {balanced} of them were left out.",
            "",
            *(f"- {name}: {_steps(self, part)}" for part, name in PART_NAMES.items()),
            "",
            *(line for note in self.notes for line in (f"**{note}**", "")),
            self.format.use.replace("FOLDER", repr(str(self.folder)) if "```" in self.format.use else str(self.folder)),
            "",
            f"The rules are those of ThinkEdit-140k (arXiv 2512.05965, section 4). `{RUN_LOG}` holds what was read of every run. Made "
            "with Rethink.",
            "",
        ]
        return "\n".join(lines)


def _steps(report: CollectReport, part: Part) -> str:
    if part in report.format.parts:
        return format_count(report.written[part], "step")
    return f"{format_count(report.choice.chosen[part], 'step')}, which this layout does not take"


@contextmanager
def _open_dataset(folder: Path) -> Iterator[None]:
    """Hold the folder for writing. Raises RethinkError where it holds something else."""
    if folder.exists() and not folder.is_dir():
        raise RethinkError(f"output: {folder} is a file; choose a folder.")
    if folder.is_dir() and _is_foreign(folder):
        raise RethinkError(f"output: {folder} holds what is no data set of runs; choose a new folder.")
    with locked(folder / LOCK, folder):
        (folder / RUN_LOG).touch()
        _remove_parts(folder)
        yield


def _remove_parts(folder: Path) -> None:
    """Remove what a kill has left of files that were being written: whoever holds the folder is the only one to write."""
    for pattern in (".*.[0-9]*.part", f"{IMAGES}/*/.*.[0-9]*.part"):
        for file in filter(Path.is_file, folder.glob(pattern)):
            file.unlink()


def _is_foreign(folder: Path) -> bool:
    """Whether something else lies there; pairs of runs have a log of them too."""
    if (folder / RUN_LOG).exists():
        return (folder / MANIFEST).exists()
    return any(file.name != LOCK for file in folder.iterdir())


def _require_rows(choice: Choice, format: DatasetFormat) -> None:
    """Raises RethinkError where there would be nothing to learn from."""
    if any(choice.chosen[part] for part in format.parts):
        return
    if choice.kept:
        part = format.parts[0]
        turn = "raise" if part == "sft" else "lower"
        raise RethinkError(
            f"sft_share: {format.title} takes the part for {PART_NAMES[part]}, which is empty with {format_count(choice.kept, 'run')}; {turn} it, "
            "or make more runs."
        )
    reasons = "; ".join(choice.dropped.describe(RULES))
    raise RethinkError(f"runs: none of {choice.runs:,} can be learned from: {reasons}.")


def _remove_empty(format: DatasetFormat, part: Part, folder: Path) -> None:
    for file in folder.glob(f"{format.name}-{part}.*"):
        file.unlink()
