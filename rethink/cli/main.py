"""The command line: `python -m rethink demo | edit | think | synthesize | … | bench`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from ..errors import RethinkError
from .pairs import add_commands, find_typed, with_config

EXAMPLES = """examples:
  python -m rethink demo
  python -m rethink edit photo.png "make it winter" --editor models/diffusers/instruct-pix2pix -o winter.png
  python -m rethink edit photo.png "make it winter" --editor ... --seed 7 --variations 4 --randomize-guidance
  python -m rethink edit photo.png "make it winter" "add a fox" --editor ... --chain
  python -m rethink think photo.png "make it winter" --editor ... --thinker models/Qwen3-VL-8B-Instruct -o run
  python -m rethink think photo.png "make it winter" --editor ... --thinker ... -o winter.html
  python -m rethink think photo.png "make it winter" --editor ... --thinker http://127.0.0.1:8000/v1 --model qwen3-vl
  python -m rethink bench tiny --cases 400

exit codes: 0 done, 1 failed, 2 wrong use (one sentence says what), 130 interrupted"""


INTERRUPTED = 130

# What the libraries say while they load is for their developers; what goes wrong is said by us.
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error", "TQDM_DISABLE": "1"}


def main(arguments: list[str] | None = None) -> int:
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # into a file, Windows writes neither → nor every name
    try:
        arguments = sys.argv[1:] if arguments is None else arguments
        options = make_parser().parse_args(with_config(arguments))
        options.typed = find_typed(arguments)
        code = options.run(options)
        sys.stdout.flush()
        return code
    except RethinkError as error:
        _complain(error)
        return 2
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read us has seen enough, as `head` does
        _leave_stdout()
        return 0
    except OSError as error:  # a disk that is full or gone, where nothing nearer to it has a sentence for that
        _leave_stdout()
        _complain(f"{error.filename or 'the output'} cannot be read or written: {error.strerror or error}.")
        return 1


def _leave_stdout() -> None:
    """Nothing more is written there, not even what is left in Python's buffer when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(why) -> None:
    over = "\r\x1b[K" if sys.stderr.isatty() else ""  # the line of progress
    print(f"{over}rethink: {why}", file=sys.stderr)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rethink",
        description="Edit images by written instruction, and think while doing so.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="a thinking run of the built-in models, as a web page; no download")
    demo.add_argument("-o", "--output", type=Path, default=Path("rethink-demo.html"))
    demo.add_argument("--seed", type=int, default=0, help="another one")
    demo.set_defaults(run=run_demo)
    _add_edit(commands)
    _add_think(commands)
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
    edit.add_argument(
        "-o",
        "--output",
        type=Path,
        help="default: IMAGE-edited.png; the ending says the format; several pictures get -1, -2, …",
    )
    edit.add_argument("--chain", action="store_true", help="apply the instructions one after another, keep every step")
    edit.add_argument("--variations", type=int, default=1, help="this many seeds as one batch")
    _add_editor_options(edit)
    edit.set_defaults(run=run_edit)


