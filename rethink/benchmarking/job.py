"""Run a benchmark from its files to its figures, for `rethink bench` and other callers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import atomic_write
from ..errors import RethinkError
from ..evaluation.benchmarks import BENCHMARKS
from ..evaluation.benchmarks.core import Benchmark, Item, Items, Judged, LoadBytes, Results
from ..names import make_portable, name_anywhere
from ..options import MAX_SEED, check_limits, option
from ..progress import JobProgress, OnProgress, format_count, ignore_progress, progress_with_eta
from ..records import read_json_file, replace_surrogates
from .budget import NO_LIMITS, Budget
from .editing import EditSetup, make_edits, measure_edits
from .judging import Judge, Judgments, decode_image, estimate, find_edits, judge_edits
from .page import write_page
from .reply_log import ReplyLog, hold_folder
from .report import BenchmarkReport, fault_text, make_report

if TYPE_CHECKING:
    from torch import Tensor

    from ..thinkers.critique import Thinker

RECORD, SUMMARY, TABLE = "rethink-run.json", "rethink-summary.json", "rethink-table.md"
NO_JUDGMENTS = Judgments({}, {})


@dataclass(frozen=True)
class _Outcome:
    """What is known about the items. judgments: the answers requested in this run."""

    items: Sequence[Item]
    judged: Judged
    notes: tuple[str, ...] = ()
    judgments: Judgments = NO_JUDGMENTS


@dataclass(frozen=True)
class BenchmarkJob:
    """A benchmark run.

    data: the benchmark's files, None to only summarize results; output: the results folder, in the benchmark's own layout, which may
    already contain some. code: the user's copy of the benchmark's repository, for the judge's prompts. against: another results
    folder to compare with.
    """

    benchmark: Benchmark
    data: Path | None
    output: Path
    code: Path | None = None
    against: Path | None = None
    budget: Budget = NO_LIMITS
    language: str = option("en", "Language of the instructions in GEdit-Bench.", choices=("en", "cn"))
    limit: int = option(0, "Use only the first N items of each task, type or category; 0: all.", low=0)
    count: int = option(
        0, "Use only N items in total, taken in turn from each task, type or category; 0: all.", low=0, high=10**5
    )
    attempts: int = option(3, "How many times the judge is asked for a readable answer, at most.", low=1, high=20)
    seed: int = option(
        0, "The same seed gives the same edits and the same questions to the judge.", low=0, high=MAX_SEED
    )

    def __post_init__(self):
        check_limits(self)

    def run(
        self,
        setup: EditSetup | None = None,
        judge: Thinker | None = None,
        progress: OnProgress = ignore_progress,
        announce: Callable[[str], None] = lambda text: None,
    ) -> BenchmarkReport:
        """Make the missing edits, judge what has not been judged, and summarize.

        setup: None to edit nothing. judge: None to use the results that the benchmark's own scripts or an earlier run left. announce:
        gets sentences about faults in the data and, before the first call, about the cost of judging.
        """
        self._check_inputs(setup, judge)
        found = Items(())
        if self.data is not None or self.benchmark.measure is not None:
            found = self.benchmark.read_items(self.data or Path(), self.language)
        prompts = self.benchmark.read_prompts(self.code) if judge is not None and self.code is not None else {}
        for where, why in found.problems:
            announce(fault_text(where, why))
        if self.data is not None and not found.items:
            raise RethinkError(
                f"data: {self.data} has no usable item of {self.benchmark.title}; check what is missing, and download it again."
            )
        items = _choose(found.items, self.limit, self.count)
        with hold_folder(self.output):
            record = self._check_record(setup, judge)
            failures = self._edit(items, setup, progress, announce) if setup is not None else []
            edits = find_edits(self.benchmark, items, self.output)
            if self.benchmark.measure is not None:
                outcome = self._measure(items, edits, progress)
            elif judge is None:
                outcome = self._read(items)
            else:
                outcome = self._judge(items, edits, prompts, judge, progress, announce)
            return self._sum_up(outcome, edits, found.problems, failures, record)

    def _check_inputs(self, setup: EditSetup | None, judge: Thinker | None) -> None:
        title, needs_files = self.benchmark.title, self.benchmark.measure is None
        if judge is not None and not needs_files:
            raise RethinkError(f"judge: {title} has its own exact judge; leave this one out.")
        if needs_files and self.data is None and (setup is not None or judge is not None):
            raise RethinkError(f"data: is missing; give the folder that {title} was downloaded to.")
        if judge is not None and self.code is None:
            raise RethinkError(
                f"--benchmark-code: is missing; give your copy of the repository of {title}, which has the judge's prompts."
            )
        if setup is None and not self.output.is_dir():
            raise RethinkError(f"-o: {self.output} is not a results folder; give an editor to make results.")

    def _sum_up(
        self,
        outcome: _Outcome,
        edits: Mapping[str, Path],
        problems: Sequence[tuple[str, str]],
        failures: Sequence[tuple[str, str]],
        record: Mapping[str, Any],
    ) -> BenchmarkReport:
        notes = (
            [f"Only the first {format_count(self.limit, 'item')} of each group: not comparable with leaderboards."]
            if self.limit
            else []
        )
        notes += (
            [f"Only {format_count(self.count, 'item')} in total: not comparable with leaderboards."]
            if self.count
            else []
        )
        other = self._read_other(outcome.items)
        report = make_report(
            self.benchmark,
            outcome.items,
            outcome.judged,
            outcome.judgments,
            problems,
            failures,
            (*outcome.notes, *notes),
            record,
            other,
        )
        for name, text in (
            (SUMMARY, json.dumps(report.as_dict(), indent=2)),
            (TABLE, report.markdown),
            (RECORD, json.dumps(record, indent=2)),
        ):
            with atomic_write(self.output / name) as part:
                part.write_text(replace_surrogates(text), encoding="utf-8")
        write_page(self.benchmark, outcome.items, outcome.judged, edits, self.output, report)
        return report

    @property
    def model_name(self) -> str:
        """The name of the model in the benchmark's files: the folder's name."""
        return make_portable(self.output.resolve().name, "model")

    def _edit(
        self, items: Sequence[Item], setup: EditSetup, progress: OnProgress, announce: Callable[[str], None]
    ) -> list[tuple[str, str]]:
        """Make the missing edits."""
        done = find_edits(self.benchmark, items, self.output)
        missing = [item for item in items if item.id not in done]
        if not missing:
            return []
        faults = {item.id: why for item in missing if (why := _find_fault(item.images))}
        for id, why in faults.items():
            announce(fault_text(id, why))
        missing = [item for item in missing if item.id not in faults]
        several = sum(len(item.sources) > 1 + setup.editor.family.references for item in missing)
        if several:
            some = format_count(several, "item has", "items have")
            announce(f"{some} more images than {setup.editor.name} takes; it gets only the first ones.")
        shown: list[Tensor] = []
        report = progress_with_eta("edits", lambda step: progress(_with_preview(step, shown)))

        def on_done(done: int, edited: Tensor) -> None:
            shown[:] = [edited]
            report(done, len(missing))

        return [*faults.items(), *make_edits(self.benchmark, missing, self.output, setup, on_done)]

    def _read(self, items: Sequence[Item]) -> _Outcome:
        """Read the results that the benchmark's own scripts or an earlier run left."""
        results = self.benchmark.read_results(self.output, items)
        items = results.items if results else items
        if not items:
            title = self.benchmark.title
            raise RethinkError(
                f"data: give the folder that {title} was downloaded to; without it, the results cannot be matched to items."
            )
        return _Outcome(items, results.judged, results.notes) if results else _Outcome(items, {})

    def _measure(self, items: Sequence[Item], edits: Mapping[str, Path], progress: OnProgress) -> _Outcome:
        """Measure every edit by the benchmark's own exact scores, without a judge."""
        report = progress_with_eta("edits measured", progress)
        judged, notes = measure_edits(self.benchmark, items, edits, self.output, lambda done: report(done, len(edits)))
        self.benchmark.write_results(self.output, self.model_name, items, {}, judged)
        return _Outcome(items, judged, notes)

    def _judge(
        self,
        items: Sequence[Item],
        edits: Mapping[str, Path],
        prompts: Mapping[str, str],
        thinker: Thinker,
        progress: OnProgress,
        announce: Callable[[str], None],
    ) -> _Outcome:
        """Ask what is not known yet, and write the results where the benchmark's own scripts look for them."""
        judge, log = Judge(thinker, self.attempts, self.seed), ReplyLog(self.output)
        edits = self._readable(items, edits, announce)
        plan = estimate(self.benchmark, items, edits, prompts, judge, log)
        announce(plan.words(judge.name, self.budget))
        report = progress_with_eta("judge calls", progress)
        total = plan.calls + plan.known
        found = judge_edits(
            self.benchmark, items, edits, prompts, judge, log, self.budget, lambda done: report(done, total)
        )
        self.benchmark.write_results(self.output, self.model_name, items, found.replies, found.judged)
        return _Outcome(items, found.judged, (), found)

    def _readable(
        self, items: Sequence[Item], edits: Mapping[str, Path], announce: Callable[[str], None]
    ) -> dict[str, Path]:
        """The edits of items whose images can all be read; faults of the others are announced."""
        good = {}
        for item in items:
            if item.id in edits:
                edit = edits[item.id]
                if why := _find_fault(item.images):
                    announce(fault_text(item.id, why))
                elif why := _find_fault({"edited": edit.read_bytes}):
                    announce(f"{item.id}: {why}; delete {edit} to have the editor make it again.")
                else:
                    good[item.id] = edit
        return good

    def _check_record(self, setup: EditSetup | None, judge: Thinker | None) -> dict[str, Any]:
        """The record of the run in the folder, updated with this run. Raises RethinkError if it is a different run."""
        file = self.output / RECORD
        try:
            record = read_json_file(file) if file.is_file() else {}
        except (OSError, ValueError) as error:
            raise RethinkError(
                f"-o: {file} cannot be read: {error}; choose another folder, or delete this file to resume the run."
            ) from error
        now: dict[str, Any] = {"benchmark": self.benchmark.id, "language": self.language}
        where = {
            "data": str(self.data.absolute()) if self.data else "",
            "limit": self.limit,
            "count": self.count,
        }  # these may change from run to run
        if setup is not None:
            now |= setup.record
        if judge is not None:
            now["judge"] = judge.chat.name
        for name, value in now.items():
            if isinstance(record, dict) and not _is_same(name, record.get(name, value), value):
                raise RethinkError(
                    f"-o: {self.output} contains a run with {name} {record[name]!r}, not {value!r}; choose another folder."
                )
        if judge is not None and "judge" not in record and self.benchmark.read_results(self.output, ()) is not None:
            raise RethinkError(
                f"-o: {self.output} contains scores that Rethink did not make and will not touch; give a folder with a copy of "
                "only the images, or leave --judge out to summarize these scores."
            )
        record = (record if isinstance(record, dict) else {}) | now | where
        with atomic_write(file) as part:
            part.write_text(json.dumps(record, indent=2), encoding="utf-8")
        return record

    def _read_other(self, items: Sequence[Item]) -> Results | None:
        if self.against is None:
            return None
        results = self.benchmark.read_results(self.against, items)
        if results is None:
            raise RethinkError(
                f"--against: {self.against} contains no results of {self.benchmark.title}; choose another folder."
            )
        return results


