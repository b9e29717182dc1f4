"""The commands of the pairs: `synthesize`, `caption-edits`, `p2p`, `filter`, `export`, `import`, `inspect`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from ..errors import RethinkError
from ..pairs.text_files import read_json
from . import pair_stages, progress

EXAMPLES = """examples:
  python -m rethink synthesize photos my-pairs --pairs 4
  python -m rethink synthesize photos my-pairs --operations cover --set cover.fill=black --boxes faces.json
  python -m rethink synthesize photos my-pairs --editor models/diffusers/qwen-edit --inverse "remove the hat"
  python -m rethink caption-edits captions.txt edits.jsonl --thinker http://localhost:8000/v1 --model qwen
  python -m rethink p2p edits.jsonl my-pairs --sd models/diffusers/sd15 --clip models/clip/clip-vit-large-patch14
  python -m rethink filter my-pairs --clip models/clip/clip-vit-large-patch14
  python -m rethink export my-pairs ai-toolkit my-dataset

Every command goes on where it stopped. --engine ray spreads the work over a Ray cluster whose machines share the folders:
  python -m rethink synthesize /nfs/photos /nfs/pairs --engine ray --address auto --share damage=1 describe=2:0.5
--config FILE holds the same options as JSON: {"pairs": 4, "set": ["…"]}."""


def add_commands(commands) -> None:
    """Adds the commands to the subparsers of `python -m rethink`."""
    _add_synthesize(commands)
    _add_caption_edits(commands)
    _add_p2p(commands)
    _add_filter(commands)
    _add_export(commands)
    _add_inspect(commands)


def _command(commands, name: str, about: str, run: Callable) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=about, description=about, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, help="JSON file of options; what is given here goes before it")
    parser.set_defaults(run=run)
    return parser


def with_config(arguments: Sequence[str]) -> list[str]:
    """The arguments with the options of their config file before them: so they are read and refused like any others, and
    what is given itself counts. Raises RethinkError for a file that holds no options."""
    known, _ = _CONFIG.parse_known_args(arguments)
    if known.config is None:
        return list(arguments)
    record = read_json(known.config, "--config")
    if not isinstance(record, dict):
        raise RethinkError(f'--config: {known.config} holds no options; expected {{"pairs": 4, …}}.')
    command, *rest = arguments
    flags = [flag for name, value in record.items() for flag in _flags(name, value)]
    return [command, *flags, "--config", known.config, *rest]  # which also ends a list of values


def find_typed(arguments: Sequence[str]) -> frozenset[str]:
    """The options that stand in the arguments themselves, not in a config file, which may be somebody else's."""
    return frozenset(argument.partition("=")[0] for argument in arguments if argument.startswith("--"))


_CONFIG = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
_CONFIG.add_argument("--config")


def _flags(name: str, value) -> list[str]:
    name = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    return [] if value is None else [f"--{name}={value}"]


