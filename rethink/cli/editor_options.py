"""The editor of a command: which one, its LoRAs, and how it is loaded."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RethinkError
from ..options import option_of
from .arguments import add_field

if TYPE_CHECKING:
    from ..editors.protocol import Editor

BUILT_IN = "built-in"
FILES = "built-in, a diffusers folder, or a .safetensors file"
EDITORS = f"{FILES}; or a server's address (…/v1), with --editor-model"
SERVER_FIELDS = ("model", "key_variable", "timeout", "retries", "concurrency")


def add_loading_options(parser: argparse.ArgumentParser, default: str | None, help: str) -> None:
    """Which editor, its LoRAs, and how it is loaded: what `open_editor` reads, besides the device."""
    from ..editors.settings import LoadSettings, ServerSettings

    parser.add_argument("--editor", default=default, help=f"{help}. Default: {default}" if default else help)
    for name in SERVER_FIELDS:
        flag = f"--editor-{name.replace('_', '-')}"
        add_field(parser, ServerSettings, name, flag, dest=f"editor_{name}")
    add_lora_option(parser, "editor")
    add_field(parser, LoadSettings, "dtype")
    add_field(parser, LoadSettings, "offload")
    quantizers = ", ".join(option_of(LoadSettings, "quantize").choices)
    about = f"{option_of(LoadSettings, 'quantize').help} One of: {quantizers}"
    add_field(parser, LoadSettings, "quantize", metavar="BITS", help=about)
    parser.add_argument("--tokenizer", type=Path, help="folder of the CLIP tokenizer, for single files")


def add_lora_option(parser: argparse.ArgumentParser, model: str) -> None:
    """Add --lora, for this kind of model."""
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help=f"a LoRA for the {model}, at strength 1 unless given; repeat for several",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device, which all models of a command share."""
    parser.add_argument("--device", default="cpu", help="device of the models: cpu, cuda, mps, … Default: cpu")


def open_editor(options: argparse.Namespace) -> Editor:
    """The editor of the arguments with its LoRAs."""
    from ..builtin import EDITOR_FOLDER
    from ..editors.loading import load_editor
    from ..servers.address import is_address

    if is_address(options.editor):
        return add_loras(_open_server_editor(options), options.lora)
    editor = load_editor(
        EDITOR_FOLDER if options.editor == BUILT_IN else Path(options.editor),
        dtype=options.dtype,
        device=options.device,
        offload=options.offload,
        quantize=options.quantize,
        tokenizer=options.tokenizer,
    )
    if options.editor == BUILT_IN:
        editor.name = BUILT_IN  # as chosen, for records
    return add_loras(editor, options.lora)


def _open_server_editor(options: argparse.Namespace) -> Editor:
    """The editor behind the server of the arguments. A server typed on the command line is allowed; for one in a config file, the
    user's server settings decide. `editor_flag` of the options: the flag that names the server, if it is not --editor."""
    from ..editors.server_editor import ServerEditor
    from ..servers.address import parse_address
    from ..servers.trust import trust_command_line

    values = {name: getattr(options, f"editor_{name}") for name in SERVER_FIELDS}
    if not values["model"].strip():
        raise RethinkError("--editor-model: is empty; give the name that the server uses for the editor.")
    named = {getattr(options, "editor_flag", "--editor")} | (
        {"--editor-key-variable"} if values["key_variable"] else set()
    )
    by_owner = getattr(options, "config", None) is None or named <= options.typed
    origin, _ = parse_address(options.editor)
    trust = trust_command_line(origin, values["key_variable"]) if by_owner else None
    return ServerEditor(options.editor, **values, trust=trust)


def add_loras(model: Any, texts: Sequence[str]) -> Any:
    """An editor, or any other model that takes LoRAs, with those of --lora added; prints which of their layers fit."""
    from ..editors.loading import add_lora

    for path, strength in map(parse_lora, texts):
        model, report = add_lora(model, path, strength)
        print(report, file=sys.stderr)
    return model


def parse_lora(text: str) -> tuple[Path, float]:
    """Parse FILE or FILE:STRENGTH; a colon inside the path does not count."""
    path, colon, strength = text.rpartition(":")
    if not (colon and path):
        return Path(text), 1.0
    try:
        return Path(path), float(strength)
    except ValueError:
        return Path(text), 1.0
