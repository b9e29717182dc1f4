"""A folder that appears whole, in the place of an earlier one where that is wanted, and after a kill at any moment.

.NAME.part/              while it is written; `UNFINISHED` in it says so
.NAME.part/              finished, until it is moved to NAME
.NAME.part/REPLACED/     what was NAME, between the two renames of a replacement
NAME/REPLACED/           until it is taken away
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import RethinkError
from ..jsonl_log import locked
from ..own_files import LIST, REPLACED, UNFINISHED, list_files, remove_own, require_own, stamps
from ..store import LOCK, is_store

_log = logging.getLogger(__name__)
_moving = threading.Lock()  # ComfyUI lists its datasets on other threads than it runs


@contextmanager
def whole_folder(folder: Path, replace: bool = False) -> Iterator[Path]:
    """Where to write what shall be at `folder`: it is moved there in the end, and taken away if anything is raised.

    replace: it takes the place of an earlier one of ours. Raises RethinkError where something else is there.
    """
    finish_export(folder)
    there = _require_free(folder, replace)
    before = stamps(folder) if there else {}
    passing = _part_of(folder)
    _claim(passing)
    held = False
    try:
        with locked(passing / LOCK, folder):
            held = True
            _clear(passing)
            yield passing
            list_files(passing, LOCK)
            if there and stamps(folder) != before:
                raise RethinkError(f"replace: {folder} has changed meanwhile, and is left as it is; run again.")
        (passing / LOCK).unlink()
        with _moving:
            (passing / UNFINISHED).unlink()  # from here on it is finished, whoever moves it
            _move(passing, folder, there)
        _take_away(folder / REPLACED)
    finally:
        if held and not (passing / REPLACED).exists():
            shutil.rmtree(passing, ignore_errors=True)


def finish_export(folder: Path) -> None:
    """Bring to its end what a kill has left of an export to `folder`, and say so."""
    passing = _part_of(folder)
    with _moving:
        if (passing / LIST).is_file() and not (passing / UNFINISHED).exists():
            if not os.path.lexists(folder):
                passing.rename(folder)
                _log.warning("%s is whole again: the run that wrote it was killed just before the end.", folder)
            elif (passing / REPLACED).exists():
                raise RethinkError(
                    f"export: an earlier run was killed, and {passing / REPLACED} holds what was to be replaced; move it away."
                )
            else:
                remove_own(passing)
    _take_away(folder / REPLACED)


def finish_exports(root: Path) -> None:
    """`finish_export` for every folder in `root`, down to two levels."""
    for pattern in (".*.part", "*/.*.part", f"*/{REPLACED}", f"*/*/{REPLACED}"):
        for left in root.glob(pattern):
            folder = left.parent if left.name == REPLACED else left.with_name(left.name[1 : -len(".part")])
            try:
                finish_export(folder)
            except (OSError, RethinkError) as error:
                _log.warning("%s", error)


def _part_of(folder: Path) -> Path:
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


def _claim(passing: Path) -> None:
    """Take the folder to write in. Raises RethinkError where it holds what was not left by an export that was killed."""
    if passing.is_symlink():
        raise RethinkError(f"export: {passing} is in the way, a link; move it away, or choose another name.")
    passing.mkdir(parents=True, exist_ok=True)
    names = set(os.listdir(passing)) - {LOCK}
    if names and UNFINISHED not in names:
        raise RethinkError(
            f"export: {passing} is in the way, and not by Rethink; move it away, or choose another name."
        )
    (passing / UNFINISHED).touch()


def _clear(passing: Path) -> None:
    for left in passing.iterdir():
        if left.name not in (LOCK, UNFINISHED):
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def _move(passing: Path, folder: Path, there: bool) -> None:
    if not there:
        if folder.exists():
            folder.rmdir()  # which is empty
        passing.rename(folder)
        return
    folder.rename(passing / REPLACED)
    try:
        passing.rename(folder)
    except OSError:
        (passing / REPLACED).rename(folder)
        raise


def _take_away(replaced: Path) -> None:
    """Only what somebody put there in the moment of the move is kept."""
    try:
        if replaced.is_dir() and not replaced.is_symlink() and not remove_own(replaced):
            _log.warning("%s holds what Rethink did not write; it is kept there.", replaced)
    except OSError as error:
        _log.warning("%s cannot be taken away now (%s); the next export here does it.", replaced, error.strerror)
