"""Write a folder that appears complete or not at all, also in place of an earlier one, even if killed at any moment.

.NAME.part/              while it is being written, with the marker `UNFINISHED`
.NAME.part/              complete, until it is renamed to NAME
.NAME.part/REPLACED/     the former NAME, between the two renames of a replacement
NAME/REPLACED/           until it is removed
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..atomic import move
from ..errors import RethinkError
from .jsonl_log import locked
from .own_files import LIST, REPLACED, UNFINISHED, list_files, remove_own, require_own, stamps
from .store import LOCK, is_store

_log = logging.getLogger(__name__)
_move_lock = threading.Lock()  # ComfyUI lists datasets on other threads than the one that runs nodes


@contextmanager
def whole_folder(folder: Path, replace: bool = False) -> Iterator[Path]:
    """A temporary folder to write in, renamed to `folder` at the end, and removed if anything is raised.

    replace: whether it may replace an earlier one of ours. Raises RethinkError where something else is there.
    """
    replacing = require_free(folder, replace)
    before = stamps(folder) if replacing else {}
    temporary = _temporary_for(folder)
    _claim(temporary)
    is_locked = False
    try:
        with locked(temporary / LOCK, folder):
            is_locked = True
            _clear(temporary)
            yield temporary
            list_files(temporary, LOCK)
            if replacing and stamps(folder) != before:
                raise RethinkError(f"replace: {folder} changed in the meantime and was left as it is; run again.")
        (temporary / LOCK).unlink()
        with _move_lock:
            (temporary / UNFINISHED).unlink()  # from here on it is complete, whoever renames it
            _move(temporary, folder, replacing)
        _remove_replaced(folder / REPLACED)
    finally:
        if is_locked and not (temporary / REPLACED).exists():
            shutil.rmtree(temporary, ignore_errors=True)


def finish_export(folder: Path) -> None:
    """Finish an export to `folder` that was killed, with a warning."""
    temporary = _temporary_for(folder)
    with _move_lock:
        if (temporary / LIST).is_file() and not (temporary / UNFINISHED).exists():
            if not os.path.lexists(folder):
                move(temporary, folder)
                _log.warning("%s has been completed: the run that wrote it was killed just before the end.", folder)
            elif (temporary / REPLACED).exists():
                raise RethinkError(
                    f"export: an earlier run was killed, and {temporary / REPLACED} holds the folder that it was replacing; move it away."
                )
            else:
                remove_own(temporary)
    _remove_replaced(folder / REPLACED)


def finish_exports(root: Path) -> None:
    """`finish_export` for every folder in `root`, down to two levels."""
    for pattern in (".*.part", "*/.*.part", f"*/{REPLACED}", f"*/*/{REPLACED}"):
        for leftover in root.glob(pattern):
            folder = (
                leftover.parent if leftover.name == REPLACED else leftover.with_name(leftover.name[1 : -len(".part")])
            )
            try:
                finish_export(folder)
            except (OSError, RethinkError) as error:
                _log.warning("%s", error)


def require_free(folder: Path, replace: bool) -> bool:
    """Whether there is an earlier folder of ours to replace, after `finish_export`. Raises RethinkError for anything else."""
    finish_export(folder)
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if not replace:
        raise RethinkError(f"export: {folder} already exists; choose another folder, or delete it.")
    if is_store(folder):
        raise RethinkError(f"replace: {folder} is a pair store, which can only be added to; choose another name.")
    require_own(folder, "replace")
    return True


def _temporary_for(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.part")


def _claim(temporary: Path) -> None:
    """Create the temporary folder, or take over that of a killed export. Raises RethinkError where it is anything else."""
    if temporary.is_symlink():
        raise RethinkError(f"export: {temporary} is in the way and is a link; move it away, or choose another name.")
    temporary.mkdir(parents=True, exist_ok=True)
    names = set(os.listdir(temporary)) - {LOCK}
    if names and UNFINISHED not in names:
        raise RethinkError(
            f"export: {temporary} is in the way and was not written by Rethink; move it away, or choose another name."
        )
    (temporary / UNFINISHED).touch()


def _clear(temporary: Path) -> None:
    for path in temporary.iterdir():
        if path.name not in (LOCK, UNFINISHED):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _move(temporary: Path, folder: Path, replacing: bool) -> None:
    if not replacing:
        if folder.exists():
            folder.rmdir()  # it is empty
        move(temporary, folder)
        return
    move(folder, temporary / REPLACED)
    try:
        move(temporary, folder)
    except OSError:
        move(temporary / REPLACED, folder)
        raise


def _remove_replaced(replaced: Path) -> None:
    """Remove what was replaced. Files that someone added in the meantime are kept."""
    try:
        if replaced.is_dir() and not replaced.is_symlink() and not remove_own(replaced):
            _log.warning("%s holds files that Rethink did not write; they are kept.", replaced)
    except OSError as error:
        _log.warning(
            "%s cannot be removed now (%s); the next export to this folder will remove it.", replaced, error.strerror
        )
