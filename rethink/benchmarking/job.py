"""A benchmark from its files to its figures: what `rethink bench` does, and whoever else wants to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import atomic_write, locked
from ..errors import RethinkError
from ..evaluation.benchmarks import BENCHMARKS
from ..evaluation.benchmarks.core import Benchmark, Item, Results
from ..names import make_portable
from ..options import MAX_SEED, check_limits, option
from ..progress import JobProgress, OnProgress, ignore_progress, progress_with_eta
from ..records import read_json_file
from .budget import NO_LIMITS, Budget
from .editing import EditSetup, make_edits
from .judging import Judge, Judgments, decode_image, estimate, find_edits, judge_edits
from .page import write_page
from .reply_log import ReplyLog
from .report import BenchmarkReport, make_report

if TYPE_CHECKING:
    from torch import Tensor

    from ..thinkers.critique import Thinker

LOCK, RECORD, SUMMARY, TABLE = ".rethink-lock", "rethink-run.json", "rethink-summary.json", "rethink-table.md"
NO_JUDGMENTS = Judgments({}, {})


@dataclass(frozen=True)
class BenchmarkJob:
    """What is run. data: the benchmark's files; output: the folder of results, in the benchmark's own layout, which may hold some.

    code: the user's copy of the benchmark's repository, for the judge's prompts. against: another folder of results to compare with.
    """

    benchmark: Benchmark
    data: Path
    output: Path
    code: Path | None = None
    against: Path | None = None
    budget: Budget = NO_LIMITS
    language: str = option("en", "Which instructions of GEdit-Bench.", choices=("en", "cn"))
    limit: int = option(0, "Only the first so many items of each task, type or category; 0: all.", low=0)
    attempts: int = option(3, "How often the judge is asked for an answer that can be read.", low=1, high=20)
    seed: int = option(0, "The same seed gives the same edits, and asks the judge the same.", low=0, high=MAX_SEED)

    def __post_init__(self):
        check_limits(self)

    def run(
        self,
        setup: EditSetup | None = None,
        judge: Thinker | None = None,
        progress: OnProgress = ignore_progress,
        announce: Callable[[str], None] = lambda text: None,
    ) -> BenchmarkReport:
        """Make the edits that are missing, judge what has not been judged, and sum up.

        setup: None to edit nothing. judge: None to score what the benchmark's own scripts, or an earlier run, have left. announce:
        is told in sentences what is wrong with the data, and what judging will cost, before the first call.
        """
        benchmark = self.benchmark
        found = benchmark.read_items(self.data, self.language)
        items = _first(found.items, self.limit)
        if judge is not None and self.code is None:
            raise RethinkError(
                f"--benchmark-code: give your copy of the repository of {benchmark.title}; the judge's prompts are read from it."
            )
        if setup is None and not self.output.is_dir():
            raise RethinkError(f"-o: {self.output} is no folder of results; name an editor that makes some.")
        prompts = benchmark.read_prompts(self.code) if judge is not None and self.code is not None else {}
        problems = list(found.problems)
        for where, why in problems:
            announce(f"{where}: {why}.")
        with ExitStack() as held:
            held.enter_context(_held(self.output))
            record = self._check_record(setup)
            edits = find_edits(benchmark, items, self.output)
            if setup is not None:
                problems += self._edit([item for item in items if item.id not in edits], setup, progress, announce)
                edits = find_edits(benchmark, items, self.output)
            if judge is None:
                results = benchmark.read_results(self.output, items)
                judged, judgments = (results.judged, NO_JUDGMENTS) if results else ({}, NO_JUDGMENTS)
                items = list(results.items) if results else items
                notes = results.notes if results else ()
            else:
                judgments = self._judge(items, edits, prompts, judge, progress, announce)
                judged, notes = judgments.judged, ()
                record["judge"] = judge.chat.name
                benchmark.write_results(self.output, self.model_name, items, judgments.replies, judged)
            if self.limit:
                notes = (*notes, f"Only the first {self.limit} items of each group: no board's number.")
            other = self._read_other(items)
            report = make_report(benchmark, items, judged, judgments, problems, notes, record, other)
            self._write(record, report)
            write_page(benchmark, items, judged, edits, self.output, report)
        return report

    @property
    def model_name(self) -> str:
        """What the benchmark's files call whoever has edited: the folder's name."""
        return make_portable(self.output.resolve().name, "model")

    def _edit(
        self, missing: Sequence[Item], setup: EditSetup, progress: OnProgress, announce: Callable[[str], None]
    ) -> list[tuple[str, str]]:
        if not missing:
            return []
        several = sum(len(item.sources) > 1 + setup.editor.family.references for item in missing)
        if several:
            announce(f"{several} items have more images than {setup.editor.name} looks at: it is shown the first ones.")
        shown: list[Tensor] = []
        report = progress_with_eta("edits", lambda step: progress(_with_preview(step, shown)))

        def on_done(done: int, edited: Tensor) -> None:
            shown[:] = [edited]
            report(done, len(missing))

        return make_edits(self.benchmark, missing, self.output, setup, on_done)

    def _judge(
        self,
        items: Sequence[Item],
        edits: Mapping[str, Path],
        prompts: Mapping[str, str],
        thinker: Thinker,
        progress: OnProgress,
        announce: Callable[[str], None],
    ) -> Judgments:
        judge, log = Judge(thinker, self.attempts, self.seed), ReplyLog(self.output)
        edits = self._readable(items, edits, announce)
        plan = estimate(self.benchmark, items, edits, prompts, judge, log)
        announce(plan.words(judge.name, self.budget))
        report = progress_with_eta("judge calls", progress)
        total = plan.calls + plan.known
        return judge_edits(
            self.benchmark, items, edits, prompts, judge, log, self.budget, lambda done: report(done, total)
        )

    def _readable(
        self, items: Sequence[Item], edits: Mapping[str, Path], announce: Callable[[str], None]
    ) -> dict[str, Path]:
        """The edits of items whose images can all be read; what is wrong with the others is announced."""
        good = {}
        for item in items:
            if item.id in edits:
                try:
                    for load in (*item.images.values(), edits[item.id].read_bytes):
                        decode_image(load())
                    good[item.id] = edits[item.id]
                except (RethinkError, OSError) as error:
                    announce(f"{item.id}: an image cannot be read: {error}.")
        return good

    def _check_record(self, setup: EditSetup | None) -> dict[str, Any]:
        """What the folder says of the run in it, with this run's. Raises RethinkError where it is another one."""
        file = self.output / RECORD
        try:
            record = read_json_file(file) if file.is_file() else {}
        except (OSError, ValueError) as error:
            raise RethinkError(f"-o: {file} cannot be read: {error}") from error
        now: dict[str, Any] = {"benchmark": self.benchmark.id, "language": self.language}
        where = {"data": str(self.data.absolute()), "limit": self.limit}  # which may change from run to run
        if setup is not None:
            now |= setup.record
        for name, value in now.items():
            if isinstance(record, dict) and record.get(name, value) != value:
                raise RethinkError(
                    f"-o: {self.output} holds a run with {name} {record[name]!r}, not {value!r}; choose another folder."
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
            raise RethinkError(f"--against: {self.against} holds no results of {self.benchmark.title}.")
        return results

    def _write(self, record: Mapping[str, Any], report: BenchmarkReport) -> None:
        for name, text in ((SUMMARY, json.dumps(report.as_dict(), indent=2)), (TABLE, report.markdown)):
            with atomic_write(self.output / name) as part:
                part.write_text(text, encoding="utf-8")
        with atomic_write(self.output / RECORD) as part:
            part.write_text(json.dumps(record, indent=2), encoding="utf-8")


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Holds the folder of results. Raises RethinkError where another run does, or where it cannot be written."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder / LOCK))
        except BlockingIOError as error:
            raise RethinkError(f"-o: another run is writing to {folder}; wait for it, or choose another.") from error
        except OSError as error:
            raise RethinkError(f"-o: cannot write to {folder}: {error.strerror}.") from error
        yield


def job_of_folder(folder: Path) -> BenchmarkJob:
    """The job that has made a folder of results, to sum it up again. Raises RethinkError where none has."""
    file = folder / RECORD
    try:
        record = read_json_file(file)
        row, data, limit = BENCHMARKS[record["benchmark"]], Path(record["data"]), int(record["limit"])
        return BenchmarkJob(row, data, folder, language=record["language"], limit=limit)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RethinkError(
            f"report: {folder} holds no run of a benchmark ({file.name} cannot be read); run `rethink bench` with -o {folder} first."
        ) from error


def _first(items: Sequence[Item], limit: int) -> list[Item]:
    counts: dict[str, int] = {}
    chosen = []
    for item in items:
        counts[item.group] = counts.get(item.group, 0) + 1
        if not limit or counts[item.group] <= limit:
            chosen.append(item)
    return chosen


def _with_preview(step: JobProgress, shown: Sequence[Tensor]) -> JobProgress:
    return JobProgress(step.done, step.total, step.line, lambda: shown[0] if shown else None)
