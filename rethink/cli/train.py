"""`rethink train-lora`: a LoRA from a store of pairs."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RethinkError
from ..progress import ignore_progress
from ..text_files import show_name
from .arguments import add_command, add_field
from .edit import EXIT_CODES
from .editor_options import BUILT_IN, FILES, add_device, add_loading_options, open_editor
from .pair_options import add_thinker, open_thinker_from
from .progress import ProgressLine, print_result

if TYPE_CHECKING:
    from ..editors.protocol import Editor

EXAMPLES = """examples:
  python -m rethink train-lora my-pairs -o models/loras/no-squares.safetensors --editor models/diffusers/flux-kontext
  python -m rethink train-lora before --after after --instruction "remove the hat" -o no-hats.safetensors --editor ...
  python -m rethink train-lora my-pairs -o wide.safetensors --editor ... --rank 32 --steps 3000 --keep high
  python -m rethink edit photo.png "remove the black square" --editor ... --lora models/loras/no-squares.safetensors

Several GPUs share the batches of a step; what is learned is the same:
  accelerate launch --num_processes 2 -m rethink train-lora my-pairs -o wide.safetensors --device cuda --editor ...

A run that was cut off goes on when it is started again, to the same weights. All that it saves, with a report to look at,
lies in the folder of --folder.
"""

FIELDS = (
    *(
        "steps",
        "rank",
        "layers",
        "learning_rate",
        "optimizer",
        "batch",
        "accumulate",
        "keep",
        "replay",
        "keep_identity",
    ),
    *(
        "change_weight",
        "hold_outside",
        "dropout",
        "drop_instruction",
        "timesteps",
        "shift",
        "hold_out",
        "save_every",
        "previews",
        "preview_instruction",
        "megapixels",
        "text_encoder",
        "seed",
    ),
)


def add_train_command(commands) -> None:
    """Adds `train-lora` to the subparsers of `rethink`."""
    from ..training.lora_settings import LoraSettings

    parser = add_command(commands, "train-lora", "teach an editor an edit from pairs, as a LoRA", run_train_lora)
    parser.epilog = EXAMPLES + EXIT_CODES
    parser.add_argument(
        "store",
        type=Path,
        help="the pairs: a store, or a folder with “before” and “after” in it, one of NAME_start and NAME_end, or the dataset of "
        "another trainer",
    )
    parser.add_argument(
        "--after", type=Path, metavar="FOLDER", help="images after the edit; then STORE has those before"
    )
    parser.add_argument("--instruction", default="", help="of pairs that have none of their own")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .safetensors file")
    parser.add_argument(
        "--folder",
        type=Path,
        help="where saves, latents and reports are kept; default: OUTPUT-training beside the output",
    )
    parser.add_argument(
        "--keep-instructions",
        type=Path,
        metavar="FILE",
        help="text file with an instruction a line: other edits that must not be forgotten; default: common ones",
    )
    add_thinker(parser, "also scores the previews of every save: ")
    add_loading_options(parser, BUILT_IN, f"the model that learns: {FILES}")
    parser.add_argument(
        "--preview-editor",
        metavar="EDITOR",
        help="makes the previews in place of the editor that learns: the distilled version of a base, for example; on a card it "
        "waits in main memory and leaves it to training",
    )
    add_device(parser)
    for name in FIELDS:
        add_field(parser, LoraSettings, name)


def run_train_lora(options: argparse.Namespace) -> int:
    """Train as the arguments say; → the exit status."""
    from ..pairs.open_pairs import open_pairs
    from ..training.edit_lora_job import TrainEditLoraJob
    from ..training.lora_settings import LoraSettings
    from ..training.process_group import join_processes

    output = options.output.absolute()
    if output.suffix != ".safetensors":
        raise RethinkError(f"-o: {output.name} should end in .safetensors.")
    folder = (options.folder or output.with_name(f"{output.stem}-training")).absolute()
    chosen = {name: getattr(options, name) for name in FIELDS}
    skipped: list[tuple[str, str]] = []
    pairs = open_pairs(
        *(options.store.absolute(), folder / "pairs", options.after, options.instruction),
        on_skip=lambda *skip: skipped.append(skip),
    )
    if skipped:
        name, why = map(show_name, skipped[0])
        print(f"pairs: {len(skipped)} are left out; the first is {name}: {why}.", file=sys.stderr)
    job = TrainEditLoraJob(
        pairs,
        output,
        folder,
        LoraSettings(**chosen, keep_instructions=read_instructions(options.keep_instructions)),
        open_thinker_from(options),
    )
    options.dtype = choose_dtype(options)
    processes = join_processes(options.device)
    is_other = options.preview_editor != options.editor or options.lora
    if options.preview_editor and is_other and processes.is_main:
        job = replace(job, preview_editor=open_preview_editor(options))
    report = job.run(open_editor(options), ProgressLine() if processes.is_main else ignore_progress, processes)
    if not processes.is_main:
        return 0
    print_result(str(report))
    print(f"A page to look at: {(report.folder / 'report.html').as_uri()}", file=sys.stderr)
    return 0


def open_preview_editor(options: argparse.Namespace) -> Editor:
    """The editor of --preview-editor, loaded as the one that learns is, but in main memory wherever that one has a card."""
    offload = "model" if options.offload == "none" else options.offload
    changed = {"editor": options.preview_editor, "editor_flag": "--preview-editor", "lora": [], "offload": offload}
    try:
        return open_editor(argparse.Namespace(**{**vars(options), **changed}))
    except RethinkError as error:
        raise RethinkError(f"--preview-editor: {str(error).removeprefix('editor: ')}") from error


def choose_dtype(options: argparse.Namespace) -> str:
    """The dtype of the arguments; for “auto” one in which gradients do not vanish, where it might be fp16."""
    if options.dtype != "auto" or options.editor == BUILT_IN or options.device.partition(":")[0] == "cpu":
        return options.dtype
    return "bf16"


def read_instructions(path: Path | None) -> tuple[str, ...]:
    """The lines of a text file that are not empty; () without one."""
    if path is None:
        return ()
    from ..text_files import good_lines

    lines = [line for _, line in good_lines(path, "--keep-instructions")]
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise RethinkError(f"--keep-instructions: {path} has no lines.")
    return found
