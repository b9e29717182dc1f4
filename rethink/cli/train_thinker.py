"""`rethink train-thinker`: train a thinker on recorded runs, by supervised or reinforcement learning."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import RethinkError
from ..options import Option, options_of
from .arguments import add_command, placeholder
from .collect import read_template
from .edit import EXIT_CODES
from .editor_options import BUILT_IN, EDITORS, add_device, add_loading_options, open_editor
from .pair_options import add_thinker, open_thinker_from
from .progress import print_result

METHODS = {"sft": "supervised learning (SFT)", "grpo": "reinforcement learning (GRPO)"}
EXAMPLES = """examples:
  python -m rethink train-thinker Qwen3-VL-8B-Instruct runs -o my-thinker --lora-rank 64
  python -m rethink collect runs -o my-data
  python -m rethink train-thinker my-thinker my-data -o my-better-thinker --method grpo --editor models/diffusers/flux-kontext \\
      --editor-steps 8 --judge http://127.0.0.1:8000/v1 --model qwen3-vl --lora-rank 64 --device cuda
  python -m rethink train-thinker my-thinker my-data -o my-better-thinker --method grpo --device cuda \\
      --editor http://127.0.0.1:8000/v1 --editor-model qwen-image-edit --judge http://127.0.0.1:8001/v1 --model qwen3-vl
  python -m rethink train-thinker built-in my-data -o better --method grpo --editor built-in --judge models/LLM/EditThinker-8B

Supervised learning teaches the answers of good runs. In reinforcement learning, the thinker writes its own answers: the editor carries
out its prompts, and an independent judge scores the result against the source and the user's instruction. --preset paper and --preset
code are the rewards of EditThinker's paper and of its released code, which differ. Every checkpoint is measured on held-out tasks, and
the best one is kept. One line per step shows the progress; OUTPUT-checkpoints/…/report.html has a table of checkpoints and sample answers.

Several GPUs: accelerate launch --num_processes 2 -m rethink train-thinker … --device cuda
An interrupted run resumes when it is started again; a finished one continues with more epochs, minutes or steps. Other data or another
thinker starts a new training, whose checkpoints get their own folder; delete OUTPUT-checkpoints when you are done.
Needs `pip install "trl>=1.6"`; --lora-rank needs peft, --vllm vllm.
"""


def add_train_thinker_command(commands) -> None:
    """Add `train-thinker` to the subparsers of `rethink`."""
    about = "train a thinker on recorded runs, by supervised or reinforcement learning"
    parser = add_command(commands, "train-thinker", about, run_train_thinker)
    parser.epilog = EXAMPLES + EXIT_CODES
    parser.add_argument(
        "policy",
        metavar="thinker",
        help="transformers folder to start from, for example Qwen3-VL-8B-Instruct, or built-in",
    )
    parser.add_argument(
        "data",
        type=Path,
        nargs="+",
        help="folders with recorded runs, in them or in their subfolders, or datasets of `collect` in the trl layout",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="the trained thinker")
    parser.add_argument("--method", choices=tuple(METHODS), default="sft", help="training method. Default: sft")
    parser.add_argument(
        "--template", type=Path, help="text file with the critique template that it will be prompted with"
    )
    for name, found in _options().items():
        _add_option(parser, name, found)
    add_loading_options(parser, None, f"grpo: the editor that carries out its prompts: {EDITORS}")
    add_thinker(parser, "grpo: scores the results; use a model other than the thinker: ", "--judge")
    add_device(parser)


def _options() -> dict[str, dict[str, Option]]:
    """{name: {method: the option}} of all options of both methods."""
    found: dict[str, dict[str, Option]] = {}
    for method, config in _configs().items():
        for part in config:
            for each in options_of(part):
                found.setdefault(each.name, {})[method] = each
    return found


def _configs() -> dict[str, tuple[type, ...]]:
    from ..training.thinker_rewards import RewardRules
    from ..training.thinker_settings import GRPOConfig, SFTConfig

    return {"sft": (SFTConfig,), "grpo": (GRPOConfig, RewardRules)}


def _add_option(parser: argparse.ArgumentParser, name: str, by_method: dict[str, Option]) -> None:
    """Add an option without a default of its own; the method's default applies."""
    first = next(iter(by_method.values()))
    helps = {method: each.help for method, each in by_method.items()}
    is_shared = len(helps) > 1 and len(set(helps.values())) == 1
    text = first.help if is_shared else " ".join(f"{method}: {help}" for method, help in helps.items())
    defaults = {method: each.default for method, each in by_method.items()}
    values = list(dict.fromkeys(map(str, defaults.values())))
    shown = values[0] if len(values) == 1 else ", ".join(f"{value} ({method})" for method, value in defaults.items())
    help = (f"{text} Default: {shown}" if shown else text).replace("%", "%%")
    kind: dict[str, Any] = {"type": type(first.default)}
    if isinstance(first.default, bool):
        kind = {"action": argparse.BooleanOptionalAction}
    elif first.choices:
        kind["choices"] = first.choices
    else:
        kind["metavar"] = placeholder(first)
    parser.add_argument(f"--{name.replace('_', '-')}", dest=f"train_{name}", default=None, help=help, **kind)