def _add_think(commands) -> None:
    think = commands.add_parser(
        "think",
        help="edit, criticize, rewrite the prompt, edit again",
        description="Writes a trajectory folder: trajectory.json, the source, and a picture a step.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    think.add_argument("image", type=Path)
    think.add_argument("instruction")
    think.add_argument(
        "-o",
        "--output",
        type=Path,
        help="folder of the trajectory; default: IMAGE-thinking. X.html: folder X, and all of it as one page",
    )
    think.add_argument("--resume", action="store_true", help="go on with the run in the folder where it was cut off")
    for who, note in (("thinker", "criticizes and rewrites"), ("judge", "scores in the thinker's place; optional")):
        think.add_argument(
            f"--{who}",
            default="built-in" if who == "thinker" else None,
            help=f"built-in, a transformers folder, or a server's address; {note}",
        )
        prefix = "--" if who == "thinker" else "--judge-"
        think.add_argument(f"{prefix}model", dest=f"{who}_model", default="", help="the model's name on the server")
        think.add_argument(
            f"{prefix}key-variable",
            dest=f"{who}_key",
            default="",
            help="NAME of the environment variable with its key, which is sent to that address alone",
        )
    think.add_argument("--template", type=Path, help="text file with the thinker's own wording of the critique")
    think.add_argument("--max-tokens", type=int, default=2048, help="of an answer")
    think.add_argument("--temperature", type=float, default=0.0, help="of the thinker")
    think.add_argument("--turns", type=int, default=5)
    think.add_argument("--candidates", type=int, default=1, help="seeds a turn, as one batch; the best goes on")
    think.add_argument("--accept", type=float, nargs=2, default=(8.0, 8.0), metavar=("SEMANTIC", "QUALITY"))
    think.add_argument(
        "--patience", type=int, default=0, help="stop after this many turns without a better score; 0: never"
    )
    think.add_argument("--start", default="instruction", choices=("instruction", "polished"))
    think.add_argument("--base", default="source", choices=("source", "previous"), help="what every turn edits")
    think.add_argument("--checklist", action="store_true", help="split the instruction into demands, verify each")
    think.add_argument("--preserve", type=float, default=0.5, help="points off for a picture that has changed all over")
    _add_editor_options(think)
    think.set_defaults(run=run_think)


def _add_editor_options(edit) -> None:
    edit.add_argument("--editor", default="built-in", help="built-in, a diffusers folder, or a .safetensors file")
    edit.add_argument("--seed", type=int, default=0)
    edit.add_argument("--steps", type=int, default=0, help="0: the editor's own")
    edit.add_argument("--sampler", default="default")
    edit.add_argument(
        "--text-guidance", type=float, default=0.0, help="how closely the text is followed; 0: the editor's own"
    )
    edit.add_argument(
        "--image-guidance", type=float, default=0.0, help="how closely the source is kept; 0: the editor's own"
    )
    edit.add_argument("--randomize-guidance", action="store_true", help="both guidances ± 20%%, by seed")
    edit.add_argument("--strength", type=float, default=0.0, help="SDEdit only: share of the noise schedule")
    edit.add_argument("--negative", default="", help="what to keep away from")
    edit.add_argument("--mask", type=Path, help="picture; white may change, or in a cut-out what is opaque")
    edit.add_argument("--dtype", default="auto", choices=("auto", "fp32", "fp16", "bf16"))
    edit.add_argument("--device", default="cpu")
    edit.add_argument("--offload", default="none", choices=("none", "model", "sequential"))
    edit.add_argument("--tokenizer", type=Path, help="folder of the CLIP tokenizer, for single files")


def run_edit(options) -> int:
    from ..images import check_image_target, load_image, save_image

    if len(options.instruction) > 1 and not options.chain:
        raise RethinkError("Several instructions were given: add --chain to apply them one after another.")
    if options.variations < 1:
        raise RethinkError(f"--variations must be at least 1, not {options.variations}.")
    image = load_image(options.image)
    _print_warning("editor", options.editor, image)
    mask = _mask(options, image)
    target = options.output or options.image.with_name(f"{options.image.stem}-edited.png")
    count = len(options.instruction) * options.variations
    check_image_target(target, *image.shape[1:3], "-o")
    paths = [target]
    if count > 1:
        paths = [target.with_name(f"{target.stem}-{number}{target.suffix}") for number in range(1, count + 1)]
        for path in paths:
            check_image_target(path, *image.shape[1:3], "-o")
    editor = _load(options)
    started, results = time.monotonic(), []
    for index, instruction in enumerate(options.instruction):
        first = options.seed + index
        seeds = list(range(first, first + options.variations))
        prepared = editor.prepare(image)
        texts = [instruction] * len(seeds)
        done = editor.edit(prepared, texts, seeds, _settings(options), mask=mask, on_step=_progress)
        results.append(done)
        image = done[:1]
    for path, picture in zip(paths, (picture for done in results for picture in done), strict=True):
        save_image(picture, path)
        print(path)
    print(f"{time.monotonic() - started:.1f} s", file=sys.stderr)
    return 0


def run_think(options) -> int:
    from ..atomic import check_target
    from ..images import load_image
    from ..think_loop import LoopConfig, require_same_run, run_config, think_while_edit, validate_source
    from ..trajectory import check_new_folder, load_trajectory, new_trajectory, record_run, writing
    from ..trajectory_html import write_html

    image = load_image(options.image)
    mask = _mask(options, image)
    target = options.output or options.image.with_name(f"{options.image.stem}-thinking")
    page = target if target.suffix.lower() == ".html" else None
    folder = target.with_suffix("") if page else target
    if page:
        check_target(page, "-o")
    if not options.resume:
        check_new_folder(folder)
    for kind, model in (("editor", options.editor), ("thinker", options.thinker)):
        _print_warning(kind, model, image)
    names = ("turns", "candidates", "accept", "patience", "start", "base", "checklist", "preserve", "seed")
    rules = {name: getattr(options, name) for name in names}
    settings, editor = _settings(options), _load(options)
    thinker = _thinker(options, options.thinker, options.thinker_model, options.thinker_key, options.template)
    judge = _thinker(options, options.judge, options.judge_model, options.judge_key) if options.judge else None
    how = run_config(LoopConfig(**rules), settings, editor.name, thinker, judge, mask)
    if options.resume:
        load_trajectory(folder)  # there is one
    else:
        new_trajectory(folder, validate_source(image, options.instruction), options.instruction, how)
    with writing(folder):
        trajectory, done = load_trajectory(folder), ()
        if options.resume:
            require_same_run(trajectory, image, options.instruction, how)
            trajectory, done = trajectory.save_options(how).rewind_to_resume(options.candidates)
        run = think_while_edit(
            editor,
            thinker,
            image,
            options.instruction,
            settings=settings,
            mask=mask,
            judge=judge,
            done=done,
            on_step=_progress,
            on_edits=trajectory.save_edits,
            **rules,
        )
        for latest in record_run(trajectory, run):
            trajectory = latest
            _tell(trajectory)
    try:
        trajectory.check_judged()
    except RethinkError as error:
        _complain(error)
    else:
        if trajectory.message:
            _complain(trajectory.message)
        if not trajectory.best_judged:
            _complain("the result was not judged: the thinker's answers hold no scores")
        if (best := folder / trajectory.steps[trajectory.best].file).is_file():
            print(best)
    if page and not trajectory.is_unwritten:
        write_html(trajectory, page)
        print(page)
    return 1 if trajectory.stopped == "failed" else 0


def _mask(options, image):
    """The mask that was given, if it selects anything; None without one."""
    from ..images import as_edit_mask, load_mask

    mask = load_mask(options.mask, "--mask") if options.mask else None
    as_edit_mask(mask, image, "--mask")
    return mask


def _tell(trajectory) -> None:
    """A line for the step that was just made."""
    if trajectory.stopped:
        return
    step = trajectory.steps[-1]
    verdict = step.judge or step.critique
    scores = "no score" if verdict.semantic is None else f"{verdict.semantic:g} / {verdict.quality:g}"
    print(f"turn {step.turn}  {scores:>9}  {step.prompt}" + (f"  ({verdict.note})" if verdict.note else ""), flush=True)


def _thinker(options, where: str, model: str, key_variable: str, template: Path | None = None):
    """A Thinker from a transformers folder or a server's address."""
    from ..thinkers.critique import TEMPLATE, Thinker

    if where.startswith(("http://", "https://")):
        from ..thinkers.openai_chat import open_typed_chat

        chat = open_typed_chat(where, model, key_variable)
    else:
        from ..builtin import THINKER_FOLDER
        from ..thinkers.loading import load_thinker

        path = THINKER_FOLDER if where == "built-in" else where
        chat = load_thinker(path, dtype=options.dtype, device=options.device)
    try:
        wording = template.read_text(encoding="utf-8") if template else TEMPLATE
    except (OSError, ValueError) as error:
        raise RethinkError(f"--template: {template} cannot be read: {error}") from error
    return Thinker(chat, wording, options.max_tokens, options.temperature)


def _settings(options):
    from ..editors.protocol import Settings

    names = ("steps", "sampler", "text_guidance", "image_guidance", "strength", "negative", "randomize_guidance")
    return Settings(**{name: getattr(options, name) for name in names})


def _load(options):
    from ..builtin import EDITOR_FOLDER
    from ..editors.loading import load_editor

    path = EDITOR_FOLDER if options.editor == "built-in" else Path(options.editor)
    return load_editor(
        path, dtype=options.dtype, device=options.device, offload=options.offload, tokenizer=options.tokenizer
    )


def _print_warning(kind: str, model: str, image) -> None:
    """Say so where a built-in model does not know such pictures."""
    if model == "built-in":
        from ..tiny.strangers import warn_of_strangers

        if warning := warn_of_strangers(kind, image):
            print(f"rethink: {warning}", file=sys.stderr)


def _progress(step: int, total: int, preview) -> None:
    if sys.stderr.isatty():
        print(f"\rstep {step}/{total}", end="\n" if step == total else "", file=sys.stderr, flush=True)


def run_demo(options) -> int:
    from ..atomic import check_target
    from ..tiny.demo import make_demo

    check_target(options.output, "-o")
    found = make_demo(options.output, options.seed, _tell)
    print("The oracle says: " + ("done, and all else kept." if found.success else "not quite; try another --seed."))
    print(f"The whole run, to look at: {options.output.resolve().as_uri()}")
    return 0


def run_bench(options) -> int:
    from ..tiny.benchmark import run

    return run(options.cases)


def run_command_line() -> None:
    """The process: runs `main` and ends with its exit status."""
    code = main()
    if code == INTERRUPTED:  # at once: what is left is to take torch apart, which takes seconds
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)
