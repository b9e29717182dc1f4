"""`rethink score`: how good an edit is."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RethinkError
from ..options import options_of
from .arguments import add_command, add_field
from .collect import read_template
from .edit import EXIT_CODES
from .editor_options import add_device
from .pair_options import add_thinker, clip_from, open_thinker_from
from .progress import ProgressLine, complain, print_result

if TYPE_CHECKING:
    from ..scoring.job import ScoringModels

EXAMPLES = """examples:
  python -m rethink score photo.png winter.png "make it winter" --judge models/LLM/Qwen3-VL-8B-Instruct --passes 3 -o scores
  python -m rethink score photo.png winter.png "make it winter" --clip models/clip_vision/clip-vit-large-patch14 \\
      --source-caption "a street" --edited-caption "a street in the snow"
  python -m rethink score photo.png winter.png "make it winter" --further all --models models/evaluation --device cuda

The folder of -o keeps what the judge says: whoever scores the same edit again, or goes on with a thousand of them, asks nothing twice.
The last line is JSON. What could not be measured says so, and why; it is never a number. --models names a folder with the files of the
further measures: dino (a transformers folder), dreamsim (what its package keeps), editscore (base and lora), editreward.
"""


def add_score_command(commands) -> None:
    """Adds `score` to the subparsers of `rethink`."""
    from ..scoring.job import ScoreJob

    about = "how good an edit is: a judge's scores, similarities, and what was left alone"
    parser = add_command(commands, "score", about, run_score)
    parser.add_argument("source", type=Path, help="the image before the edit")
    parser.add_argument("edited", type=Path, help="the image after it")
    parser.add_argument("instruction", help="what was asked for")
    for field in fields(ScoreJob):
        if field.name != "further":
            add_field(parser, ScoreJob, field.name)
    add_further_options(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="keeps the judge's answers, new or begun")
    parser.add_argument("--mask", type=Path, help="image; white may change, or in a cut-out what is opaque")
    parser.add_argument("--clip", help="transformers folder of a CLIPModel, or built-in; none without it")
    parser.add_argument("--template", type=Path, help="text file with the wording of the critique that the judge knows")
    add_thinker(parser, "scores the edit: ", "--judge")
    add_device(parser)
    parser.epilog = EXAMPLES + EXIT_CODES


def add_further_options(parser: argparse.ArgumentParser) -> None:
    """--further and --models: measures that need models of their own."""
    from ..scoring.job import ScoreJob

    add_field(parser, ScoreJob, "further")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="where the files of the --further measures are")


def run_score(options: argparse.Namespace) -> int:
    """Score an edit as the arguments say; → the exit status."""
    from ..images import load_image, load_mask
    from ..scoring.job import ScoreJob

    job = ScoreJob(**{each.name: getattr(options, each.name) for each in options_of(ScoreJob)})
    source, edited = load_image(options.source, "source"), load_image(options.edited, "edited")
    mask = load_mask(options.mask, "--mask") if options.mask else None
    (found,) = job.run(source, edited, options.instruction, _models(options), mask, ProgressLine(), announce=complain)
    print_result(str(found))
    print(json.dumps(found.as_dict()))
    return 0


def _models(options: argparse.Namespace) -> ScoringModels:
    from dataclasses import replace

    from ..scoring.job import ScoringModels

    if options.output and not options.thinker:
        raise RethinkError("-o: keeps the judge's answers, and there is no --judge.")
    if options.template and not options.thinker:
        raise RethinkError("--template: is the judge's wording, and there is no --judge.")
    judge, clip = open_thinker_from(options), clip_from(options)
    if judge is not None and options.template:
        judge = replace(judge, template=read_template(options.template))
    return ScoringModels(judge, options.output, clip.load if clip else None, options.models, options.device)
