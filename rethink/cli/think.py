"""`rethink think`: a thinking run in a folder, new or resumed."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RethinkError, reason_of
from ..options import options_of
from ..progress import format_count
from ..think_loop import LoopConfig
from ..thinkers.loading import ThinkerConfig
from .arguments import add_field
from .edit import (
    EXIT_CODES,
    add_editor_options,
    load_edit_mask,
    settings_from,
    show_step,
    warn_of_strangers,
)
from .editor_options import open_editor
from .progress import complain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ..comparison.tasks import CompareTask
    from ..editors.protocol import Editor
    from ..editors.settings import Settings
    from ..steering import Steering
    from ..steps import Comparison, Continue, Step
    from ..think_job import ThinkJob
    from ..thinkers.critique import Thinker
    from ..trajectory import Trajectory

EXAMPLES = """examples:
  python -m rethink think photo.png "make it winter" --editor ... --thinker models/Qwen3-VL-8B-Instruct -o run
  python -m rethink think photo.png "make it winter" --editor ... --thinker ... -o winter.html
  python -m rethink think photos --editor ... --thinker ... -o runs
  python -m rethink think photo.png "make it winter" --editor ... --thinker http://127.0.0.1:8000/v1 --model qwen3-vl
  python -m rethink think photo.png "make it winter" --editor ... --thinker ... --pause --steer orders.txt

In a folder of images, each image, such as beach.jpg, needs a text file, beach.txt, that says what to change. Every image becomes a
run in the folder of -o; after an interruption, the same command resumes. `collect`, `collect-pairs` and `compare-runs` take that folder.

steering: each line in the file of --steer is a command; one prompt, accept or stop is taken after every turn.
  prompt THE NEXT PROMPT     use this prompt for the next turn
  accept                     end the run with the best edit so far; accept 2: with the best of turn 2; accept 2.1: with its
                             candidate 1 (counted from 0)
  stop                       end the run
  hold, go_on                wait before the next turn, or continue