def _add_synthesize(commands) -> None:
    from ..pairs.inverse.drafts import MASK_FREE

    parser = _command(
        commands,
        "synthesize",
        "pairs by damaging real pictures: the damage is what is learnt to undo",
        pair_stages.run_synthesize,
    )
    parser.add_argument("images", type=Path, help="folder of pictures, with its subfolders")
    parser.add_argument("store", type=Path, help="folder of the pairs, new or begun")
    parser.add_argument(
        "--operations", nargs="+", default=list(MASK_FREE), metavar="NAME", help="default: all that need no mask"
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="OP.NAME=VALUES", help="cover.fill=black,white blur.strength=0.1,0.2"
    )
    parser.add_argument("--pairs", type=int, default=1, help="of every picture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest-side", type=int, default=2048, help="larger pictures are scaled down; 0: never")
    parser.add_argument(
        "--area", nargs=2, type=float, default=[0.03, 0.2], help="share of the picture that is worked on"
    )
    parser.add_argument(
        "--masks",
        type=Path,
        help="folder with the same file names, any image ending; white, or opaque in a cut-out, where the subject is",
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        help='JSON {"name": [{"box": [l, t, r, b], "place": …, "hidden": …}]}, shares of 0…1; names as under images, in any spelling',
    )
    parser.add_argument("--find", metavar="WHAT", help='the thinker names the places to work on, e.g. "faces"')
    parser.add_argument("--templates", type=Path, help='JSON {"operation": ["Remove the {thing}.", …]}')
    _add_engine(parser, "damage (or edit) and describe")
    parser.add_argument(
        "--editor", help="does --inverse in place of an operation: built-in, a diffusers folder, a .safetensors file"
    )
    parser.add_argument("--inverse", help='the easy instruction, e.g. "remove the hat"')
    parser.add_argument("--place", default="", help='what the place is called, for every pair, e.g. "the man\'s face"')
    parser.add_argument(
        "--hidden", default="", help='what undoing it brings back, for every pair, e.g. "A red woollen hat."'
    )
    parser.epilog = f"{_operations()}\n\n{EXAMPLES}"
    _add_thinker(parser)
    _add_switch(parser, "--paraphrase", "the thinker rewords every instruction")


def _add_switch(parser: argparse.ArgumentParser, flag: str, what: str, default: bool = False) -> None:
    """--flag and --no-flag, so that a config file's true and false are both options."""
    parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=what)


def _operations() -> str:
    """What there is to choose among with --operations and --set."""
    from ..pairs.inverse.operations import OPERATIONS, Range

    def values(span) -> str:
        return f"{span.low},{span.high}" if isinstance(span, Range) else ",".join(span.choices)

    needs = {"selection": "  (needs masks, boxes or --find)", "subject": "  (needs masks)"}
    lines = [
        f"  {id:16}{'  '.join(f'{name}={values(span)}' for name, span in op.ranges.items())}{needs.get(op.where, '')}"
        for id, op in OPERATIONS.items()
    ]
    return "\n".join(["operations, and from what their parameters are drawn:", *lines])


def _add_thinker(parser: argparse.ArgumentParser, role: str = "") -> None:
    kinds = "built-in, a transformers folder of a vision-language model, or the URL of a server (…/v1)"
    parser.add_argument("--thinker", help=f"{role}{kinds}")
    parser.add_argument("--model", default="", help="the model's name on the server")
    parser.add_argument(
        "--key-variable",
        default="",
        help="NAME of the environment variable that holds the server's key, which is sent to that server alone",
    )
    parser.add_argument("--concurrency", type=int, default=4, help="questions to the server at once")
    parser.add_argument("--device", default="cpu", help="where the models compute: cpu, cuda, mps, …")


def _add_engine(parser: argparse.ArgumentParser, names: str) -> None:
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes on this machine (default: one a core)"
    )
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="ray: over a Ray cluster (pip install ray)"
    )
    parser.add_argument("--address", default="", help="of the Ray cluster, or auto; default: one is started here")
    parser.add_argument(
        "--share",
        nargs="+",
        default=[],
        metavar="STAGE=CPUS[:GPUS[:JOBS]]",
        help=f"what a worker of a stage takes of its machine, and jobs it claims at once; the stages: {names}",
    )


def _add_caption_edits(commands) -> None:
    parser = _command(
        commands, "caption-edits", "captions to instructions and edited captions", pair_stages.run_caption_edits
    )
    parser.add_argument("captions", type=Path, help='a caption a line, or .jsonl with "caption" and "url"')
    parser.add_argument("output", type=Path, help="JSON lines caption, edit, output, url; new or begun")
    parser.add_argument(
        "--triples", type=Path, help='examples as JSON lines "input", "edit", "output" (default: built in)'
    )
    parser.add_argument(
        "--fine-tuning", type=Path, help="only write --triples as a fine-tuning file in the paper's format"
    )
    parser.add_argument("--seed", type=int, default=0)
    _add_engine(parser, "invent")
    _add_thinker(parser)


