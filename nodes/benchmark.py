"""Run a published benchmark, or the built-in world, from edits to scores."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..rethink.benchmarking.budget import Budget
from ..rethink.benchmarking.editing import EditSetup, Thinking
from ..rethink.benchmarking.job import BenchmarkJob
from ..rethink.benchmarking.page import PAGE
from ..rethink.benchmarking.report import BenchmarkReport, number_text
from ..rethink.editors.protocol import Editor
from ..rethink.errors import RethinkError
from ..rethink.evaluation.benchmarks import BENCHMARKS
from ..rethink.evaluation.benchmarks.core import Benchmark
from ..rethink.think_loop import LoopConfig
from ..rethink.thinkers.critique import Thinker
from ..rethink.tiny.oracle_benchmark import BENCHMARK as BUILT_IN
from . import feedback, sockets
from .comfy import folders, memory, progress
from .inputs import NONE, AnyOption, field_input

OURS = (".", "rethink-")  # prefixes of files that every run rewrites: they are no reason to run again
ROWS: dict[str, Benchmark] = {row.title: row for row in (BUILT_IN, *BENCHMARKS.values())}


class RunBenchmark(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkRunBenchmark",
            display_name="Run Benchmark",
            category="Rethink/Evaluate",
            description="Runs a benchmark: makes the missing edits, has them judged, and reports the scores.",
            search_aliases=[
                "gedit",
                "gedit-bench",
                "imgedit",
                "risebench",
                "kris-bench",
                "benchmark",
                "evaluate editor",
                "leaderboard",
            ],
            is_output_node=True,
            inputs=[
                _benchmark_input(),
                io.String.Input(
                    "name",
                    default="my-editor",
                    tooltip="Name of the results in output/rethink/benchmarks, new or existing. Edits and scores "
                    "already there are not made again.",
                ),
                field_input(BenchmarkJob, "count", default=10),
                field_input(BenchmarkJob, "seed", control_after_generate="fixed"),
                field_input(LoopConfig, "turns", optional=True),
                field_input(BenchmarkJob, "attempts", optional=True, advanced=True),
                field_input(Budget, "calls", optional=True, advanced=True),
                io.String.Input(
                    "against",
                    optional=True,
                    default="",
                    tooltip="Name of other results of the same benchmark. The report says which are better, and how "
                    "certain that is.",
                ),
                sockets.Editor.Input(
                    "editor", optional=True, tooltip="Makes the missing edits. Without an editor, nothing is edited."
                ),
                sockets.Thinker.Input(
                    "thinker", optional=True, tooltip="With a thinker, every edit is a thinking run."
                ),
                sockets.Thinker.Input(
                    "judge",
                    optional=True,
                    tooltip="Scores the edits of a published benchmark, with that benchmark's own prompts. Without a "
                    "judge, existing scores are summarized. The built-in world has an exact oracle and needs no "
                    "judge.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "score", tooltip="The score that leaderboards rank by. Not a number (NaN) if it was not measured."
                ),
                io.String.Output(
                    "report", tooltip="All scores with their coverage and uncertainty, and what went wrong."
                ),
                io.String.Output("table", tooltip="The same in Markdown, for a model card."),
                io.String.Output(
                    "page", tooltip="The path of the report as a single web page, with the worst and best edits."
                ),
                io.String.Output(
                    "results", tooltip="The name of the results, for the “against” input of another Run Benchmark."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, name: str = "", **_: Any) -> Any:
        try:
            folder = folders.benchmark_folder(name, "name")
        except RethinkError:
            return None
        if not folder.is_dir():
            return None
        files = (file for file in folder.rglob("*") if not file.name.startswith(OURS) and file.is_file())
        return sorted((str(file.relative_to(folder)), file.stat().st_size) for file in files)

    @classmethod
    def execute(
        cls,
        benchmark: dict[str, Any],
        name: str,
        against: str = "",
        editor: Editor | None = None,
        thinker: Thinker | None = None,
        judge: Thinker | None = None,
        **numbers: int,
    ) -> io.NodeOutput:
        row = ROWS[benchmark["benchmark"]]
        job = BenchmarkJob(
            row,
            _folder(benchmark, "data"),
            folders.benchmark_folder(name, "name"),
            _folder(benchmark, "code"),
            folders.benchmark_folder(against, "against") if against.strip() else None,
            Budget(calls=numbers.get("calls", 0)),
            benchmark.get("language", "en"),
            **{name: numbers[name] for name in ("attempts", "seed", "count") if name in numbers},
        )
        _check_inputs(job, editor, thinker, judge)
        told: list[str] = []
        try:
            report = job.run(
                _setup(editor, thinker, job.seed, numbers),
                judge,
                progress.job_progress(),
                lambda text: _announce(text, told),
            )
        finally:
            memory.release_caches(thinker, judge)
        score = report.summary.value(*report.headline)
        return io.NodeOutput(
            math.nan if score is None else score,
            str(report),
            report.markdown,
            str(job.output / PAGE),
            name,
            ui=feedback.show_text("\n".join(told), _brief(report)),
        )


def _brief(report: BenchmarkReport) -> str:
    """The main results, in the few lines that fit on a node; the outputs and the page have all scores."""
    name = ", ".join(part for part in report.headline if part)
    head = f"{report.title} · {name}: {number_text(report.summary.value(*report.headline))}"
    return "\n".join([head, *report.sentences])


def _check_inputs(job: BenchmarkJob, editor: Editor | None, thinker: Thinker | None, judge: Thinker | None) -> None:
    """Check what the job would refuse, under the names that the inputs have on this node."""
    if editor is None and thinker is not None:
        raise RethinkError("editor: is not connected; connect one to carry out the thinker's prompts.")
    if editor is None and not job.output.is_dir():
        raise RethinkError("name: there are no results with this name; connect an editor to make them.")
    if judge is not None and job.benchmark.measure is None and job.code is None:
        raise RethinkError(
            "code: choose your copy of the benchmark's repository; the judge's prompts are read from it."
        )


def _benchmark_input() -> io.Input:
    """The menu of benchmarks; the published ones also ask for the folders of their files."""
    names = [NONE, *folders.dataset_names()]

    def folder(name: str, tooltip: str) -> io.Input:
        return io.Combo.Input(name, optional=True, options=AnyOption(names), default=NONE, tooltip=tooltip)

    options = [io.DynamicCombo.Option(BUILT_IN.title, [])]
    for row in BENCHMARKS.values():
        inputs = [
            folder("data", f"The folder that {row.title} was downloaded to, in ComfyUI's datasets folder."),
            folder(
                "code",
                "Your copy of its repository, also in the datasets folder. The judge's prompts are read from it.",
            ),
        ]
        if row.id == "gedit":
            inputs.append(field_input(BenchmarkJob, "language", optional=True))
        options.append(io.DynamicCombo.Option(row.title, inputs))
    return io.DynamicCombo.Input(
        "benchmark",
        options=options,
        tooltip="The benchmark to run. Built-in world: 300 small tasks with an exact oracle, nothing to download. "
        "The others are read from their files.",
    )


def _folder(chosen: dict[str, Any], name: str) -> Path | None:
    folder = chosen.get(name, NONE)
    return None if folder == NONE else folders.dataset_path(folder, name)


def _setup(editor: Editor | None, thinker: Thinker | None, seed: int, numbers: Mapping[str, int]) -> EditSetup | None:
    if editor is None:
        return None
    config = LoopConfig(turns=numbers.get("turns", LoopConfig().turns), seed=seed)
    thinking = None if thinker is None else Thinking(thinker, config)
    return EditSetup(memory.ManagedEditor(editor), seed=seed, thinking=thinking, look=progress.stop_if_cancelled)


def _announce(text: str, told: list[str]) -> None:
    told.append(text)
    progress.show_status(text)
