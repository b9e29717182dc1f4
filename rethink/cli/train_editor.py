"""`rethink train-editor`: train a full InstructPix2Pix editor from pairs."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..options import options_of
from .arguments import add_command, add_field
from .edit import EXIT_CODES
from .progress import print_result

EXAMPLES = """examples:
  python -m rethink train-editor models/diffusers/sd15 my-pairs -o models/diffusers/my-editor --steps 5000
  python -m rethink train-editor models/diffusers/sdxl my-pairs -o my-xl --resolution 768 --batch 4 --accumulate 8

Several GPUs, in bf16:
  accelerate launch -m rethink train-editor models/diffusers/sd15 my-pairs -o my-editor --precision bf16

The pairs: a store, or a folder with metadata.jsonl, one line per pair: {"input_image_file_name": …, "edited_image_file_name": …,
"edit_prompt": …}, with paths relative to the folder. Every checkpoint is measured on a held-out set. An interrupted run resumes when
it is started again.
"""


def add_train_editor_command(commands) -> None:
    """Add `train-editor` to the subparsers of `rethink`."""
    from ..training.train_loop import TrainConfig

    about = "train a full InstructPix2Pix editor from Stable Diffusion 1.x, 2.x or XL"
    parser = add_command(commands, "train-editor", about, run_train_editor)
    parser.epilog = EXAMPLES + EXIT_CODES
    parser.add_argument(
        "model", type=Path, help="diffusers folder to start from: a text-to-image or InstructPix2Pix model"
    )
    parser.add_argument("pairs", type=Path, help="a store of pairs, or a folder with metadata.jsonl")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="the trained editor, as a diffusers folder"
    )
    parser.add_argument(
        "--resolution", type=int, metavar="N", default=256, help="width and height in pixels (paper: 256)"
    )
    parser.add_argument("--train-text", action="store_true", help="train the text encoders too")
    group = parser.add_argument_group("optimization")
    for each in options_of(TrainConfig):
        add_field(group, TrainConfig, each.name)


def run_train_editor(options: argparse.Namespace) -> int:
    """Train as the arguments say; → the exit status."""
    from ..training.instruct_pix2pix import LossConfig
    from ..training.train_editor_job import TrainEditorJob
    from ..training.train_loop import TrainConfig

    job = TrainEditorJob(
        options.model,
        options.pairs,
        options.output.absolute(),
        options.resolution,
        LossConfig(train_text=options.train_text),
        TrainConfig(**{each.name: getattr(options, each.name) for each in options_of(TrainConfig)}),
    )
    job.run()
    print_result(f"{job.output}\nView the report: {job.report.as_uri()}")
    return 0
