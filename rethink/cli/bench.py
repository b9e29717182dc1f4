"""`rethink bench`: measure editors against ground truth and on the published benchmarks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..benchmarking.budget import Budget
from ..benchmarking.job import TABLE, BenchmarkJob, job_of_folder
from ..benchmarking.judge_pool import JudgePool
from ..benchmarking.page import PAGE
from ..errors import RethinkError
from ..evaluation.benchmarks import BENCHMARKS
from ..options import options_of
from .arguments import add_field, add_switch
from .edit import EXIT_CODES, add_sampling_options, settings_from
from .editor_options import BUILT_IN, EDITORS, add_device, add_loading_options, open_editor
from .progress import ProgressLine, complain, print_result
from .think import add_loop_options, add_thinker_options, config_from, open_thinker_of, thinker_config_from

if TYPE_CHECKING:
    from ..benchmarking.editing import EditSetup
    from ..benchmarking.report import BenchmarkReport
    from ..thinkers.critique import Thinker

EXAMPLES = """examples:
  python -m rethink bench gedit GEdit-Bench -o results/kontext --editor models/diffusers/flux-kontext --device cuda \\
      --judge https://api.openai.com/v1 --judge-model gpt-4.1 --judge-key-variable OPENAI_API_KEY --benchmark-code Step1X-Edit
  python -m rethink bench gedit GEdit-Bench -o results/kontext      (summarizes what is there, from the benchmark's own scripts too)
  python -m rethink bench rise RISEBench -o results/kontext-thinking --editor ... --think --thinker ... --limit 3
  python -m rethink bench imgedit Benchmark -o results/new --against results/old

DATA is the folder the benchmark was downloaded to. The folder of -o uses the benchmark's own layout and file names: images that are
there are not made again, and the judge's results are written the way the benchmark's own scripts read them. An interrupted run resumes
when it is started again; no judge call is made twice. Unreadable replies lower the coverage and never count as a score.
"""
TINY = """examples:
  python -m rethink bench tiny                                  (the built-in editor, and which phrasings it understands)
  python -m rethink bench tiny --think --cases 300              (thinking against a single edit, in several processes)
  python -m rethink bench tiny -o results/tiny --cases 60 --editor models/diffusers/my-editor
  python -m rethink bench tiny -o results/tiny-thinking --cases 60 --think --against results/tiny
"""
AS_PUBLISHED = {"max_tokens": "as in the benchmark's script", "temperature": "as in the benchmark's script"}


def add_bench_command(commands) -> None:
    """Add `bench` to the subparsers of `rethink`."""
    bench = commands.add_parser("bench", help="measure editors against ground truth and on published benchmarks")
    kinds = bench.add_subparsers(required=True, metavar="WHAT")
    _add_tiny(kinds)
    for name, benchmark in BENCHMARKS.items():
        parser = kinds.add_parser(
            name,
            help=benchmark.title,
            description=f"{benchmark.title}. Its published numbers were judged by {benchmark.judge}.",
            epilog=EXAMPLES + EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(run=run_benchmark, benchmark=benchmark)
        _add_options(parser)


def _add_tiny(kinds) -> None:
    about = "an editor in the built-in world, checked by its exact oracle"
    tiny = kinds.add_parser(
        "tiny", help=about, epilog=TINY + EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tiny.add_argument(
        "--cases",
        type=int,
        metavar="N",
        default=400,
        help="tasks per row of the table; with --think or -o, in total (default 400)",
    )
    add_switch(tiny, "--think", "compare thinking with a single edit; with -o, run the thinking loop")
    tiny.add_argument(
        "-o",
        "--output",
        type=Path,
        help="results folder: keeps every edit and run; an interrupted benchmark resumes",
    )
    tiny.add_argument("--against", type=Path, metavar="FOLDER", help="other results to compare with")
    add_thinker_options(tiny, "thinker", "critiques and rewrites, with --think and -o")
    add_loading_options(tiny, BUILT_IN, f"the editor, with -o: {EDITORS}")
    add_device(tiny)
    add_loop_options(tiny)
    add_sampling_options(tiny)
    tiny.set_defaults(run=run_tiny)


def add_report_command(commands) -> None:
    """Add `report` to the subparsers of `rethink`."""
    parser = commands.add_parser(
        "report",
        help="summarize a benchmark run again, as one HTML page and a table",
        description="Reads the results in the folder and writes rethink-report.html and rethink-table.md there. Asks no model.",
    )
    parser.add_argument("folder", type=Path, help="the -o folder of a benchmark run")
    parser.set_defaults(run=run_report)


def _add_options(parser: argparse.ArgumentParser) -> None:
    about = (
        "folder the benchmark was downloaded to; not needed to summarize scores of GEdit-Bench and KRIS-Bench or spreadsheets of "
        "RISEBench"
    )
    parser.add_argument("data", type=Path, nargs="?", help=about)
    parser.add_argument("-o", "--output", type=Path, required=True, help="results folder, new or existing")
    parser.add_argument(
        "--benchmark-code",
        type=Path,
        metavar="FOLDER",
        help="your copy of the benchmark's repository; the judge's prompts are read from it, but no code in it is run",
    )
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="other results to compare with")
    for name in ("language", "limit", "count", "attempts"):
        add_field(parser, BenchmarkJob, name)
    for name in ("calls", "minutes", "money", "price_in", "price_out"):
        add_field(parser, Budget, name)
    add_switch(parser, "--think", "run the thinking loop, with the options of --thinker")
    add_thinker_options(parser, "thinker", "critiques and rewrites, with --think")
    role = "scores the edits by the benchmark's rules; without one, nothing is judged"
    add_thinker_options(parser, "judge", role, AS_PUBLISHED, critiques=False)
    for field in options_of(JudgePool):
        add_field(parser, JudgePool, field.name)
    add_loading_options(parser, None, f"makes the missing edits: {EDITORS}; without one, nothing is edited")
    add_device(parser)
    add_loop_options(parser)
    add_sampling_options(parser)


def run_tiny(options: argparse.Namespace) -> int:
    """Measure the built-in editor, or with -o any editor; → the exit status."""
    from ..tiny import benchmark, think_benchmark

    if options.cases < 1:
        raise RethinkError(f"--cases: expected 1 or more, got {options.cases}.")
    if options.output is None and (flags := sorted(options.typed - {"--cases", "--think", "--no-think"})):
        raise RethinkError(
            f"{flags[0]}: works only with -o FOLDER; without it, the built-in editor is measured as it is."
        )
    if options.output is not None:
        from ..tiny.oracle_benchmark import BENCHMARK

        job = BenchmarkJob(
            BENCHMARK, None, options.output, against=options.against, count=options.cases, seed=options.seed
        )
        _print_report(job, job.run(_open_setup(options), None, ProgressLine(), complain))
        return 0
    return (think_benchmark if options.think else benchmark).run(options.cases)


def run_benchmark(options: argparse.Namespace) -> int:
    """Run a published benchmark as the arguments say; → the exit status."""
    budget = Budget(*(getattr(options, name) for name in ("calls", "minutes", "money", "price_in", "price_out")))
    job = BenchmarkJob(
        options.benchmark,
        options.data,
        options.output,
        options.benchmark_code,
        options.against,
        budget,
        **{name: getattr(options, name) for name in ("language", "limit", "count", "attempts", "seed")},
    )
    with _judge_of(options) if options.judge else nullcontext() as judge:
        setup = _open_setup(options) if options.editor else None
        report = job.run(setup, judge, ProgressLine(), complain)
    _print_report(job, report)
    return 0


def run_report(options: argparse.Namespace) -> int:
    """Summarize a folder again; → the exit status."""
    from ..tiny.oracle_benchmark import BENCHMARK

    job = job_of_folder(options.folder, {**BENCHMARKS, BENCHMARK.id: BENCHMARK})
    _print_report(job, job.run(announce=complain))
    return 0


def _print_report(job: BenchmarkJob, report: BenchmarkReport) -> None:
    print_result(str(report))
    home = job.output.resolve()
    print(f"View the report: {(home / PAGE).as_uri()}", file=sys.stderr)
    print(f"Table for a model card: {home / TABLE}", file=sys.stderr)
    print(json.dumps(report.as_dict()))


def _open_setup(options: argparse.Namespace) -> EditSetup:
    from ..benchmarking.editing import EditSetup, Thinking

    thinking = None
    if options.think:
        thinking = Thinking(open_thinker_of(options, "thinker"), config_from(options))
    return EditSetup(open_editor(options), settings_from(options), options.seed, thinking, tuple(options.lora))


@contextmanager
def _judge_of(options: argparse.Namespace) -> Iterator[Thinker]:
    """The judge, asked the way the benchmark's script asks its own unless the arguments say otherwise."""
    from ..thinkers.loading import open_thinker, typed_trust

    benchmark, config = options.benchmark, thinker_config_from(options, "judge")
    tokens, temperature = options.judge_max_tokens, options.judge_temperature
    config = replace(
        config,
        max_tokens=benchmark.max_tokens if tokens is None else tokens,
        temperature=benchmark.temperature if temperature is None else temperature,
    )
    pool = JudgePool(**{field.name: getattr(options, field.name) for field in options_of(JudgePool)})
    if pool.is_one:
        yield open_thinker(config, typed_trust(config), "judge")
        return
    with pool.opened(config) as judge:
        yield judge
