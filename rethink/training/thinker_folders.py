"""The folders that a thinker is trained from and to: which must not be overwritten, and checkpoints to resume from."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..atomic import atomic_write, check_target, in_use_as_error
from ..errors import RethinkError
from ..model_files import model_name, snapshot_of
from ..pairs.own_files import SYSTEM_FILES
from ..thinkers.backends.local_folder import MARK, knows_critiques_alone
from ..trajectory import RECORD_FILE

NEW = (
    MARK,
    "config.json",
    "generation_config.json",
)  # written again with the weights; all else is copied from the original thinker
# Files of `collect` datasets: those of trl's layout, and of others, which nothing here reads.
PARTS = ("trl-sft.jsonl", "trl-rl.jsonl", "llama-factory-sft.jsonl", "easyr1-rl.jsonl", "verl-rl.parquet")
# As worded by Python, torch and safetensors; on Windows in the user's language, with an error number (ERROR_DISK_FULL).
_FULL_DISK = re.compile(
    r"No space left|quota exceeded|PytorchStreamWriter failed|unexpected pos \d+ vs \d+|os error 112\b"
)
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")  # not a copy that the user made of one


def check_output(output: Path, thinker: Path) -> None:
    """Check that a trained thinker can be written to `output`, before any work.

    Raises RethinkError if it cannot, and if that is the thinker to start from, a model that was not trained by Rethink, or a folder
    with anything else in it.
    """
    check_target(output / "config.json", "output")
    if output.resolve() == snapshot_of(thinker).resolve():
        raise RethinkError(
            f"output: {output} is the thinker to start from, which must not be overwritten; choose another folder."
        )
    trained_here = (output / MARK).is_file() or checkpoints_of(output).is_dir()  # from before marks existed
    if (output / "config.json").is_file() and not trained_here:
        raise RethinkError(f"output: {output} contains a model that was not trained by Rethink; choose another folder.")
    if not trained_here and {each for each in os.listdir(output) if not each.startswith(".")} - SYSTEM_FILES:
        raise RethinkError(f"output: {output} contains files that are not a thinker's; choose a new folder.")


def checkpoints_of(output: Path) -> Path:
    """The folder next to `output` where trainings keep what they need to resume."""
    return output.with_name(output.name + "-checkpoints")


def work_folder(output: Path, folder: Path | None, training: Mapping[str, Any]) -> Path:
    """The folder for a training's checkpoints and log, inside `folder`, or next to the output if that is None. Its name is derived
    from the training, so that the same training resumes and a different one starts from scratch.

    training: everything that determines the result, as JSON values; contents rather than names, which may come to mean something
    else.
    """
    return (folder or checkpoints_of(output)) / f"{output.name}-{digest_of(training)[:8]}"


def digest_of(value: Any) -> str:
    """A digest that is the same for the same JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def save(model: Any, like: Path, out: Path) -> None:
    """Write a folder that Load Thinker opens: the trained weights, and everything else as in the original folder."""
    model.save_pretrained(out)
    for file in snapshot_of(Path(like)).iterdir():
        if file.is_file() and ".safetensors" not in file.name and file.name not in NEW:
            shutil.copyfile(file, out / file.name)  # the copy can be overwritten, even if the original cannot


def save_trained(model: Any, like: Path, out: Path) -> None:
    """`mark_trained`, then `save`: with the mark first, a thinker whose writing was cut off can be overwritten too.

    Raises RethinkError if files of the thinker to be replaced are in use.
    """
    with in_use_as_error(out):
        mark_trained(out, like)
        save(model, like, out)


def mark_trained(out: Path, like: Path) -> None:
    """Mark a folder, created if missing, as trained by Rethink, so that a later training may replace it."""
    out.mkdir(parents=True, exist_ok=True)
    start = snapshot_of(Path(like))
    origin = {"trained_from": model_name(start), "only_critiques": knows_critiques_alone(start)}
    with atomic_write(out / MARK) as part:
        part.write_text(json.dumps(origin), encoding="utf-8")


def find_last_checkpoint(work: Path, trained: dict[str, Any]) -> Path | None:
    """The newest complete checkpoint in `work`, which is one with a trainer_state.json; None for a new run.

    trained: what is trained, and how. Raises RethinkError if the checkpoints are those of another training.
    """
    marker = work / "trained.json"
    found = {
        int(match[1]): folder for folder in work.glob("checkpoint-*") if (match := _CHECKPOINT.fullmatch(folder.name))
    }
    whole = {step: folder for step, folder in found.items() if (folder / "trainer_state.json").is_file()}
    if whole and marker.is_file() and (others := _differences(marker, trained)):
        raise RethinkError(
            f"output: {work} contains the checkpoints of another training ({others}); remove it, or use another output folder."
        )
    work.mkdir(parents=True, exist_ok=True)
    with atomic_write(marker) as part:
        part.write_text(json.dumps(trained), encoding="utf-8")
    return whole[max(whole)] if whole else None


def step_of(checkpoint: Path | None) -> int:
    """The step of a checkpoint's folder; 0 without one."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def _differences(marker: Path, trained: dict[str, Any]) -> str:
    """How a training differs from the one that left its marker; "" if it is the same."""
    try:
        before = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        before = None
    if not isinstance(before, dict):
        return f"{marker.name} cannot be read"
    others = [name for name in (before | trained) if before.get(name) != trained.get(name)]
    return "; ".join(f"{name}: {before.get(name)}, not {trained.get(name)}" for name in others)


def check_layout(data: Iterable[Path], file: str) -> None:
    """Raise RethinkError for a `collect` dataset that was made for something else. file: the file of it that is needed."""
    for folder in data:
        others = [name for name in PARTS if (folder / name).is_file()]
        if others and file not in others and not any(folder.rglob(RECORD_FILE)):
            raise RethinkError(
                f"data: {folder} has {', '.join(others)}, but no {file}, which this training needs; run `collect` with the layout trl, "
                "or give the folder of the runs themselves."
            )


@contextmanager
def full_disk_as_error(output: Path, work: Path) -> Iterator[None]:
    """Turn a full disk into a RethinkError, however the libraries report it."""
    try:
        yield
    except Exception as error:
        if not _means_full_disk(error):
            raise
        raise RethinkError(
            f"output: no room left for {output}, or for the checkpoints in {work}; free some space and start again to resume from the "
            f"last checkpoint. {work.parent} also holds those of earlier trainings."
        ) from error


def _means_full_disk(error: Exception) -> bool:
    """Whether an error means a full disk: from Python, from safetensors with its own class, or from torch's archives, which hardly
    say why they failed."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return _FULL_DISK.search(str(error)) is not None
