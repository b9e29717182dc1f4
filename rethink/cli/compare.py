"""`rethink compare` and `rethink vote`: editors, LoRAs and settings side by side, and a blind vote between their edits."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RethinkError
from ..options import MAX_SEED
from .arguments import add_field, add_switch
from .edit import EXIT_CODES, add_sampling_options, settings_from
from .editor_options import BUILT_IN, FILES, add_device, add_lora_option, parse_lora
from .pair_options import clip_from
from .progress import ProgressLine, complain, print_result
from .score import add_further_options
from .think import add_loop_options, add_thinker_options, config_from, open_thinker_of

if TYPE_CHECKING:
    from ..comparison.tasks import CompareTask
    from ..comparison.variants import EditorChoice, LoraChoice, VariantPlan
    from ..editors.settings import Settings

EXAMPLES = """examples:
  python -m rethink compare photos -i "make it winter" "make it night" -o winter --serve \\
      --editor kontext=models/diffusers/flux-kontext --editor qwen=models/diffusers/qwen-image-edit
  python -m rethink compare photos -i "make it winter" -o loras --editor ... --loras snow.safetensors frost.safetensors
  python -m rethink compare photos -i "make it winter" -o strength --editor ... --loras snow.safetensors --strengths 0.5,0.8,1.0
  python -m rethink compare --pairs my-pairs --limit 50 -o saves --editor ... --checkpoints output/rethink/training/snow
  python -m rethink compare photos -i "make it winter" -o steps --editor a=FOLDER:steps=20 --editor b=FOLDER:steps=40,text_guidance=4
  python -m rethink compare photos -i "make it winter" -o thinking --editor ... --think --thinker ... --judge ...
  python -m rethink vote winter

