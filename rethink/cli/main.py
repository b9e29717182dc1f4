"""The command line: `python -m rethink demo | edit | think | synthesize | … | train-lora | bench`."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path

from ..errors import RethinkError, reason_of
from .arguments import find_typed, with_config
from .bench import add_bench_command, add_report_command
from .collect import add_collect_commands
from .compare import add_compare_commands
from .curve import add_curve_command
from .edit import EXIT_CODES, add_edit_command
from .pairs import add_commands
from .progress import complain
from .score import add_score_command
from .think import add_think_command, print_step
from .train import add_train_command
from .train_editor import add_train_editor_command
from .train_thinker import add_train_thinker_command

EXAMPLES = """examples:
  python -m rethink demo
  python -m rethink edit photo.png "make it winter" --editor models/diffusers/instruct-pix2pix -o winter.png
  python -m rethink edit photo.png "make it winter" --editor ... --seed 7 --variations 4 --randomize-guidance
  python -m rethink edit photo.png "make it winter" "add a fox" --editor ... --chain
  python -m rethink think photo.png "make it winter" --editor ... --thinker models/Qwen3-VL-8B-Instruct -o run
  python -m rethink think photo.png "make it winter" --editor ... --thinker ... -o winter.html
  python -m rethink think photo.png "make it winter" --editor ... --thinker http://127.0.0.1:8000/v1 --model qwen3-vl
  python -m rethink compare photos -i "make it winter" --editor ... --editor ... -o results --serve
  python -m rethink bench tiny --cases 400
  python -m rethink bench gedit GEdit-Bench -o results/kontext --editor ... --judge ... --benchmark-code Step1X-Edit

"""


INTERRUPTED = 130
PACKAGE = Path(__file__).parents[1]


def main(arguments: list[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # redirected to a file, Windows can encode neither → nor every name
    try:
        arguments = sys.argv[1:] if arguments is None else arguments
        options = make_parser().parse_args(with_config(arguments))
        options.typed = find_typed(arguments)
        code = options.run(options)
        sys.stdout.flush()
        return code
    except RethinkError as error:
        complain(error)
        return 2
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        _leave_stdout()
        return 0
    except OSError as error:  # a full or missing disk that no code closer to it has reported
        _leave_stdout()
        complain(f"{error.filename or 'the output'} cannot be read or written: {reason_of(error)}.")
        return 1


def _show_warnings(message, category, filename, lineno, file=None, line=None) -> None:
    """Show our own warnings as sentences for the user, without the place in the code."""
    if PACKAGE in Path(filename).parents:
        complain(message)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


def _leave_stdout() -> None:
    """Write nothing more to stdout, not even what is left in Python's buffer at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rethink",
        description="Edit images by instruction, with a thinker that reviews each edit and rewrites the prompt.",
        epilog=EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="run the built-in models and write the run as a web page; no download")
    demo.add_argument(
        "-o", "--output", type=Path, default=Path("rethink-demo.html"), help="page to write; default: rethink-demo.html"
    )
    demo.add_argument("--seed", type=int, metavar="N", default=0, help="another seed shows another run")
    demo.set_defaults(run=run_demo)
    add_edit_command(commands)
    add_think_command(commands)
    add_commands(commands)
    add_collect_commands(commands)
    add_compare_commands(commands)
    add_train_command(commands)
    add_train_editor_command(commands)
    add_train_thinker_command(commands)
    add_score_command(commands)
    add_curve_command(commands)
    add_bench_command(commands)
    add_report_command(commands)
    return parser


def run_demo(options) -> int:
    from ..atomic import check_target
    from ..tiny.demo import make_demo

    check_target(options.output, "-o")
    found = make_demo(options.output, options.seed, print_step)
    print("The oracle says: " + ("done, and the rest was kept." if found.success else "not quite; try another --seed."))
    print(f"View the whole run: {options.output.resolve().as_uri()}")
    return 0


def run_command_line() -> None:
    """Run `main` and exit the process with its status."""
    warnings.showwarning = _show_warnings
    warnings.simplefilter("ignore", FutureWarning)  # meant for the developers of the libraries
    code = main()
    if code == INTERRUPTED:  # exit at once: tearing down torch takes seconds
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)
