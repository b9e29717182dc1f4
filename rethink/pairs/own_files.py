"""Which files of a folder Rethink has made, so that nothing else is ever written over or taken away.

A list beside them holds the digest of each: one that was changed by hand since is no longer ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..atomic import atomic_write
from ..errors import RethinkError
from .text_files import MOST_TABLE, parse_record, read_bytes, show_name

LIST = ".rethink-files.json"  # hidden, so that no trainer takes it for one of its own
UNFINISHED, REPLACED = ".rethink-unfinished", ".rethink-replaced"  # see formats/exporting.py
DROPPINGS = {".DS_Store", "Thumbs.db", "desktop.ini"}  # of the system that shows a folder; it makes them anew
SHOWN = 3  # names in a sentence


def write_own(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Write files into a folder that may hold others. Returns the names of those that are somebody else's, and were left.

    Meanwhile the list holds the old digest and the new one, so that either is known after a kill.
    """
    known = _read_list(folder)
    theirs = [name for name in files if os.path.lexists(folder / name) and not _is_own(folder, name, known)]
    ours = {name: data for name, data in files.items() if name not in theirs}
    digests = {name: [hashlib.sha256(data).hexdigest()] for name, data in ours.items()}
    _write_list(folder, known | {name: known.get(name, []) + digest for name, digest in digests.items()})
    for name, data in ours.items():
        with atomic_write(folder / name) as passing:
            passing.write_bytes(data)
    _write_list(folder, known | digests)
    return theirs


def list_files(folder: Path, *without: str) -> None:
    """Note all files that are in a folder, except some, as ours."""
    _write_list(folder, {name: [_digest(folder / name)] for name in _contents(folder)[0] if name not in without})


def require_own(folder: Path, input: str) -> None:
    """Raises RethinkError saying what a folder holds that we did not make."""
    if folder.is_symlink() or not (folder / LIST).is_file():
        raise RethinkError(f"{input}: {folder} was not written by Rethink, and is left alone; choose another name.")
    known = _read_list(folder)
    files, folders = _contents(folder)
    homes = {parent.as_posix() for name in known for parent in Path(name).parents}
    others = [name for name in files if Path(name).name not in DROPPINGS and not _is_own(folder, name, known)]
    others += [f"{name}/" for name in folders if name not in homes]
    if others:
        shown = ", ".join(map(show_name, others[:SHOWN])) + (
            f" and {len(others) - SHOWN} more" if others[SHOWN:] else ""
        )
        raise RethinkError(
            f"{input}: {folder} holds what Rethink did not write, or what was changed since: {shown}. All is left as it is; "
            "move that away, or choose another name."
        )


def remove_own(folder: Path) -> bool:
    """Take away what is ours in a folder, and the folder where nothing else is left. Returns whether nothing is."""
    known = _read_list(folder)
    files, folders = _contents(folder)
    for name in files:
        if Path(name).name in DROPPINGS or _is_own(folder, name, known):
            (folder / name).unlink(missing_ok=True)
    for name in reversed(folders):
        with suppress(OSError):  # which is not empty
            (folder / name).rmdir()
    if any(_contents(folder)) or (folder / REPLACED).exists():
        return False
    (folder / LIST).unlink(missing_ok=True)
    folder.rmdir()
    return True


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """{name of a file: (bytes, when it was changed)}: what shows that nobody has touched a folder meanwhile."""
    found = {name: os.lstat(folder / name) for name in _contents(folder)[0]}
    return {name: (status.st_size, status.st_mtime_ns) for name, status in found.items()}


def _contents(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the files, links among them, and of the folders within a folder, the inner ones later; without those that
    tell how it stands with the folder."""
    files, folders = [], []
    for place, inner, names in os.walk(folder):
        base = Path(place).relative_to(folder)
        if not base.parts:
            inner[:] = [name for name in inner if name != REPLACED]
            names = [name for name in names if name not in (LIST, UNFINISHED)]
        for name in inner:
            (files if os.path.islink(os.path.join(place, name)) else folders).append((base / name).as_posix())
        files += [(base / name).as_posix() for name in names]
    return sorted(files), folders


def _is_own(folder: Path, name: str, known: Mapping[str, list[str]]) -> bool:
    is_file = stat.S_ISREG(os.lstat(folder / name).st_mode)
    return is_file and name in known and _digest(folder / name) in known[name]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def _read_list(folder: Path) -> dict[str, list[str]]:
    try:
        files = parse_record(read_bytes(folder / LIST, MOST_TABLE)).get("files")
    except RethinkError:  # there is none, or nothing can be made of it: then nothing is ours
        return {}
    return files if isinstance(files, dict) else {}


def _write_list(folder: Path, files: Mapping[str, list[str]]) -> None:
    with atomic_write(folder / LIST) as passing:
        passing.write_text(json.dumps({"files": files}), encoding="utf-8")
