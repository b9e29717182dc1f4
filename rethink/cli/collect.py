"""`rethink collect`, `rethink collect-pairs` and `rethink compare-runs`: training data for thinkers and editors from recorded runs."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from ..errors import RethinkError, reason_of
from .arguments import add_command, add_field
from .edit import EXIT_CODES
from .editor_options import add_device
from .pair_options import add_thinker, open_thinker_from
from .progress import ProgressLine, print_result

EXAMPLES = """examples:
  python -m rethink collect runs -o my-data
  python -m rethink collect runs more-runs -o my-data --format llama-factory --judge models/LLM/Qwen3-VL-8B-Instruct
  python -m rethink collect-pairs runs my-pairs --score 8 --preservation 25
  python -m rethink collect-pairs runs my-pairs --judge http://127.0.0.1:8000/v1 --model qwen3-vl --preferences my-preferences
  python -m rethink compare-runs before after -o side-by-side.png
  python -m rethink compare-runs before after --judge models/LLM/Qwen3-VL-8B-Instruct --answers what-it-says
  python -m rethink train-lora my-pairs -o models/loras/what-i-mean.safetensors --editor models/diffusers/flux-kontext

`collect` and `collect-pairs` read every run once and resume where they stopped; changing the rules does not ask the judge again.
"""


def add_collect_commands(commands) -> None:
    """Add `collect`, `collect-pairs` and `compare-runs` to the subparsers of `rethink`."""
    _add_collect(commands)
    _add_collect_pairs(commands)
    _add_compare_runs(commands)


def _add_collect(commands) -> None:
    from ..collect.dataset_job import CollectJob
    from ..collect.rules import CollectRules

    parser = add_command(commands, "collect", "make a dataset for thinkers from recorded runs", run_collect)
    _add_runs(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="the dataset, new or existing"
    )
    add_field(parser, CollectJob, "format")
    for field in fields(CollectRules):
        add_field(parser, CollectRules, field.name)
    parser.add_argument(
        "--template", type=Path, help="text file with the critique template that the thinker will be prompted with"
    )
    add_thinker(parser, "rescores all edits: ", "--judge")
    add_device(parser)
    parser.epilog = EXAMPLES + EXIT_CODES


def _add_collect_pairs(commands) -> None:
    from ..collect.pairs_job import RunPairRules

    parser = add_command(commands, "collect-pairs", "make pairs for editors from recorded runs", run_collect_pairs)
    _add_runs(parser)
    parser.add_argument("store", type=Path, help="folder of the pairs, new or existing")
    for field in fields(RunPairRules):
        add_field(parser, RunPairRules, field.name)
    parser.add_argument(
        "--preferences",
        type=Path,
        metavar="FOLDER",
        help="also write the best and the worst edit of each run that became a pair, for preference training (DPO)",
    )
    add_thinker(parser, "gives a second opinion on the best edit of every run: ", "--judge")
    add_device(parser)
    parser.epilog = EXAMPLES + EXIT_CODES


def _add_compare_runs(commands) -> None:
    about = "compare turns and success on the same tasks before and after training"
    parser = add_command(commands, "compare-runs", about, run_compare_runs)
    parser.add_argument("before", type=Path, help="folder with recorded runs, in it or in its subfolders")
    parser.add_argument("after", type=Path, help="folder with runs of the same images and instructions")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="IMAGE", help="also write an image of the first tasks side by side"
    )
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="FOLDER",
        help="keeps the judge's answers, so that nothing is asked twice; new or existing",
    )
    add_thinker(
        parser, "rescores the first and the winning edit of every run, which shows where thinking did harm: ", "--judge"
    )
    add_device(parser)
    parser.epilog = EXAMPLES + EXIT_CODES


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", help="folders with recorded runs, in them or in their subfolders")


def run_collect(options: argparse.Namespace) -> int:
    """Make a dataset as the arguments say; → the exit status."""
    from ..collect.dataset_job import CollectJob
    from ..collect.rules import CollectRules

    job = CollectJob(
        _absolute(options.runs),
        options.output.absolute(),
        CollectRules(**{field.name: getattr(options, field.name) for field in fields(CollectRules)}),
        open_thinker_from(options),
        read_template(options.template),
        options.format,
    )
    print_result(str(job.run(ProgressLine())))
    return 0


def run_collect_pairs(options: argparse.Namespace) -> int:
    """Make pairs as the arguments say; → the exit status."""
    from ..collect.pairs_job import RunPairRules, RunPairsJob

    job = RunPairsJob(
        _absolute(options.runs),
        options.store.absolute(),
        RunPairRules(**{field.name: getattr(options, field.name) for field in fields(RunPairRules)}),
        open_thinker_from(options),
        options.preferences and options.preferences.absolute(),
    )
    print_result(str(job.run(ProgressLine())))
    return 0


def run_compare_runs(options: argparse.Namespace) -> int:
    """Compare as the arguments say; → the exit status."""
    from ..collect.comparison import CompareRunsJob, comparison_sheet
    from ..images import check_image_target, from_pil, save_image

    if options.output:
        check_image_target(options.output, 1, 1, "-o")  # the size is not known until it is drawn
    if options.answers and not options.thinker:
        raise RethinkError(
            "--answers: keeps the judge's answers, but there is no --judge; add one, or leave --answers out."
        )
    judge = open_thinker_from(options)
    comparison = CompareRunsJob((options.before,), (options.after,), judge, options.answers).run(ProgressLine())
    print_result(str(comparison))
    if options.output:
        save_image(from_pil([comparison_sheet(comparison)]), options.output)
    return 0


def read_template(path: Path | None) -> str:
    """The critique template in a text file; Rethink's own without one."""
    from ..thinkers.critique import TEMPLATE

    if path is None:
        return TEMPLATE
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise RethinkError(f"--template: {path} cannot be read: {reason_of(error)}") from error


def _absolute(folders: list[Path]) -> tuple[Path, ...]:
    return tuple(folder.absolute() for folder in folders)
