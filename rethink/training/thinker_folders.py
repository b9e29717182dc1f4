"""Where a thinker is trained from and to: folders that must not be written over, and what is left to go on from."""

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
)  # written anew with the weights; all else is of the thinker before
# Of the data sets of `collect`: of trl's layout, and of others, which nothing here reads.
PARTS = ("trl-sft.jsonl", "trl-rl.jsonl", "llama-factory-sft.jsonl", "easyr1-rl.jsonl", "verl-rl.parquet")
# As Python and torch say it, and safetensors: on Windows in the user's language, with a number (ERROR_DISK_FULL).
_FULL_DISK = re.compile(
    r"No space left|quota exceeded|PytorchStreamWriter failed|unexpected pos \d+ vs \d+|os error 112\b"
)
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")  # not a copy that somebody has made of one


def check_output(output: Path, thinker: Path) -> None:
    """Check that a trained thinker can be written to `output`, before the work that it is to hold.

    Raises RethinkError where it cannot, and where that is the thinker to start from, a model that nobody trained here, or a folder of
    anything else.
    """
    check_target(output / "config.json", "output")
    if output.resolve() == snapshot_of(thinker).resolve():
        raise RethinkError(
            f"output: {output} is the thinker that is trained, which stays as it is; choose another place."
        )
    trained_here = (output / MARK).is_file() or checkpoints_of(output).is_dir()  # of before there were marks
    if (output / "config.json").is_file() and not trained_here:
        raise RethinkError(f"output: {output} has a model in it that was not trained by Rethink; choose another place.")
    if not trained_here and {each for each in os.listdir(output) if not each.startswith(".")} - SYSTEM_FILES:
        raise RethinkError(f"output: {output} holds other files than a thinker's; choose a new folder.")


def checkpoints_of(output: Path) -> Path:
    """The folder beside `output` in which trainings keep what they need to go on."""
    return output.with_name(output.name + "-checkpoints")


def work_folder(output: Path, folder: Path | None, training: Mapping[str, Any]) -> Path:
    """Where a training keeps its checkpoints and its log: in `folder`, or beside the output where that is None, one of its own by
    what it is, so that the same goes on and another one starts anew.

    training: all that decides what it learns, JSON values: contents, for names may come to mean something else.
    """
    return (folder or checkpoints_of(output)) / f"{output.name}-{digest_of(training)[:8]}"


def digest_of(value: Any) -> str:
    """The same for the same JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def save(model: Any, like: Path, out: Path) -> None:
    """A folder that Load Thinker opens: the weights, and everything else as in the folder that was trained."""
    model.save_pretrained(out)
    for file in snapshot_of(Path(like)).iterdir():
        if file.is_file() and ".safetensors" not in file.name and file.name not in NEW:
            shutil.copyfile(file, out / file.name)  # which can be written over, even if that cannot


def save_trained(model: Any, like: Path, out: Path) -> None:
    """`save`, and the mark of `mark_trained`, which comes first: what is cut off in the midst can be written over, too.

    Raises RethinkError where files of a thinker that is replaced are in use.
    """
    with in_use_as_error(out):
        mark_trained(out, like)
        save(model, like, out)


def mark_trained(out: Path, like: Path) -> None:
    """Say of a folder, made where it is missing, that it was trained here, so that a later training may replace it."""
    out.mkdir(parents=True, exist_ok=True)
    start = snapshot_of(Path(like))
    origin = {"trained_from": model_name(start), "only_critiques": knows_critiques_alone(start)}
    with atomic_write(out / MARK) as part:
        part.write_text(json.dumps(origin), encoding="utf-8")


def find_last_checkpoint(work: Path, trained: dict[str, Any]) -> Path | None:
    """The newest checkpoint in `work` that was written to its end, which trainer_state.json marks; None for a new run.

    trained: what is trained, and how; a run with another one is refused by a RethinkError.
    """
    marker = work / "trained.json"
    found = {
        int(match[1]): folder for folder in work.glob("checkpoint-*") if (match := _CHECKPOINT.fullmatch(folder.name))
    }
    whole = {step: folder for step, folder in found.items() if (folder / "trainer_state.json").is_file()}
    if whole and marker.is_file() and (others := _differences(marker, trained)):
        raise RethinkError(
            f"output: {work} holds the checkpoints of another training ({others}); remove it, or train into another folder."
        )
    work.mkdir(parents=True, exist_ok=True)
    with atomic_write(marker) as part:
        part.write_text(json.dumps(trained), encoding="utf-8")
    return whole[max(whole)] if whole else None


def step_of(checkpoint: Path | None) -> int:
    """The step of a checkpoint's folder; 0 without one."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def _differences(marker: Path, trained: dict[str, Any]) -> str:
    """In what a training differs from the one that has left its marker; "" where it is the same."""
    try:
        before = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        before = None
    if not isinstance(before, dict):
        return f"{marker.name} cannot be read"
    others = [name for name in (before | trained) if before.get(name) != trained.get(name)]
    return "; ".join(f"{name}: {before.get(name)}, not {trained.get(name)}" for name in others)


def check_layout(data: Iterable[Path], file: str) -> None:
    """Raise RethinkError for a data set that `collect` has made for something else. file: the part of one that is learned from."""
    for folder in data:
        others = [name for name in PARTS if (folder / name).is_file()]
        if others and file not in others and not any(folder.rglob(RECORD_FILE)):
            raise RethinkError(
                f"data: {folder} has {', '.join(others)}, but no {file}, which is what is learned from here; `collect` makes that in the "
                "layout trl. Or give the folder of the runs themselves."
            )


@contextmanager
def full_disk_as_error(output: Path, work: Path) -> Iterator[None]:
    """Within it, that a disk is full is a RethinkError, however the libraries say it."""
    try:
        yield
    except Exception as error:
        if not _means_full_disk(error):
            raise
        raise RethinkError(
            f"output: no room left for {output}, or for the checkpoints in {work}; make room and start again: it goes on from its last "
            f"checkpoint. {work.parent} has those of earlier trainings, too."
        ) from error


def _means_full_disk(error: Exception) -> bool:
    """Of Python; of safetensors, which has a class of its own; of torch's archives, which hardly say why they failed."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return _FULL_DISK.search(str(error)) is not None
