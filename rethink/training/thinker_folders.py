"""Where a thinker is trained from and to: folders that must not be written over, and what is left to go on from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..atomic import atomic_write, check_target
from ..errors import RethinkError
from ..model_files import model_name, snapshot_of
from ..thinkers.backends.local_folder import MARK, knows_critiques_alone

NEW = (
    MARK,
    "config.json",
    "generation_config.json",
)  # written anew with the weights; all else is of the thinker before


def check_output(output: Path, thinker: Path) -> None:
    """Check that a trained thinker can be written to `output`, before the work that it is to hold.

    Raises RethinkError where it cannot, and where that is the thinker to start from, or a model that nobody trained here.
    """
    check_target(output / "config.json", "output")
    if output.resolve() == snapshot_of(thinker).resolve():
        raise RethinkError(
            f"output: {output} is the thinker that is trained, which stays as it is; choose another place."
        )
    trained_here = (output / MARK).is_file() or checkpoints_of(output).is_dir()  # of before there were marks
    if (output / "config.json").is_file() and not trained_here:
        raise RethinkError(f"output: {output} has a model in it that was not trained by Rethink; choose another place.")


def checkpoints_of(output: Path) -> Path:
    """The folder beside `output` in which a training keeps what it needs to go on."""
    return output.with_name(output.name + "-checkpoints")


def work_folder(output: Path, folder: Path | None, training: Mapping[str, Any]) -> Path:
    """Where a training keeps its checkpoints and its log: in `folder` one of its own by what it is, so that the same goes on and
    another one starts anew; beside the output where there is no `folder`.

    training: all that decides what it learns, JSON values.
    """
    if folder is None:
        return checkpoints_of(output)
    text = json.dumps(training, sort_keys=True, default=str)
    return folder / f"{output.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def save(model: Any, like: Path, out: Path) -> None:
    """A folder that Load Thinker opens: the weights, and everything else as in the folder that was trained."""
    model.save_pretrained(out)
    for file in snapshot_of(Path(like)).iterdir():
        if file.is_file() and ".safetensors" not in file.name and file.name not in NEW:
            shutil.copy(file, out / file.name)


def mark_trained(out: Path, like: Path) -> None:
    """Say of a folder that it was trained here, so that a later training may replace it."""
    start = snapshot_of(Path(like))
    origin = {"trained_from": model_name(start), "only_critiques": knows_critiques_alone(start)}
    with atomic_write(out / MARK) as part:
        part.write_text(json.dumps(origin), encoding="utf-8")


def find_last_checkpoint(work: Path, trained: dict[str, Any]) -> Path | None:
    """The newest checkpoint in `work` that was written to its end, which trainer_state.json marks; None for a new run.

    trained: what is trained, and how; a run with another one is refused by a RethinkError.
    """
    marker = work / "trained.json"
    whole = [file.parent for file in work.glob("checkpoint-*/trainer_state.json")]
    if whole and marker.is_file() and (before := json.loads(marker.read_text(encoding="utf-8"))) != trained:
        raise RethinkError(
            f"output: {work} holds the checkpoints of a run with {before}; remove it, or train into another folder."
        )
    work.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps(trained), encoding="utf-8")
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)
