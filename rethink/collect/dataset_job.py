"""The job that makes a dataset for thinkers from recorded runs, shared by the node and the command."""

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
LOSSES = {"lost": "went missing or changed meanwhile, or has a damaged image"}
PART_NAMES: dict[Part, str] = {"sft": "supervised learning (SFT)", "rl": "reinforcement learning (RL)"}


@dataclass(frozen=True)
class CollectJob:
    """Make a dataset from recorded runs.

    runs: folders with runs, in them or in their subfolders. output: the folder of the dataset, new or existing: what was read and
    judged before is not read again. judge: rescores all edits, replacing the runs' own scores. template: the critique template
    that the thinker will be prompted with.
    """

    runs: tuple[Path, ...]
    output: Path
    rules: CollectRules = field(default_factory=CollectRules)
    judge: Thinker | None = None
    template: str = TEMPLATE
    format: str = option(
        "trl",
        "Layout of the dataset: trl's conversations, LLaMA-Factory's ShareGPT (SFT), EasyR1's JSON lines or verl's parquet (both RL).",
        choices=tuple(FORMATS),
    )

    def __post_init__(self):
        check_limits(self)
        check_template(self.template)

    def run(self, on_progress: OnProgress = ignore_progress, on_token: OnToken | None = None) -> CollectReport:
        """Read, judge, choose, write. An interrupted job resumes; the files of the layout are written atomically.

        on_token: called while the judge answers; what it raises ends the job.
        """
        format = FORMATS[self.format]
        with _open_dataset(self.output), disk_full_as_error(self.output):
            runs = RunReader(self.runs, self.judge, on_token=on_token).read(self.output, on_progress)
            choice = apply_rules(runs, self.rules)
            _require_rows(choice, format)
            counts, lost = self._write(runs, choice, format, on_progress)
            report = CollectReport(self.output, format, choice, counts, lost)
            write_own(self.output, {"README.md": report.readme().encode()})  # one that the user changed is kept
        return report

    def _write(
        self, runs: ReadRuns, choice: Choice, format: DatasetFormat, on_progress: OnProgress
    ) -> tuple[Counter[Part], Drops]:
        """(rows written per part, runs that went missing meanwhile)."""
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
            if not written[part]:  # the existing file is kept
                raise RethinkError(
                    f"runs: no steps for {PART_NAMES[part]} can be written: all their runs went missing or changed meanwhile, "
                    f"or have a damaged image; run again. The existing file in {self.output} is kept."
                )

        for part in format.parts:
            if choice.chosen[part]:
                format.write(part, rows(part), self.output)
            else:  # left from an earlier run with other rules
                _remove_empty(format, part, self.output)
        return written, lost


@dataclass(frozen=True)
class CollectReport:
    """The result of a job. written: rows per part in the layout's files. losses: runs that went missing or changed
    meanwhile, or have an image with wrong checksums."""

    folder: Path
    format: DatasetFormat
    choice: Choice
    written: Counter[Part]
    losses: Drops

    @property
    def drops(self) -> list[tuple[str, int]]:
        """(reason, number of runs dropped for it), in the order in which the rules apply."""
        return [*self.choice.dropped.counts(RULES), *self.losses.counts(LOSSES)]

    @property
    def lost(self) -> int:
        """The number of runs lost."""
        return self.losses.total()

    @property
    def notes(self) -> list[str]:
        """Notes on the judge and on what it found, one sentence each."""
        harmed = self.choice.harmed
        harm = (
            f"In {format_count(harmed, 'run')}, the judge accepts an edit of the first turn but not the result."
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
        """The README of the dataset, in Markdown."""
        choice, title = self.choice, self.format.title
        table = [f"| {why} | {count} |" for why, count in self.drops]
        balanced = choice.steps.total() - choice.chosen.total()
        lines = [
            f"# {format_count(self.written.total(), 'step')} of thinking runs",
            "",
            f"Layout: {title}. The images are in `images/`.",
            "",
            f"| {format_count(choice.runs, 'run')}: reason for dropping | runs |",
            "|---|---|",
            *table,
            f"| **kept** | **{choice.kept - self.lost}** |",
            "",
            f"Every kept run is cut at its best turn and unrolled into steps, {choice.steps.total()} in all. {balanced} of them "
            "were left out to balance tasks and scores.",
            "",
            *(f"- {name}: {_steps(self, part)}" for part, name in PART_NAMES.items()),
            "",
            *(line for note in self.notes for line in (f"**{note}**", "")),
            self.format.use.replace("FOLDER", repr(str(self.folder)) if "```" in self.format.use else str(self.folder)),
            "",
            f"The rules are those of ThinkEdit-140k (arXiv 2512.05965, section 4). `{RUN_LOG}` records what was read from every run. "
            "Made with Rethink.",
            "",
        ]
        return "\n".join(lines)


def _steps(report: CollectReport, part: Part) -> str:
    if part in report.format.parts:
        return format_count(report.written[part], "step")
    return f"{format_count(report.choice.chosen[part], 'step')}, not used by this layout"


@contextmanager
def _open_dataset(folder: Path) -> Iterator[None]:
    """Lock the folder for writing. Raises RethinkError if it contains something else."""
    if folder.exists() and not folder.is_dir():
        raise RethinkError(f"output: {folder} is a file; choose a folder.")
    if folder.is_dir() and _is_foreign(folder):
        raise RethinkError(f"output: {folder} contains something other than a dataset of runs; choose a new folder.")
    with locked(folder / LOCK, folder):
        (folder / RUN_LOG).touch()
        _remove_parts(folder)
        yield


def _remove_parts(folder: Path) -> None:
    """Remove partial files left by a killed process: whoever holds the lock is the only writer."""
    for pattern in (".*.[0-9]*.part", f"{IMAGES}/*/.*.[0-9]*.part"):
        for file in filter(Path.is_file, folder.glob(pattern)):
            file.unlink()


def _is_foreign(folder: Path) -> bool:
    """Whether the folder contains something else; a store of pairs from runs has a run log too."""
    if (folder / RUN_LOG).exists():
        return (folder / MANIFEST).exists()
    return any(file.name != LOCK for file in folder.iterdir())


def _require_rows(choice: Choice, format: DatasetFormat) -> None:
    """Raise RethinkError if there would be nothing to learn from."""
    if any(choice.chosen[part] for part in format.parts):
        return
    if choice.kept:
        part = format.parts[0]
        turn = "raise" if part == "sft" else "lower"
        raise RethinkError(
            f"sft_share: {format.title} takes the part for {PART_NAMES[part]}, which is empty with {format_count(choice.kept, 'kept run')}; "
            f"{turn} sft_share, or make more runs."
        )
    reasons = "; ".join(choice.dropped.describe(RULES))
    raise RethinkError(f"runs: none of {choice.runs:,} can be used for training: {reasons}.")


def _remove_empty(format: DatasetFormat, part: Part, folder: Path) -> None:
    for file in folder.glob(f"{format.name}-{part}.*"):
        file.unlink()