def job_of_folder(folder: Path, benchmarks: Mapping[str, Benchmark] = BENCHMARKS) -> BenchmarkJob:
    """The job that made a results folder, to summarize it again. Raises RethinkError if there is none."""
    file = folder / RECORD
    try:
        record = read_json_file(file)
        data = Path(record["data"]) if record["data"] else None
        row, limit, count = benchmarks[record["benchmark"]], int(record["limit"]), int(record.get("count", 0))
        return BenchmarkJob(row, data, folder, language=record["language"], limit=limit, count=count)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RethinkError(
            f"report: {folder} contains no benchmark run ({file.name} cannot be read); run `rethink bench` with -o {folder} first."
        ) from error


def _choose(items: Sequence[Item], limit: int, count: int) -> list[Item]:
    """The first `limit` items of every group, and `count` of these, taken in turn from each group; 0: all."""
    places: dict[str, int] = {}
    turns = [places.update({item.group: places.get(item.group, -1) + 1}) or places[item.group] for item in items]
    chosen = [(turn, place) for place, turn in enumerate(turns) if not limit or turn < limit]
    if count:
        chosen = sorted(chosen)[:count]
    return [items[place] for _, place in sorted(chosen, key=lambda each: each[1])]


def _find_fault(images: Mapping[str, LoadBytes]) -> str:
    """What is wrong with one of these images, "" if all can be read."""
    for role, load in images.items():
        try:
            decode_image(load())
        except (RethinkError, OSError) as error:
            return f"its image “{role}”: {error}"
    return ""


def _with_preview(step: JobProgress, shown: Sequence[Tensor]) -> JobProgress:
    return JobProgress(step.done, step.total, step.line, lambda: shown[0] if shown else None)


def _is_same(name: str, known: Any, value: Any) -> bool:
    """Whether an entry of a record matches this run. The server of an editor may have moved."""
    return name_anywhere(str(known)) == name_anywhere(value) if name == "editor" else known == value