comparison.html, in the folder of -o, is one file with a grid, a blind vote by keyboard and the result of the votes. Opened as a file,
it keeps votes in the browser, ready to export; with --serve or `vote`, any number of people can vote at once, and the votes are
written to votes.jsonl in the folder. Existing edits and scores are reused: an interrupted run resumes when it is started again.
"""
MAX_PORT = 2**16 - 1
_SETTINGS = re.compile(r"(.*):((?:\w+=[^,:]*)(?:,\w+=[^,:]*)*)")


def add_compare_commands(commands) -> None:
    """Add `compare` and `vote` to the subparsers of `rethink`."""
    from ..editors.settings import LoadSettings

    parser = commands.add_parser(
        "compare",
        help="compare editors, LoRAs and settings side by side, with a blind vote",
        description="Applies every instruction to every image with every editor, measures the edits, and makes a page to view and vote on.",
        epilog=EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", type=Path, nargs="*", help="image files, or folders of images")
    parser.add_argument("-i", "--instructions", nargs="+", default=[], metavar="TEXT", help="what to change")
    add_switch(
        parser,
        "--one-each",
        "pair the first image with the first instruction, and so on, instead of every image with every instruction",
    )
    about = (
        'JSON lines of {"image": path, "instruction": text} instead of images and instructions; with "source_caption" and '
        '"edited_caption", --clip measures whether the image changed as the captions do'
    )
    parser.add_argument("--tasks", type=Path, metavar="FILE", help=about)
    parser.add_argument(
        "--pairs", type=Path, metavar="STORE", help="use the inputs, instructions and targets of a pair store"
    )
    parser.add_argument("--limit", type=int, metavar="N", default=0, help="use only the first N pairs; 0: all")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="results folder, new or existing"
    )
    parser.add_argument("--title", default="", help="title of the page; default: the folder's name")
    parser.add_argument(
        "--editor",
        action="append",
        default=[],
        metavar="[NAME=]EDITOR[:SETTING=VALUE,…]",
        help=f"{FILES}; repeat for several. Settings: steps, sampler, text_guidance, image_guidance, strength, negative",
    )
    add_lora_option(parser, "editors, in every variant")
    group = parser.add_argument_group("what else to compare", "with every editor")
    group.add_argument(
        "--loras", nargs="+", default=[], metavar="FILE[:STRENGTH]", help="LoRAs to compare, one at a time"
    )
    group.add_argument(
        "--strengths", default="", metavar="0.5,0.8,1.0", help="try every compared LoRA at each of these strengths"
    )
    group.add_argument(
        "--checkpoints", type=Path, metavar="FOLDER", help="compare the checkpoints of the training in this folder"
    )
    add_switch(group, "--baseline", "also compare every editor without the compared LoRAs", True)
    add_switch(group, "--think", "also run every variant with thinking, with the options of --thinker")
    for name in ("dtype", "offload", "quantize"):
        add_field(parser, LoadSettings, name)
    parser.add_argument("--tokenizer", type=Path, help="folder of the CLIP tokenizer, for single files")
    add_device(parser)
    add_loop_options(parser)
    add_sampling_options(parser)
    parser.add_argument(
        "--clip", help=f"measures CLIP similarities; {BUILT_IN}, or a transformers folder of a CLIPModel"
    )
    add_further_options(parser)
    add_thinker_options(parser, "thinker", "critiques and rewrites, with --think")
    add_thinker_options(parser, "judge", "scores every edit; optional")
    add_switch(parser, "--serve", "serve the page to this machine only and write votes to the folder, until Ctrl-C")
    _add_port(parser)
    parser.set_defaults(run=run_compare)
    _add_vote(commands)


def _add_vote(commands) -> None:
    parser = commands.add_parser(
        "vote",
        help="vote on an existing comparison",
        description="Serves the page of a comparison to this machine only and writes votes to votes.jsonl in its folder, until Ctrl-C.",
    )
    parser.add_argument("folder", type=Path, help="the -o folder of `rethink compare`")
    _add_port(parser)
    parser.set_defaults(run=lambda options: serve_votes(options.folder, options.port))


def _add_port(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_port, default=0, help="port to serve the page on; 0: any free port")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"expected 0 to {MAX_PORT}, got {text}")
    return int(text)


def run_compare(options: argparse.Namespace) -> int:
    """Compare as the arguments say; → the exit status."""
    from ..comparison.job import CompareJob
    from ..scoring.further import FurtherMeasures

    variants = _plan(options).variants()
    job = CompareJob(
        _tasks(options),
        variants,
        options.output.absolute(),
        clip_from(options),
        open_thinker_of(options, "judge") if options.judge else None,
        FurtherMeasures(options.further, options.models, options.device),
        options.title or options.output.absolute().name,
    )
    report = job.run(ProgressLine(), announce=complain)
    print_result(str(report))
    print(f"View and vote: {report.page.resolve().as_uri()}", file=sys.stderr)
    return serve_votes(job.output, options.port) if options.serve else 0


def serve_votes(folder: Path, port: int) -> int:
    """Serve until Ctrl-C, then print the result of the votes."""
    from ..comparison.job import describe_poll
    from ..comparison.server import VoteServer

    with VoteServer(folder, port).running() as address:
        try:
            print(f"Vote at {address} (Ctrl-C to stop)", flush=True)
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print_result(describe_poll(folder))
    return 0


def _tasks(options: argparse.Namespace) -> list[CompareTask]:
    from ..comparison.tasks import images_in, tasks_from_images, tasks_from_pairs, tasks_from_table
    from ..pairs.store import PairStore

    ways = {"images": options.images, "--tasks": options.tasks, "--pairs": options.pairs}
    chosen = [name for name, value in ways.items() if value]
    if len(chosen) != 1:
        raise RethinkError(
            f"Give exactly one of images with -i, --tasks and --pairs; got {' and '.join(chosen) or 'none'}."
        )
    if options.limit < 0:
        raise RethinkError(f"--limit: expected 0 or more, got {options.limit}.")
    if options.pairs:
        return tasks_from_pairs(PairStore.open_existing(options.pairs), options.limit)
    if options.tasks:
        return tasks_from_table(options.tasks)
    return tasks_from_images(images_in(options.images), options.instructions, options.one_each)


def _plan(options: argparse.Namespace) -> VariantPlan:
    from ..benchmarking.editing import Thinking
    from ..comparison.variants import VariantPlan
    from ..editors.settings import LoadSettings

    settings = settings_from(options)
    loras = _loras(options.lora)
    editors = tuple(replace(parse_editor(text, settings), loras=loras) for text in options.editor)
    if not editors:
        raise RethinkError(f"--editor: give at least one: {FILES}.")
    if not 0 <= options.seed <= MAX_SEED:
        raise RethinkError(f"seed: expected 0 to {MAX_SEED}, got {options.seed}.")
    thinking = Thinking(open_thinker_of(options, "thinker"), config_from(options)) if options.think else None
    return VariantPlan(
        editors,
        _loras(options.loras),
        _strengths(options.strengths),
        options.checkpoints,
        options.baseline,
        thinking,
        options.seed,
        LoadSettings(**{field.name: getattr(options, field.name) for field in fields(LoadSettings)}),
        options.device,
        options.tokenizer,
    )


def parse_editor(text: str, settings: Settings) -> EditorChoice:
    """Parse [NAME=]EDITOR[:SETTING=VALUE,…]; the given settings apply where it has none of its own. Raises RethinkError if invalid."""
    from ..builtin import EDITOR_FOLDER
    from ..comparison.variants import EditorChoice
    from ..editors.settings import Settings
    from ..model_files import model_name
    from ..servers.address import is_address

    name, equals, where = text.partition("=")
    if not equals or any(letter in name for letter in "/\\:") or Path(text).exists():
        name, where = "", text
    own = _SETTINGS.fullmatch(where)
    values = dict(pair.split("=", 1) for pair in own[2].split(",")) if own else {}
    where = own[1] if own else where
    inputs = settings.as_inputs()
    for key, value in values.items():
        if key not in inputs or key == "randomize_guidance":
            raise RethinkError(f"--editor: {text} sets “{key}”; the settings are {', '.join(sorted(inputs))}.")
        try:
            inputs[key] = type(inputs[key])(value)
        except ValueError as error:
            raise RethinkError(f"--editor: {text}: {key} takes a number, got “{value}”.") from error
    if is_address(where):
        raise RethinkError(
            f"--editor: {where} is a server, but this command compares only editors on this machine; in ComfyUI, Compare Editors "
            "takes servers too."
        )
    path = EDITOR_FOLDER if where == BUILT_IN else Path(where)
    suffix = f" ({own[2].replace(',', ', ')})" if own else ""
    plain = BUILT_IN if where == BUILT_IN else model_name(path) if path.is_dir() else path.stem
    return EditorChoice(name or f"{plain}{suffix}", path, Settings.from_inputs(inputs))


def _loras(texts: Sequence[str]) -> tuple[LoraChoice, ...]:
    from ..comparison.variants import LoraChoice

    return tuple(LoraChoice(*parse_lora(text)) for text in texts)


def _strengths(text: str) -> tuple[float, ...]:
    try:
        return tuple(dict.fromkeys(float(part) for part in text.replace(",", " ").split()))
    except ValueError as error:
        raise RethinkError(f"--strengths: expected numbers like 0.5,0.8,1.0, got “{text}”.") from error
