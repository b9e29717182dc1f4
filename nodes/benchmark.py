"""A published benchmark, or the built-in world, from edits to figures."""

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

OURS = (".", "rethink-")  # how files begin that every run writes anew: another such run would find nothing else
ROWS: dict[str, Benchmark] = {row.title: row for row in (BUILT_IN, *BENCHMARKS.values())}


class RunBenchmark(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkRunBenchmark",
            display_name="Run Benchmark",
            category="Rethink/Evaluate",
            description="Runs a benchmark: makes the edits that are missing, has them judged, and says what they are worth.",
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
                    tooltip="Name of the results in output/rethink/benchmarks, new or begun: what lies there is not edited, and "
                    "not judged, again.",
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
                    tooltip="Name of other results of the same benchmark: the report says which are better, and how sure that is.",
                ),
                sockets.Editor.Input(
                    "editor", optional=True, tooltip="Makes the edits that are missing. Without one nothing is edited."
                ),
                sockets.Thinker.Input(
                    "thinker", optional=True, tooltip="With one, the editor thinks: every edit is a thinking run."
                ),
                sockets.Thinker.Input(
                    "judge",
                    optional=True,
                    tooltip="Scores the edits of a published benchmark, asked as that one asks. Without one, scores that lie there "
                    "are summed up. The built-in world has an exact oracle, and needs none.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "score", tooltip="The figure that boards rank by. Not a number (NaN) where it was not measured."
                ),
                io.String.Output(
                    "report", tooltip="All figures with their coverage, how sure they are, and what went wrong."
                ),
                io.String.Output("table", tooltip="The same in Markdown, for a model card."),
                io.String.Output(
                    "page", tooltip="The path of the report as one web page, with the worst and the best edits."
                ),
                io.String.Output("results", tooltip="The name of the results, for “against” of another Run Benchmark."),
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
    """What matters most, in the few lines that a node has; all figures are in its outputs and on the page."""
    name = ", ".join(part for part in report.headline if part)
    head = f"{report.title} · {name}: {number_text(report.summary.value(*report.headline))}"
    return "\n".join([head, *report.sentences])


def _check_inputs(job: BenchmarkJob, editor: Editor | None, thinker: Thinker | None, judge: Thinker | None) -> None:
    """What the job says of its own inputs, by the names that they have here."""
    if editor is None and thinker is not None:
        raise RethinkError("editor: is not connected; a thinker needs one that edits as it says.")
    if editor is None and not job.output.is_dir():
        raise RethinkError("name: there are no results of this name; connect an editor that makes some.")
    if judge is not None and job.benchmark.measure is None and job.code is None:
        raise RethinkError(
            "code: choose your copy of the benchmark's repository; the judge's prompts are read from it."
        )


def _benchmark_input() -> io.Input:
    """The menu of benchmarks; the published ones with the folders of their files."""
    names = [NONE, *folders.dataset_names()]

    def folder(name: str, tooltip: str) -> io.Input:
        return io.Combo.Input(name, optional=True, options=AnyOption(names), default=NONE, tooltip=tooltip)

    options = [io.DynamicCombo.Option(BUILT_IN.title, [])]
    for row in BENCHMARKS.values():
        inputs = [
            folder("data", f"Where {row.title} was downloaded to, in ComfyUI's datasets folder."),
            folder(
                "code", "Your copy of its repository, in the datasets folder too: the judge's prompts are read from it."
            ),
        ]
        if row.id == "gedit":
            inputs.append(field_input(BenchmarkJob, "language", optional=True))
        options.append(io.DynamicCombo.Option(row.title, inputs))
    return io.DynamicCombo.Input(
        "benchmark",
        options=options,
        tooltip="Which one. Built-in world: 300 small tasks with an exact oracle, nothing to download. The others are read from "
        "their files.",
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