def _add_p2p(commands) -> None:
    from ..pairs.from_captions.prompt_to_prompt import METHODS, P2PConfig
    from ..pairs.from_captions.selection import Selection
    from ..pairs.review.filters import THRESHOLD_HELP

    recipe, selection = P2PConfig(), Selection()
    parser = _command(
        commands, "p2p", "pairs drawn from two captions each, the best of many candidates", pair_stages.run_p2p
    )
    parser.add_argument("triples", type=Path, help='JSON lines "input" (or "caption"), "edit", "output"')
    parser.add_argument("store", type=Path, help="folder of the pairs, new or begun")
    parser.add_argument("--sd", type=Path, help="a diffusers folder of Stable Diffusion 1, 2 or XL")
    parser.add_argument("--clip", help="built-in, or a transformers CLIPModel folder")
    parser.add_argument("--method", choices=METHODS, default=recipe.method)
    parser.add_argument("--steps", type=int, default=recipe.steps)
    parser.add_argument("--sampler", default=recipe.sampler)
    parser.add_argument(
        "--threshold",
        nargs=2,
        type=float,
        default=list(recipe.threshold),
        help="share of the steps that share attention",
    )
    parser.add_argument("--guidance", nargs=2, type=float, default=list(recipe.guidance))
    told = {
        "candidates": "Drawn for every pair of captions.",
        "batch": "Candidates drawn at once.",
        **{name: THRESHOLD_HELP[name] for name in ("image", "caption", "direction", "best")},
        "audited": "Share of the candidates given up early that is drawn all the same, to see how often that errs.",
    }
    for name, what in told.items():
        default = getattr(selection, name)
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{what} Default: {default}")
    parser.add_argument(
        "--looks",
        nargs="*",
        metavar="STEPS:IMAGE:CAPTION:DIRECTION",
        help="sketch the candidates in so many steps first, and drop those of which a score misses its threshold by more "
        "than this, e.g. 10:0.15:0.04:0.15; none: draw all to the end",
    )
    parser.add_argument("--seed", type=int, default=0)
    _add_engine(parser, "draw")
    parser.add_argument("--device", default="cpu", help="where the models compute: cpu, cuda, mps, …")


def _add_filter(commands) -> None:
    from ..pairs.review.filters import THRESHOLD_HELP, Thresholds

    parser = _command(commands, "filter", "measure pairs, and accept or reject them; say why", pair_stages.run_filter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--clip", help="for the CLIP similarities: built-in, or a transformers CLIPModel folder")
    _add_thinker(parser, "asked to mark every pair with 0 to 10: ")
    _add_engine(parser, "measure")
    for field in fields(Thresholds):
        flag, told = "--" + field.name.replace("_", "-"), f"{THRESHOLD_HELP[field.name]} Default: {field.default}"
        if isinstance(field.default, bool):
            _add_switch(parser, flag, told, field.default)
        else:
            parser.add_argument(flag, type=type(field.default), default=field.default, help=told)


def _add_export(commands) -> None:
    from ..pairs.formats import FORMATS

    parser = _command(commands, "export", "write the accepted pairs in the layout of a trainer", pair_stages.run_export)
    parser.add_argument("store", type=Path)
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("folder", type=Path, help="a new folder")
    parser = _command(commands, "import", "read a dataset in another layout into a store", pair_stages.run_import)
    parser.add_argument("folder", type=Path, help="the dataset: a folder, or the zip of fal-zip")
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("store", type=Path, help="folder of the pairs, new or begun")


def _add_inspect(commands) -> None:
    parser = _command(commands, "inspect", "what is in a store: counts, reasons, scores", progress.run_inspect)
    parser.add_argument("store", type=Path)
    parser.add_argument("--histogram", metavar="SCORE", help="of a score, e.g. clip_sim_dir or changed")
    _add_switch(parser, "--check", "open every picture")
