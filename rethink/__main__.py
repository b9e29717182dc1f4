"""The command line: `python -m rethink demo | edit | synthesize | … | bench`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from .errors import RethinkError
from .pairs.commands import add_commands

EXAMPLES = """examples:
  python -m rethink demo
  python -m rethink edit photo.png "make it winter" --editor models/diffusers/instruct-pix2pix -o winter.png
  python -m rethink edit photo.png "make it winter" --editor ... --seed 7 --variations 4 --randomize-guidance
  python -m rethink edit photo.png "make it winter" "add a fox" --editor ... --chain
  python -m rethink bench tiny --cases 400

exit codes: 0 done, 1 failed, 2 wrong use (one sentence says what), 130 interrupted"""


def main(arguments: list[str] | None = None) -> int:
    options = make_parser().parse_args(arguments)
    try:
        return options.run(options)
    except RethinkError as error:
        print(f"rethink: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rethink",
        description="Edit images by written instruction.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="a few edits by the built-in editor, as one picture; no download")
    demo.add_argument("-o", "--output", type=Path, default=Path("rethink-demo.png"))
    demo.add_argument("--seed", type=int, default=0)
    demo.set_defaults(run=run_demo)
    _add_edit(commands)
    add_commands(commands)
    bench = commands.add_parser("bench", help="measure against ground truth")
    bench.add_argument("what", choices=("tiny",), help="tiny: the built-in editor by the exact oracle")
    bench.add_argument("--cases", type=int, default=400, help="tasks a row of the table (default 400)")
    bench.set_defaults(run=run_bench)
    return parser


def _add_edit(commands) -> None:
    edit = commands.add_parser(
        "edit", help="edit a picture", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    edit.add_argument("image", type=Path)
    edit.add_argument("instruction", nargs="+", help="what to change; several only with --chain")
    edit.add_argument("-o", "--output", type=Path, help="default: IMAGE-edited.png; several pictures get -1, -2, …")
    edit.add_argument("--editor", default="built-in", help="built-in, a diffusers folder, or a .safetensors file")
    edit.add_argument("--chain", action="store_true", help="apply the instructions one after another, keep every step")
    edit.add_argument("--seed", type=int, default=0)
    edit.add_argument("--variations", type=int, default=1, help="this many seeds as one batch")
    edit.add_argument("--steps", type=int, default=0, help="0: the editor's own")
    edit.add_argument("--sampler", default="default")
    edit.add_argument("--text-guidance", type=float, default=0.0, help="how closely the text is followed; 0: the editor's own")
    edit.add_argument("--image-guidance", type=float, default=0.0, help="how closely the source is kept; 0: the editor's own")
    edit.add_argument("--randomize-guidance", action="store_true", help="both guidances ± 20%%, by seed")
    edit.add_argument("--strength", type=float, default=0.0, help="SDEdit only: share of the noise schedule")
    edit.add_argument("--negative", default="", help="what to keep away from")
    edit.add_argument("--mask", type=Path, help="picture; white may change")
    edit.add_argument("--dtype", default="auto", choices=("auto", "fp32", "fp16", "bf16"))
    edit.add_argument("--device", default="cpu")
    edit.add_argument("--offload", default="none", choices=("none", "model", "sequential"))
    edit.add_argument("--tokenizer", type=Path, help="folder of the CLIP tokenizer, for single files")
    edit.set_defaults(run=run_edit)


def run_edit(options) -> int:
    from .images import load_image, save_image

    if len(options.instruction) > 1 and not options.chain:
        raise RethinkError("Several instructions were given: add --chain to apply them one after another.")
    if options.variations < 1:
        raise RethinkError(f"--variations must be at least 1, not {options.variations}.")
    image = load_image(options.image)
    editor = _load(options)
    mask = load_image(options.mask)[..., 0] if options.mask else None
    target = options.output or options.image.with_name(f"{options.image.stem}-edited.png")
    started, results = time.monotonic(), []
    for index, instruction in enumerate(options.instruction):
        first = options.seed + index
        seeds = list(range(first, first + options.variations))
        prepared = editor.prepare(image)
        texts = [instruction] * len(seeds)
        done = editor.edit(prepared, texts, seeds, _settings(options), mask=mask, on_step=_progress)
        results.append(done)
        image = done[:1]
    pictures = [picture[None] for done in results for picture in done]
    for number, picture in enumerate(pictures, 1):
        path = target if len(pictures) == 1 else target.with_name(f"{target.stem}-{number}{target.suffix}")
        save_image(picture, path)
        print(path)
    print(f"{time.monotonic() - started:.1f} s", file=sys.stderr)
    return 0


def _settings(options):
    from .editors.protocol import Settings

    names = ("steps", "sampler", "text_guidance", "image_guidance", "strength", "negative", "randomize_guidance")
    return Settings(**{name: getattr(options, name) for name in names})


def _load(options):
    from .editors.loading import load_editor
    from .tiny import EDITOR_FOLDER

    path = EDITOR_FOLDER if options.editor == "built-in" else Path(options.editor)
    return load_editor(
        path, dtype=options.dtype, device=options.device, offload=options.offload, tokenizer=options.tokenizer
    )


def _progress(step: int, total: int, preview) -> None:
    if sys.stderr.isatty():
        print(f"\rstep {step}/{total}", end="\n" if step == total else "", file=sys.stderr, flush=True)


def run_demo(options) -> int:
    from .tiny.demo import make_demo

    make_demo(options.output, options.seed)
    print(f"Source, instruction and result of every edit: {options.output.resolve()}")
    return 0


def run_bench(options) -> int:
    from .tiny.bench import run

    return run(options.cases)


if __name__ == "__main__":
    sys.exit(main())
