"""Command-line options: built from the fields of a job, and read from a config file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import RethinkError
from ..options import Option, option_of
from ..text_files import read_json

REPEATED = ("lora",)  # options that take one value each time they are given
Parser = argparse.ArgumentParser | argparse._ArgumentGroup

EXAMPLES = """examples:
  python -m rethink synthesize photos my-pairs --pairs 4
  python -m rethink synthesize photos my-pairs --operations cover --set cover.fill=black --boxes faces.json
  python -m rethink synthesize photos my-pairs --editor models/diffusers/qwen-edit --inverse "remove the hat"
  python -m rethink caption-edits captions.txt edits.jsonl --thinker http://localhost:8000/v1 --model qwen
  python -m rethink p2p edits.jsonl my-pairs --sd models/diffusers/sd15 --clip models/clip/clip-vit-large-patch14
  python -m rethink filter my-pairs --clip models/clip/clip-vit-large-patch14
  python -m rethink export my-pairs ai-toolkit my-dataset

Every command resumes where it stopped. --engine ray spreads the work over a Ray cluster whose machines share the folders:
  python -m rethink synthesize /nfs/photos /nfs/pairs --engine ray --address auto --share damage=1 describe=2:0.5
--config FILE holds the same options as JSON: {"pairs": 4, "set": ["…"]}."""


def add_command(commands, name: str, about: str, run: Callable) -> argparse.ArgumentParser:
    """Add a command about pairs. run: carries it out."""
    parser = commands.add_parser(
        name, help=about, description=about, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, help="JSON file of options; options on the command line take precedence")
    parser.set_defaults(run=run)
    return parser


def add_field(parser: Parser, job: type, name: str, flag: str = "", **more: Any) -> None:
    """Add the option for the field `name` of a job; the job checks its limits itself.

    flag: defaults to the name of the field. more: additional arguments for `add_argument`.
    """
    found = option_of(job, name)
    flag = flag or "--" + name.replace("_", "-")
    if isinstance(found.default, bool):
        add_switch(parser, flag, found.help, found.default)
        return
    kinds: dict[str, Any] = {"dest": name, "default": found.default, "help": _help(found), "type": type(found.default)}
    if isinstance(found.default, tuple):
        kinds |= {"type": float, "nargs": 2, "metavar": ("LOW", "HIGH")}
    elif found.choices:
        kinds["choices"] = found.choices
    else:
        kinds["metavar"] = placeholder(found)
    parser.add_argument(flag, **kinds | more)


def add_switch(parser: Parser, flag: str, help: str, default: bool = False) -> None:
    """Add --flag and --no-flag, so that a config file can say true or false."""
    parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=help.replace("%", "%%"))


def placeholder(found: Option) -> str:
    """What stands for the value of an option in its help."""
    return {int: "N", float: "X"}.get(type(found.default), found.name.upper())


def _help(found: Option) -> str:
    default = found.default
    if isinstance(default, tuple):
        default = " ".join(f"{number:g}" for number in default)
    text = f"{found.help} Default: {default}" if default != "" else found.help
    return text.replace("%", "%%")


def with_config(arguments: Sequence[str]) -> list[str]:
    """The arguments with the options of their config file in front, so that these are parsed and checked like all others and
    the command line wins. Raises RethinkError for a file without options."""
    known, _ = _CONFIG.parse_known_args(arguments)
    if known.config is None:
        return list(arguments)
    record = read_json(known.config, "--config")
    if not isinstance(record, dict):
        raise RethinkError(f'--config: {known.config} contains no options; expected {{"pairs": 4, …}}.')
    command, *rest = arguments
    flags = [flag for name, value in record.items() for flag in _flags(name, value)]
    return [command, *flags, "--config", known.config, *rest]  # --config also ends a list of values


def find_typed(arguments: Sequence[str]) -> frozenset[str]:
    """The options typed on the command line, without those of a config file, which may come from someone else."""
    return frozenset(argument.partition("=")[0] for argument in arguments if argument.startswith("--"))


_CONFIG = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
_CONFIG.add_argument("--config")


def _flags(name: str, value) -> list[str]:
    name = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, list):
        return [f"--{name}={item}" for item in value] if name in REPEATED else [f"--{name}", *map(str, value)]
    return [] if value is None else [f"--{name}={value}"]
