"""`rethink edit`, and the settings of every command that edits."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..edit_job import EditJob
from ..errors import RethinkError
from .arguments import add_field
from .editor_options import BUILT_IN, EDITORS, add_device, add_loading_options, open_editor

if TYPE_CHECKING:
    from torch import Tensor

    from ..editors.settings import Settings

EXAMPLES = """examples:
  python -m rethink edit photo.png "make it winter" --editor models/diffusers/instruct-pix2pix -o winter.png
  python -m rethink edit photo.png "make it winter" --editor ... --seed 7 --variations 4 --randomize-guidance
  python -m rethink edit photo.png "make it winter" "add a fox" --editor ... --chain
  python -m rethink edit photo.png "make it winter" --editor ... --lora snow.safetensors:0.8 --lora grain.safetensors
  python -m rethink edit photo.png "put the hat on the man" --editor models/diffusers/qwen-edit-plus --references hat.png
  python -m rethink edit photo.png "make it winter" --editor http://127.0.0.1:8000/v1 --editor-model qwen-image-edit
"""
EXIT_CODES = "\nexit codes: 0 done, 1 failed, 2 usage error (one sentence explains it), 130 interrupted"


def add_edit_command(commands) -> None:
    """Add `edit` to the subparsers of `rethink`."""
    parser = commands.add_parser(
        "edit", help="edit an image", epilog=EXAMPLES + EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path, help="image to edit")
    parser.add_argument("instruction", nargs="+", help="what to change; several require --chain")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="default: IMAGE-edited.png; the file extension sets the format; several images get -1, -2, …",
    )
    parser.add_argument(
        "--chain", action="store_true", help="apply the instructions one after another and save every step"
    )
    add_field(parser, EditJob, "variations")
    add_field(parser, EditJob, "seed")
    add_editor_options(parser)
    parser.add_argument(
        "--references",
        type=Path,
        nargs="+",
        default=[],
        metavar="IMAGE",
        help="more images that the instruction refers to, for editors that take several: Qwen-Image-Edit-Plus, "
        "FLUX.2, JoyImage-Edit-Plus",
    )
    parser.set_defaults(run=run_edit)


def add_editor_options(parser: argparse.ArgumentParser) -> None:
    """Which editor, how it is loaded, the settings of its edits, and which region they may change."""
    add_loading_options(parser, BUILT_IN, EDITORS)
    add_device(parser)
    add_sampling_options(parser)
    parser.add_argument(
        "--mask", type=Path, metavar="IMAGE", help="mask image: white areas may change; in a cutout, opaque ones"
    )


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """The settings of edits: what `settings_from` reads."""
    parser.add_argument("--steps", type=int, metavar="N", default=0, help="sampling steps; 0: the editor's own")
    parser.add_argument("--sampler", default="default", help="default: the editor's own")
    parser.add_argument(
        "--text-guidance",
        type=float,
        metavar="X",
        default=0.0,
        help="how closely to follow the text; 0: the editor's own",
    )
    parser.add_argument(
        "--image-guidance",
        type=float,
        metavar="X",
        default=0.0,
        help="how closely to keep the source; 0: the editor's own",
    )
    parser.add_argument(
        "--randomize-guidance", action="store_true", help="vary both guidance scales by ± 20%%, by seed"
    )
    parser.add_argument(
        "--strength",
        type=float,
        metavar="X",
        default=0.0,
        help="SDEdit only: how much to redraw, up to 1; 0: the editor's own",
    )
    parser.add_argument("--negative", default="", metavar="PROMPT", help="negative prompt: what to avoid")


def run_edit(options: argparse.Namespace) -> int:
    """Edit an image as the arguments say; → the exit status."""
    from ..images import check_image_target, load_image, save_image

    if len(options.instruction) > 1 and not options.chain:
        raise RethinkError("Several instructions were given: add --chain to apply them one after another.")
    image = load_image(options.image)
    warn_of_strangers("editor", options.editor, image)
    job = EditJob(tuple(options.instruction), options.seed, options.variations, options.chain, settings_from(options))
    mask, references = load_edit_mask(options, image), [load_image(path) for path in options.references]
    target = options.output or options.image.with_name(f"{options.image.stem}-edited.png")
    height, width = image.shape[1:3]
    check_image_target(target, height, width, "-o")
    paths = _numbered(target, len(job.instructions) * job.variations)
    for path in paths:
        check_image_target(path, height, width, "-o")
    editor = open_editor(options)
    started = time.monotonic()
    batches = job.run(editor, image, lambda *_: show_step, mask=mask, references=references)
    for path, edited in zip(paths, (edited for batch in batches for edited in batch), strict=True):
        save_image(edited, path)
        print(path)
    print(f"{time.monotonic() - started:.1f} s", file=sys.stderr)
    return 0


def _numbered(target: Path, count: int) -> list[Path]:
    """The paths of `count` images: `target` itself for one, numbered names for several."""
    if count == 1:
        return [target]
    return [target.with_name(f"{target.stem}-{number}{target.suffix}") for number in range(1, count + 1)]


def settings_from(options: argparse.Namespace) -> Settings:
    """How every edit is sampled."""
    from ..editors.settings import Settings

    names = ("steps", "sampler", "text_guidance", "image_guidance", "strength", "negative", "randomize_guidance")
    return Settings.from_inputs({name: getattr(options, name) for name in names})


def load_edit_mask(options: argparse.Namespace, image: Tensor) -> Tensor | None:
    """The mask of the arguments; None without one. Raises RethinkError if it selects nothing."""
    from ..images import as_edit_mask, load_mask

    mask = load_mask(options.mask, "--mask") if options.mask else None
    as_edit_mask(mask, image, "--mask")
    return mask


def warn_of_strangers(kind: str, model: str, image: Tensor) -> None:
    """Warn when a built-in model was not made for such images. kind: "editor" or "thinker"."""
    if model == BUILT_IN:
        from ..tiny.strangers import warn_of_strangers as warning_about

        if warning := warning_about(kind, image):
            print(f"rethink: {warning}", file=sys.stderr)


def show_step(step: int, total: int, preview: Callable[[], Tensor]) -> None:
    """The progress of one edit, on a terminal (`protocol.OnStep`)."""
    if sys.stderr.isatty():
        print(f"\rstep {step}/{total}", end="\n" if step == total else "", file=sys.stderr, flush=True)
