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

The folder of -o keeps the judge's answers, so scoring the same edit again, or restarting a series of a thousand, asks nothing twice.
The last line is JSON. What could not be measured is reported with a reason, never as a number. --models is the folder with the files
of the further measures: dino (a transformers folder), dreamsim (the cache of its package), editscore (base and lora), editreward.
"""


def add_score_command(commands) -> None:
    """Add `score` to the subparsers of `rethink`."""
    from ..scoring.job import ScoreJob

    about = "score an edit: a judge's scores, similarities, and what was kept"
    parser = add_command(commands, "score", about, run_score)
    parser.add_argument("source", type=Path, help="the image before the edit")
    parser.add_argument("edited", type=Path, help="the image after the edit")
    parser.add_argument("instruction", help="what was asked for")
    for field in fields(ScoreJob):
        if field.name != "further":
            add_field(parser, ScoreJob, field.name)
    add_further_options(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="keeps the judge's answers; new or existing"
    )
    parser.add_argument(
        "--mask", type=Path, metavar="IMAGE", help="mask image: white areas may change; in a cutout, opaque ones"
    )
    parser.add_argument(
        "--clip", help="transformers folder of a CLIPModel, or built-in; without it, no CLIP similarities"
    )
    parser.add_argument(
        "--template", type=Path, help="text file with the critique template that the judge was trained on"
    )
    add_thinker(parser, "scores the edit: ", "--judge")
    add_device(parser)
    parser.epilog = EXAMPLES + EXIT_CODES


def add_further_options(parser: argparse.ArgumentParser) -> None:
    """Add --further and --models: measures that need models of their own."""
    from ..scoring.job import ScoreJob

    add_field(parser, ScoreJob, "further")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="folder with the files of the --further measures")


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
        raise RethinkError("-o: keeps the judge's answers, but there is no --judge; add one, or leave -o out.")
    if options.template and not options.thinker:
        raise RethinkError("--template: is for the judge, but there is no --judge; add one, or leave --template out.")
    judge, clip = open_thinker_from(options), clip_from(options)
    if judge is not None and options.template:
        judge = replace(judge, template=read_template(options.template))
    return ScoringModels(judge, options.output, clip.load if clip else None, options.models, options.device)
