"""The edits of a comparison: made once, with their time and memory, and found again by task and variant."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..benchmarking.editing import MOST_FAILURES, EditSetup, edit_with
from ..editors.settings import summarize_settings, used_settings
from ..errors import RethinkError
from ..images import load_image, save_image
from ..pairs.jsonl_log import DiskFull, JsonlLog, fields_are
from .tasks import NAME_LENGTH, CompareTask, digest_pixels
from .variants import Variant

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SOURCES, EDITS, RUNS, LOG = "sources", "edits", "thinking", "edits.jsonl"

# (edits done, edits to make, the latest edit)
OnEdit = Callable[[int, int, "Tensor"], None]


@dataclass(frozen=True)
class Edit:
    """An edit in the folder. file: relative to it. digest: of the file. memory: peak memory of the device in bytes, None if it
    does not report it. settings: the settings used, as text; "" for an edit made by an older version."""

    task: str
    variant: str
    file: str
    digest: str
    seconds: float
    memory: int | None
    size: tuple[int, int]
    settings: str = ""


@dataclass
class Edits:
    """Edits by task and variant. failed: why an edit is missing. absent: variants that could not be opened at all, and why."""

    found: dict[tuple[str, str], Edit] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def source_file(task: CompareTask) -> str:
    """The file of a task's source, relative to the folder."""
    return f"{SOURCES}/{task.source}.png"


def read_edits(folder: Path) -> dict[tuple[str, str], Edit]:
    """The edits of earlier runs whose files are present and unchanged."""
    found = {}
    for record in _log(folder):
        edit = _edit_of(record)
        if edit is not None:
            found[edit.task, edit.variant] = edit
    return {place: edit for place, edit in found.items() if _is_whole(folder / edit.file, edit.digest)}


def _is_whole(file: Path, digest: str) -> bool:
    return file.is_file() and _digest(file) == digest


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:NAME_LENGTH]


def make_edits(
    tasks: Sequence[CompareTask], variants: Sequence[Variant], folder: Path, on_edit: OnEdit = lambda *_: None
) -> Edits:
    """Make the missing edits, variant by variant. The caller holds the lock of the folder.

    A variant that cannot be opened, or fails several times in a row, is left out with the reason.
    """
    _log(folder).repair()
    known, edits = read_edits(folder), Edits()
    wanted = {(task.id, variant.key) for task in tasks for variant in variants}
    edits.found = {place: edit for place, edit in known.items() if place in wanted}
    for task in {task.source: task for task in tasks}.values():
        _write_source(task, folder)
    try:
        _make_missing(tasks, variants, folder, edits, on_edit)
    finally:
        for variant in variants:
            variant.release()
    return edits


def _make_missing(
    tasks: Sequence[CompareTask], variants: Sequence[Variant], folder: Path, edits: Edits, on_edit: OnEdit
) -> None:
    """Add the missing edits to `edits`."""
    total, done = len(tasks) * len(variants) - len(edits.found), 0
    log = _log(folder)
    for variant in variants:
        missing = [task for task in tasks if (task.id, variant.key) not in edits.found]
        if not missing:
            continue
        try:
            setup = variant.open()
        except DiskFull:
            raise
        except RethinkError as error:
            edits.absent[variant.key] = str(error)
            continue
        in_a_row = 0
        for task in missing:
            try:
                edit, image = _make(task, variant, setup, folder)
            except DiskFull:
                raise
            except (RethinkError, OSError) as error:
                edits.failed[task.id, variant.key] = str(error)
                in_a_row += 1
                if in_a_row == MOST_FAILURES:
                    break
                continue
            in_a_row, done = 0, done + 1
            log.append({"id": f"{edit.task}-{edit.variant}", **_record(edit)})
            edits.found[task.id, variant.key] = edit
            on_edit(done, total, image)
        del setup  # free its memory before the next one is loaded


def _make(task: CompareTask, variant: Variant, setup: EditSetup, folder: Path) -> tuple[Edit, Tensor]:
    images = [load() for load in (task.load, *task.load_references)]
    device = _device_of(setup)
    _start_memory(device)
    started = time.perf_counter()
    image = edit_with(setup, images, task.instruction, folder / RUNS / f"{task.id}-{variant.key}")
    seconds, memory = time.perf_counter() - started, _peak_memory(device)
    file = f"{EDITS}/{task.id}-{variant.key}.png"
    (folder / EDITS).mkdir(exist_ok=True)
    save_image(image, folder / file)
    size, used = (image.shape[1], image.shape[2]), summarize_settings(used_settings(setup.editor, setup.settings))
    return Edit(task.id, variant.key, file, _digest(folder / file), round(seconds, 3), memory, size, used), image


def _write_source(task: CompareTask, folder: Path) -> None:
    file = folder / source_file(task)
    try:
        whole = digest_pixels(load_image(file)) == task.source
    except RethinkError:  # missing or broken
        whole = False
    if not whole:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_image(task.load(), file)


def _device_of(setup: EditSetup) -> torch.device | None:
    """The CUDA device whose memory is measured: the editor's, or the one to which a host moves it for work; None without one."""
    import torch

    if setup.editor.device.type == "cuda":
        return setup.editor.device
    return torch.device("cuda") if torch.cuda.is_initialized() else None


def _start_memory(device: torch.device | None) -> None:
    import torch

    if device is not None:
        torch.cuda.reset_peak_memory_stats(device)


def _peak_memory(device: torch.device | None) -> int | None:
    """Peak memory of tensors since `_start_memory`, in bytes."""
    import torch

    return torch.cuda.max_memory_allocated(device) if device is not None else None


def _log(folder: Path) -> JsonlLog:
    check = fields_are(task=str, variant=str, file=str, digest=str, seconds=(int, float), size=list)
    return JsonlLog(folder / LOG, check)


def _record(edit: Edit) -> dict[str, Any]:
    names = ("task", "variant", "file", "digest", "seconds", "memory", "settings")
    return {name: getattr(edit, name) for name in names} | {"size": list(edit.size)}


def _edit_of(record: dict[str, Any]) -> Edit | None:
    """None for anything we would not have written, such as a path that leads elsewhere."""
    task, variant = record["task"], record["variant"]
    if record["file"] != f"{EDITS}/{task}-{variant}.png" or not (task.isalnum() and variant.isalnum()):
        return None
    memory, settings = record.get("memory"), record.get("settings")
    height, width = (*record["size"], 0, 0)[:2]
    return Edit(
        task,
        variant,
        record["file"],
        record["digest"],
        float(record["seconds"]),
        memory if isinstance(memory, int) else None,
        (height, width),
        settings if isinstance(settings, str) else "",
    )
