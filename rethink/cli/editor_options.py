"""The editor that a command works with: which one, its LoRAs, and how it is loaded."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options import option_of
from .arguments import add_field

if TYPE_CHECKING:
    from ..editors.protocol import Editor

BUILT_IN = "built-in"
EDITORS = "built-in, a diffusers folder, or a .safetensors file"


def add_loading_options(parser: argparse.ArgumentParser, default: str | None, help: str) -> None:
    """Which editor, its LoRAs, and how it is loaded: what `open_editor` reads, besides the device."""
    from ..editors.settings import LoadSettings

    parser.add_argument("--editor", default=default, help=help)
    add_lora_option(parser, "editor")
    add_field(parser, LoadSettings, "dtype")
    add_field(parser, LoadSettings, "offload")
    quantizers = ", ".join(option_of(LoadSettings, "quantize").choices)
    about = f"{option_of(LoadSettings, 'quantize').help} One of: {quantizers}"
    add_field(parser, LoadSettings, "quantize", metavar="BITS", help=about)
    parser.add_argument("--tokenizer", type=Path, help="folder of the CLIP tokenizer, for single files")


def add_lora_option(parser: argparse.ArgumentParser, model: str) -> None:
    """--lora, for models of this kind."""
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help=f"a LoRA over the {model}, strength 1 unless given; repeat it for several",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device, which all models of a command share."""
    parser.add_argument("--device", default="cpu", help="where the models compute: cpu, cuda, mps, …")


def open_editor(options: argparse.Namespace) -> Editor:
    """The editor of the arguments with its LoRAs."""
    from ..builtin import EDITOR_FOLDER
    from ..editors.loading import load_editor

    editor = load_editor(
        EDITOR_FOLDER if options.editor == BUILT_IN else Path(options.editor),
        dtype=options.dtype,
        device=options.device,
        offload=options.offload,
        quantize=options.quantize,
        tokenizer=options.tokenizer,
    )
    if options.editor == BUILT_IN:
        editor.name = BUILT_IN  # as it was chosen, in records
    return add_loras(editor, options.lora)


def add_loras(model: Any, texts: Sequence[str]) -> Any:
    """An editor, or whatever else takes LoRAs, with those of --lora over it; prints which of their layers fit."""
    from ..editors.loading import add_lora

    for path, strength in map(parse_lora, texts):
        model, report = add_lora(model, path, strength)
        print(report, file=sys.stderr)
    return model


def parse_lora(text: str) -> tuple[Path, float]:
    """FILE or FILE:STRENGTH; a colon inside the path does not count."""
    path, colon, strength = text.rpartition(":")
    if not (colon and path):
        return Path(text), 1.0
    try:
        return Path(path), float(strength)
    except ValueError:
        return Path(text), 1.0
