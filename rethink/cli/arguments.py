"""Options of the command line, made from the fields of a job."""

from __future__ import annotations

import argparse
from typing import Any

from ..options import Option, option_of


def add_field(parser: argparse.ArgumentParser, job: type, name: str, flag: str = "", **more: Any) -> None:
    """The option of the field `name` of a job; its limits are the job's to check.

    flag: what it is called here, by default as the field. more: what `add_argument` takes besides.
    """
    found = option_of(job, name)
    flag = flag or "--" + name.replace("_", "-")
    if isinstance(found.default, bool):
        add_switch(parser, flag, found.help, found.default)
        return
    kinds: dict[str, Any] = {"type": type(found.default)}
    if isinstance(found.default, tuple):
        kinds = {"type": float, "nargs": 2, "metavar": ("LOW", "HIGH")}
    if found.choices:
        kinds["choices"] = found.choices
    parser.add_argument(flag, dest=name, default=found.default, help=_help(found), **{**kinds, **more})


def add_switch(parser: argparse.ArgumentParser, flag: str, help: str, default: bool = False) -> None:
    """--flag and --no-flag, so that a config file's true and false are both options."""
    parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=help.replace("%", "%%"))


def _help(found: Option) -> str:
    default = found.default
    if isinstance(default, tuple):
        default = " ".join(f"{number:g}" for number in default)
    said = f"{found.help} Default: {default}" if default != "" else found.help
    return said.replace("%", "%%")
