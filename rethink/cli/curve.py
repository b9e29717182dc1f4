"""`rethink curve`: how editors trade doing what is asked against keeping the image."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RethinkError
from ..options import options_of
from .arguments import add_command, add_field
from .edit import EXIT_CODES
from .editor_options import BUILT_IN, EDITORS, add_device, add_loading_options, open_editor
from .pair_options import clip_from, name_model
from .progress import ProgressLine, print_result

if TYPE_CHECKING:
    from ..benchmarking.trade_off import CurveItem
    from ..editors.protocol import Editor
    from ..pairs.models import ModelSource

EXAMPLES = """examples:
  python -m rethink curve built-in -o curve                    (the built-in editor, on scenes of the built-in world)
  python -m rethink curve my-pairs -o curve --editors models/diffusers/instruct-pix2pix models/diffusers/stable-diffusion-v1-5 \\
      --clip models/clip_vision/clip-vit-large-patch14 --device cuda
  python -m rethink curve edits.jsonl -o curve --editors models/diffusers/instruct-pix2pix --text-guidance "3, 7.5" --clip ...

A line of a .jsonl file: {"image": "photo.png", "instruction": "make it snow", "source_caption": "a street", "edited_caption": "a street in the
snow"}. The folder of -o gets rethink-curve.html, .png and .json; an interrupted run resumes when it is started again.
"""


def add_curve_command(commands) -> None:
    """Add `curve` to the subparsers of `rethink`."""
    from ..benchmarking.trade_off import TradeOffJob

    about = "draw InstructPix2Pix's trade-off curve for several editors: direction similarity against image similarity"
    parser = add_command(commands, "curve", about, run_curve)
    parser.add_argument(
        "items", help="a folder of pairs with captions, a .jsonl file, or built-in: scenes of the built-in world"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="results folder, new or of the same curve"
    )
    parser.add_argument(
        "--editors",
        nargs="+",
        default=[BUILT_IN],
        metavar="EDITOR",
        help=f"{EDITORS}; one curve each. SDEdit works too",
    )
    parser.add_argument(
        "--count",
        type=int,
        metavar="N",
        default=0,
        help="use only the first N items; 0: all, or 40 scenes of the built-in world",
    )
    parser.add_argument("--clip", default=BUILT_IN, help="transformers folder of a CLIPModel, or built-in")
    for field in options_of(TradeOffJob):
        add_field(parser, TradeOffJob, field.name)
    add_loading_options(parser, None, argparse.SUPPRESS)
    add_device(parser)
    parser.epilog = EXAMPLES + EXIT_CODES


def run_curve(options: argparse.Namespace) -> int:
    """Draw the curves as the arguments say; → the exit status."""
    from ..benchmarking.trade_off import TradeOffJob
    from ..benchmarking.trade_off_plot import write_results

    _check_servers(options)
    job = TradeOffJob(**{each.name: getattr(options, each.name) for each in options_of(TradeOffJob)})
    items, clip = _items(options), clip_from(options)
    assert clip is not None, "it has a default"
    found = job.run(
        [_source(options, editor) for editor in options.editors], items, clip, options.output, ProgressLine()
    )
    page = write_results(found, options.output)
    print_result(str(found))
    print(f"View the report: {page.resolve().as_uri()}", file=sys.stderr)
    print(json.dumps(found.as_dict()))
    return 0


def _items(options: argparse.Namespace) -> list[CurveItem]:
    if options.count < 0:
        raise RethinkError(f"count: expected 0 or more, got {options.count}.")
    if options.items == BUILT_IN:
        from ..tiny.trade_off_items import SCENES, sample_items

        return sample_items(options.count or SCENES, options.seed)
    from ..benchmarking.trade_off import read_items

    found = read_items(Path(options.items))
    return found[: options.count] if options.count else found


def _check_servers(options: argparse.Namespace) -> None:
    """Raise RethinkError if a key would be sent to a server other than its own."""
    from ..servers.address import is_address, parse_address

    origins = {parse_address(editor)[0] for editor in options.editors if is_address(editor)}
    if options.editor_key_variable and len(origins) > 1:
        names = " and ".join(sorted(map(str, origins)))
        raise RethinkError(
            f"--editor-key-variable: a key is for one server, not for {names}; measure one server per run."
        )


def _source(options: argparse.Namespace, editor: str) -> ModelSource[Editor]:
    """An editor that is loaded when its turn comes."""
    from ..pairs.models import ModelSource

    own = argparse.Namespace(**{**vars(options), "editor": editor, "editor_flag": "--editors"})
    return ModelSource(name_model(editor, options.lora, options.editor_model), partial(open_editor, own))