"""

# The options of a thinker: those whose flag is their plain name, and those whose flag says whose they are, as all of the judge's do.
_SHORT = ("model", "key_variable", "max_tokens", "temperature")
_LONG = ("dtype", "device", "quantization", "timeout", "retries", "concurrency")
_CONFIG_FIELDS = tuple(each.name for each in options_of(LoopConfig))  # all but the two scores of `accept`
NO_DEFAULTS: Mapping[str, str] = {}
_TWIN = {"max_tokens": "--max-tokens", "temperature": "--temperature", "dtype": "--dtype", "device": "--device"}


def add_think_command(commands) -> None:
    """Add `think` to the subparsers of `rethink`."""
    parser = commands.add_parser(
        "think",
        help="edit, critique, rewrite the prompt, edit again",
        description="Writes a trajectory folder: trajectory.json, the source, and one image per step.",
        epilog=EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "image", type=Path, help="an image, or a folder of images, each with a text file of the same name"
    )
    parser.add_argument("instruction", nargs="?", help="what to change; leave it out for a folder")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="folder of the trajectory, or of all trajectories of a folder; default: IMAGE-thinking. X.html writes folder X, and one "
        "page that shows the run",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume the interrupted run in the folder; runs over a folder of images always resume",
    )
    parser.add_argument(
        "--steer", type=Path, metavar="FILE", help="text file of commands, read between turns; see below"
    )
    parser.add_argument(
        "--pause", action="store_true", help="wait after every turn for a command in the file of --steer"
    )
    add_loop_options(parser)
    add_thinker_options(parser, "thinker", "critiques and rewrites")
    add_thinker_options(parser, "judge", "scores instead of the thinker; optional")
    add_editor_options(parser)
    parser.set_defaults(run=run_think)


def add_loop_options(parser: argparse.ArgumentParser) -> None:
    """How a run goes: what `config_from` reads."""
    for name in _CONFIG_FIELDS:
        add_field(parser, LoopConfig, name)
    parser.add_argument(
        "--accept",
        type=float,
        nargs=2,
        default=LoopConfig().accept,
        metavar=("SEMANTIC", "QUALITY"),
        help="accept an edit when both scores reach these. Default: 8 8",
    )


def add_thinker_options(
    parser: argparse.ArgumentParser,
    who: str,
    role: str,
    defaults: Mapping[str, str] = NO_DEFAULTS,
    critiques: bool = True,
) -> None:
    """Add --thinker and its options, or --judge and its options, which default to the thinker's.

    defaults: text that names other defaults of the judge's options. critiques: whether it is asked for critiques, which can
    use another template.
    """
    group = parser.add_argument_group(who, role)
    is_judge = who == "judge"
    where = f"built-in, a transformers folder, or a server's address; {role}"
    group.add_argument(f"--{who}", default=None if is_judge else ThinkerConfig().where, metavar="THINKER", help=where)
    for name in (*_SHORT, *_LONG):
        own = name in _SHORT
        flag = f"--{'' if own and not is_judge else who + '-'}{name.replace('_', '-')}"
        other = _TWIN.get(name) if is_judge or not own else None  # the option it defaults to
        shared = {"default": None, "help": f"default: {defaults.get(name, f'as {other}')}"} if other else {}
        add_field(group, ThinkerConfig, name, flag, dest=f"{who}_{name}", **shared)
    if critiques:
        group.add_argument(
            "--judge-template" if is_judge else "--template",
            dest=f"{who}_template",
            type=Path,
            help=f"text file with the {who}'s own critique template",
        )


def run_think(options: argparse.Namespace) -> int:
    """Think as the arguments say; → the exit status."""
    if options.pause and not options.steer:
        raise RethinkError("--pause needs --steer: the file that says how to continue.")
    if options.instruction is None:
        return _think_over_folder(options)
    if options.image.is_dir():
        raise RethinkError(
            "instruction: leave it out for a folder, where a text file next to each image says what to change."
        )
    return _think_once(options)


def _think_once(options: argparse.Namespace) -> int:
    from ..atomic import check_target
    from ..images import load_image
    from ..trajectory import check_new_folder, load_trajectory
    from ..trajectory_html import write_html

    image = load_image(options.image)
    mask = load_edit_mask(options, image)
    target = options.output or options.image.with_name(f"{options.image.stem}-thinking")
    page = target if target.suffix.lower() == ".html" else None
    folder = target.with_suffix("") if page else target
    if page:
        check_target(page, "-o")
    if options.resume:
        load_trajectory(folder)  # raises if there is none
    else:
        check_new_folder(folder)
    _warn_of_strangers(options, image)
    trajectory = _run(_open_models(options).job(image, options.instruction, mask), folder, options.resume, options)
    _report_end(trajectory)
    if page and not trajectory.is_unwritten:
        write_html(trajectory, page)
        print(page)
    return 1 if trajectory.stopped == "failed" else 0


def _think_over_folder(options: argparse.Namespace) -> int:
    """Run every image of a folder, each in a folder named after the image. Interrupted runs resume."""
    from ..atomic import check_target
    from ..comparison.tasks import tasks_from_folder
    from ..text_files import one_line
    from ..thinkers.asking import FailureStreak
    from ..trajectory import RECORD_FILE

    place = Path(os.path.abspath(options.image))  # “.” has no name
    home = options.output or place.with_name(f"{place.name}-thinking")
    if not options.image.exists():
        raise RethinkError(f"image: {options.image} does not exist; give an image, or a folder of them.")
    if not options.image.is_dir():
        raise RethinkError("instruction: say what to change; only a folder takes its instructions from text files.")
    for flag, value in (("--mask", options.mask), ("--steer", options.steer)):
        if value:
            raise RethinkError(f"{flag}: is for one image with its instruction; leave it out for a folder.")
    if home.suffix.lower() == ".html":
        raise RethinkError(f"-o: a page shows one run, but these are several; give a folder instead of {home}.")
    tasks = tasks_from_folder(options.image)
    check_target(home / RECORD_FILE, "-o")
    folders = [home / name for name in _folder_names(tasks)]
    models, failed, streak = _open_models(options), 0, FailureStreak()
    for number, (task, folder) in enumerate(zip(tasks, folders, strict=True), 1):
        print(f"{number} of {len(tasks)}: {task.name}: {one_line(task.instruction)}", flush=True)
        image, resume = task.load(), (folder / RECORD_FILE).is_file()
        _warn_of_strangers(options, image)
        trajectory = _run(models.job(image, task.instruction), folder, resume, options)
        _report_end(trajectory)
        failed += trajectory.stopped == "failed"
        streak.record(trajectory.stopped == "failed", trajectory.message)
    print(
        f"{format_count(len(tasks), 'run')} → {home}"
        + (f"; {failed} failed; run this again to resume" if failed else "")
    )
    return 1 if failed else 0


def _folder_names(tasks: Sequence[CompareTask]) -> list[str]:
    """A folder name for the run of every image file: without the extension unless two would be the same; the task's id if they are
    the same even with it, as with long names that begin alike."""
    from ..names import make_portable

    stems = [make_portable(Path(task.name).stem, task.id) for task in tasks]
    names = _replace_doubles(stems, [make_portable(task.name, task.id) for task in tasks])
    return _replace_doubles(names, [task.id for task in tasks])


def _replace_doubles(names: Sequence[str], others: Sequence[str]) -> list[str]:
    counts = Counter(map(str.casefold, names))
    return [other if counts[name.casefold()] > 1 else name for name, other in zip(names, others, strict=True)]


@dataclass(frozen=True, eq=False)
class _Models:
    """The models and settings of the runs."""

    editor: Editor
    thinker: Thinker
    judge: Thinker | None
    config: LoopConfig
    settings: Settings

    def job(self, image: Tensor, instruction: str, mask: Tensor | None = None) -> ThinkJob:
        from ..think_job import ThinkJob
        from ..think_loop import ThinkTask

        task = ThinkTask(image, instruction, self.thinker, self.judge, mask, self.config)
        return ThinkJob(task, self.editor, self.settings)


def _open_models(options: argparse.Namespace) -> _Models:
    from ..think_loop import warn_of_no_boxes

    config = config_from(options)
    editor, thinker = open_editor(options), open_thinker_of(options, "thinker")
    judge = open_thinker_of(options, "judge") if options.judge else None
    if warning := warn_of_no_boxes(thinker, config):
        complain(warning)
    return _Models(editor, thinker, judge, config, settings_from(options))


def _warn_of_strangers(options: argparse.Namespace, image: Tensor) -> None:
    for kind, model in (("editor", options.editor), ("thinker", options.thinker)):
        warn_of_strangers(kind, model, image)


def _run(job: ThinkJob, folder: Path, resume: bool, options: argparse.Namespace) -> Trajectory:
    """Run in a folder, new or resumed, to the end."""
    from ..think_job import resume_run, start_run
    from ..think_loop import RunCallbacks

    with (resume_run if resume else start_run)(folder, job.task, job.options) as run:
        reporter = _Reporter(run.trajectory)
        steering = _file_steering(options, reporter) if options.steer else None
        callbacks = RunCallbacks(steer=steering.steer if steering else None, on_step=show_step)
        return job.run(run, reporter.show, callbacks)


def config_from(options: argparse.Namespace) -> LoopConfig:
    """How the run goes."""
    return LoopConfig(accept=tuple(options.accept), **{name: getattr(options, name) for name in _CONFIG_FIELDS})


def open_thinker_of(options: argparse.Namespace, who: str) -> Thinker:
    """The thinker or the judge of the arguments, opened."""
    from ..thinkers.loading import open_thinker, typed_trust

    config = thinker_config_from(options, who)
    return open_thinker(config, typed_trust(config), who)


def thinker_config_from(options: argparse.Namespace, who: str) -> ThinkerConfig:
    """Which thinker, or judge, and how it is asked."""
    values = {name: getattr(options, f"{who}_{name}") for name in (*_SHORT, *_LONG)}
    for name in ("max_tokens", "temperature"):
        values[name] = getattr(options, f"thinker_{name}") if values[name] is None else values[name]
    for name in ("dtype", "device"):
        values[name] = values[name] or getattr(options, name)
    path = getattr(options, f"{who}_template", None)  # the judge of a benchmark has none
    try:
        template = {"template": path.read_text(encoding="utf-8-sig")} if path else {}
    except (OSError, ValueError) as error:
        raise RethinkError(f"--template: {path} cannot be read: {reason_of(error)}") from error
    return ThinkerConfig(getattr(options, who), **values, **template)


class _Reporter:
    """Print one line per step, and keep the run so far."""

    def __init__(self, trajectory: Trajectory):
        self.trajectory = trajectory

    def show(self, trajectory: Trajectory) -> None:
        self.trajectory = trajectory
        print_step(trajectory)


def print_step(trajectory: Trajectory) -> None:
    """Print a line for the latest step; nothing at the end of a run."""
    if trajectory.stopped:
        return
    step = trajectory.steps[-1]
    verdict = step.judge or step.critique
    scores = "no score" if verdict.semantic is None else f"{verdict.semantic:.3g} / {verdict.quality:.3g}"
    spread = "" if verdict.spread is None else f" ± {verdict.spread:.1f}"
    compared = _describe_comparison(step.comparison) if step.comparison else ""
    notes = "".join(f"  ({note})" for note in (verdict.note, compared) if note)
    print(f"turn {step.turn}  {scores:>9}{spread}  {step.prompt}{notes}", flush=True)


def _describe_comparison(compared: Comparison) -> str:
    if not compared.kept:
        return f"compared with turn {compared.turn}; no answer: {compared.note}"
    winner = "this one" if compared.kept == "later" else f"turn {compared.turn}"
    return f"compared with turn {compared.turn}; {winner} is kept"


def _file_steering(options: argparse.Namespace, reporter: _Reporter) -> Steering:
    from ..steering import Steering, SteeringFile

    file = SteeringFile(options.steer, complain)

    def announce(steps: Sequence[Step], proposal: Continue, waits: bool, ends: str) -> None:
        if waits:
            why = f"the run would end ({ends}); " if ends else ""
            print(f"waiting for {options.steer}: {why}next prompt: {proposal.prompt}", file=sys.stderr, flush=True)

    steering = Steering(
        pause=options.pause,
        poll=lambda: file.poll(steering, reporter.trajectory.steps),
        on_decision=announce,
    )
    return steering


def _report_end(trajectory: Trajectory) -> None:
    """Print the best edit's path, or why there is none."""
    try:
        trajectory.check_judged()
    except RethinkError as error:
        complain(error)
        return
    if trajectory.message:
        complain(trajectory.message)
    if not trajectory.best_judged:
        complain("the result was not judged: the thinker's answers contain no scores")
    if trajectory.best is not None and (best := trajectory.folder / trajectory.steps[trajectory.best].file).is_file():
        print(best)