def run_train_thinker(options: argparse.Namespace) -> int:
    """Train as the arguments say; → the exit status."""
    from ..builtin import THINKER_FOLDER

    thinker = THINKER_FOLDER if options.policy == BUILT_IN else Path(options.policy).absolute()
    data = tuple(folder.absolute() for folder in options.data)
    shared = {"thinker": thinker, "data": data, "output": options.output.absolute()}
    shared["template"] = read_template(options.template)
    (_run_sft if options.method == "sft" else _run_grpo)(options, shared, _values(options))
    return 0


def _values(options: argparse.Namespace) -> dict[str, Any]:
    """The chosen options of the method. Raises RethinkError for an option of the other method."""
    chosen = {}
    for name, by_method in _options().items():
        value = getattr(options, f"train_{name}")
        if value is None:
            continue
        if options.method not in by_method:
            (other,) = by_method
            raise RethinkError(
                f"--{name.replace('_', '-')}: works only with --method {other}; leave it out, or choose that method."
            )
        chosen[name] = value
    return chosen


def _run_sft(options: argparse.Namespace, shared: dict[str, Any], values: dict[str, Any]) -> None:
    from ..training.process_group import is_first_process
    from ..training.thinker_settings import SFTConfig
    from ..training.thinker_sft import SFTJob

    for flag, value in (("--editor", options.editor), ("--judge", options.thinker)):
        if value:
            raise RethinkError(f"{flag}: works only with --method grpo; leave it out, or choose that method.")
    report = SFTJob(config=SFTConfig(**values), **shared).run(_print)
    if is_first_process():
        print_result(str(report))


def _run_grpo(options: argparse.Namespace, shared: dict[str, Any], values: dict[str, Any]) -> None:
    from ..training.process_group import join_processes
    from ..training.thinker_grpo_job import GRPOJob
    from ..training.thinker_rewards import RewardRules
    from ..training.thinker_settings import GRPOConfig

    rules = {each.name: values.pop(each.name) for each in options_of(RewardRules) if each.name in values}
    config = GRPOConfig(**values, reward=RewardRules(**rules))
    job = GRPOJob(config=config, **shared)
    if not options.editor:
        raise RethinkError(f"--editor: is missing; grpo carries out prompts with one; give one: {EDITORS}.")
    judge = open_thinker_from(options)
    if judge is None:
        raise RethinkError(
            "--judge: is missing; grpo needs one, preferably a model other than the thinker; give a folder or a server (…/v1)."
        )
    processes = join_processes(options.device)
    report = job.run(open_editor(options), judge, _print, processes)
    if processes.is_main:
        print_result(str(report))


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
