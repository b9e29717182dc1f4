"""`rethink train-lora`: a LoRA from a store of pairs."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RethinkError
from ..progress import format_count, ignore_progress
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

Several GPUs share the batches of a step, with the same result:
  accelerate launch --num_processes 2 -m rethink train-lora my-pairs -o wide.safetensors --device cuda --editor ...

An interrupted run resumes when it is started again and ends with the same weights. Everything it saves, with a report, is in the
folder of --folder.
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
    """Add `train-lora` to the subparsers of `rethink`."""
    from ..training.lora_settings import LoraSettings

    parser = add_command(commands, "train-lora", "teach an editor an edit from pairs, as a LoRA", run_train_lora)
    parser.epilog = EXAMPLES + EXIT_CODES
    parser.add_argument(
        "store",
        type=Path,
        help="the pairs: a store, a folder with “before” and “after” in it, a folder of NAME_start and NAME_end files, or another "
        "trainer's dataset",
    )
    parser.add_argument(
        "--after", type=Path, metavar="FOLDER", help="images after the edit; STORE then has the images before"
    )
    parser.add_argument("--instruction", default="", help="instruction for pairs that have none")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .safetensors file")
    parser.add_argument(
        "--folder",
        type=Path,
        help="folder for checkpoints, latents and reports; default: OUTPUT-training next to the output",
    )
    parser.add_argument(
        "--keep-instructions",
        type=Path,
        metavar="FILE",
        help="text file with one instruction per line: other edits that the editor must not forget; default: common ones",
    )
    add_thinker(parser, "also scores the previews of every checkpoint: ")
    add_loading_options(parser, BUILT_IN, f"the editor to train: {FILES}")
    parser.add_argument(
        "--preview-editor",
        metavar="EDITOR",
        help="makes the previews instead of the editor being trained, for example the distilled version of a base; on a GPU, it "
        "waits in main memory and leaves the GPU to training",
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
        print(
            f"pairs: {format_count(len(skipped), 'was', 'were')} left out; the first is {name}: {why}.", file=sys.stderr
        )
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
    print(f"View the report: {(report.folder / 'report.html').as_uri()}", file=sys.stderr)
    return 0


def open_preview_editor(options: argparse.Namespace) -> Editor:
    """The editor of --preview-editor, loaded like the one being trained, but kept in main memory if that one uses a GPU."""
    offload = "model" if options.offload == "none" else options.offload
    changed = {"editor": options.preview_editor, "editor_flag": "--preview-editor", "lora": [], "offload": offload}
    try:
        return open_editor(argparse.Namespace(**{**vars(options), **changed}))
    except RethinkError as error:
        raise RethinkError(f"--preview-editor: {str(error).removeprefix('editor: ')}") from error


def choose_dtype(options: argparse.Namespace) -> str:
    """The dtype of the arguments; bf16 where “auto” might choose fp16, in which gradients vanish."""
    if options.dtype != "auto" or options.editor == BUILT_IN or options.device.partition(":")[0] == "cpu":
        return options.dtype
    return "bf16"


def read_instructions(path: Path | None) -> tuple[str, ...]:
    """The non-empty lines of a text file; () without one."""
    if path is None:
        return ()
    from ..text_files import good_lines

    lines = [line for _, line in good_lines(path, "--keep-instructions")]
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise RethinkError(f"--keep-instructions: {path} has no lines.")
    return found
