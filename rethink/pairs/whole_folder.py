"""A folder that appears complete or not at all, also in the place of an earlier one, and after a kill at any moment.

.NAME.part/              while it is written; `UNFINISHED` in it says so
.NAME.part/              finished, until it is moved to NAME
.NAME.part/REPLACED/     what was NAME, between the two renames of a replacement
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

from ..errors import RethinkError
from .jsonl_log import locked
from .own_files import LIST, REPLACED, UNFINISHED, list_files, remove_own, require_own, stamps
from .store import LOCK, is_store

_log = logging.getLogger(__name__)
_move_lock = threading.Lock()  # ComfyUI lists its datasets on other threads than it runs


@contextmanager
def whole_folder(folder: Path, replace: bool = False) -> Iterator[Path]:
    """A folder to write in, which is moved to `folder` in the end, and removed if anything is raised.

    replace: it may take the place of an earlier one of ours. Raises RethinkError where something else is there.
    """
    finish_export(folder)
    replacing = _require_free(folder, replace)
    before = stamps(folder) if replacing else {}
    temporary = _temporary_for(folder)
    _claim(temporary)
    held = False
    try:
        with locked(temporary / LOCK, folder):
            held = True
            _clear(temporary)
            yield temporary
            list_files(temporary, LOCK)
            if replacing and stamps(folder) != before:
                raise RethinkError(f"replace: {folder} has changed meanwhile, and is left as it is; run again.")
        (temporary / LOCK).unlink()
        with _move_lock:
            (temporary / UNFINISHED).unlink()  # from here on it is finished, whoever moves it
            _move(temporary, folder, replacing)
        _remove_replaced(folder / REPLACED)
    finally:
        if held and not (temporary / REPLACED).exists():
            shutil.rmtree(temporary, ignore_errors=True)


def finish_export(folder: Path) -> None:
    """Finish what a kill has left of an export to `folder`, with a warning."""
    temporary = _temporary_for(folder)
    with _move_lock:
        if (temporary / LIST).is_file() and not (temporary / UNFINISHED).exists():
            if not os.path.lexists(folder):
                temporary.rename(folder)
                _log.warning("%s is whole again: the run that wrote it was killed just before the end.", folder)
            elif (temporary / REPLACED).exists():
                raise RethinkError(
                    f"export: an earlier run was killed, and {temporary / REPLACED} holds what was to be replaced; move it away."
                )
            else:
                remove_own(temporary)
    _remove_replaced(folder / REPLACED)


def finish_exports(root: Path) -> None:
    """`finish_export` for every folder in `root`, down to two levels."""
    for pattern in (".*.part", "*/.*.part", f"*/{REPLACED}", f"*/*/{REPLACED}"):
        for left in root.glob(pattern):
            folder = left.parent if left.name == REPLACED else left.with_name(left.name[1 : -len(".part")])
            try:
                finish_export(folder)
            except (OSError, RethinkError) as error:
                _log.warning("%s", error)


def _temporary_for(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.part")


def _require_free(folder: Path, replace: bool) -> bool:
    """Whether there is an earlier one of ours to be replaced. Raises RethinkError for anything else that is there."""
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if not replace:
        raise RethinkError(f"export: {folder} is there already; choose another folder, or delete it.")
    if is_store(folder):
        raise RethinkError(f"replace: {folder} is a pair store, which is only added to; choose another name.")
    require_own(folder, "replace")
    return True


def _claim(temporary: Path) -> None:
    """Take the folder to write in. Raises RethinkError where it holds what was not left by an export that was killed."""
    if temporary.is_symlink():
        raise RethinkError(f"export: {temporary} is in the way, a link; move it away, or choose another name.")
    temporary.mkdir(parents=True, exist_ok=True)
    names = set(os.listdir(temporary)) - {LOCK}
    if names and UNFINISHED not in names:
        raise RethinkError(
            f"export: {temporary} is in the way, and not by Rethink; move it away, or choose another name."
        )
    (temporary / UNFINISHED).touch()


def _clear(temporary: Path) -> None:
    for left in temporary.iterdir():
        if left.name not in (LOCK, UNFINISHED):
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def _move(temporary: Path, folder: Path, replacing: bool) -> None:
    if not replacing:
        if folder.exists():
            folder.rmdir()  # which is empty
        temporary.rename(folder)
        return
    folder.rename(temporary / REPLACED)
    try:
        temporary.rename(folder)
    except OSError:
        (temporary / REPLACED).rename(folder)
        raise


def _remove_replaced(replaced: Path) -> None:
    """Only what somebody put there at the moment of the move is kept."""
    try:
        if replaced.is_dir() and not replaced.is_symlink() and not remove_own(replaced):
            _log.warning("%s holds what Rethink did not write; it is kept there.", replaced)
    except OSError as error:
        _log.warning("%s cannot be taken away now (%s); the next export here does it.", replaced, error.strerror)
