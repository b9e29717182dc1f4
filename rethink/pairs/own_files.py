"""Keep track of the files that Rethink wrote into a folder, so that nothing else is ever overwritten or removed.

A list next to them holds the digest of each. A file that a user has edited is no longer ours.
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
from ..text_files import MOST_TABLE, parse_record, read_bytes, show_name

LIST = ".rethink-files.json"  # hidden, so that no trainer reads it
UNFINISHED, REPLACED = ".rethink-unfinished", ".rethink-replaced"  # see whole_folder.py
SYSTEM_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}  # file managers create them again
MAX_LISTED = 3  # names in a sentence


def write_own(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Write files into a folder that may hold others. Returns the names of those that are not ours and were left alone.

    During the write the list holds both the old and the new digest, so that either file is recognized after a kill.
    """
    known = _read_list(folder)
    foreign = [name for name in files if os.path.lexists(folder / name) and not _is_own(folder, name, known)]
    ours = {name: data for name, data in files.items() if name not in foreign}
    digests = {name: [hashlib.sha256(data).hexdigest()] for name, data in ours.items()}
    _write_list(folder, known | {name: known.get(name, []) + digest for name, digest in digests.items()})
    for name, data in ours.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(data)
    _write_list(folder, known | digests)
    return foreign


def list_files(folder: Path, *without: str) -> None:
    """Record all files in a folder as ours, except those named."""
    _write_list(folder, {name: [_digest(folder / name)] for name in _contents(folder)[0] if name not in without})


def require_own(folder: Path, input: str) -> None:
    """Raise RethinkError naming the files in a folder that are not ours. input: the name that begins the message."""
    if folder.is_symlink() or not (folder / LIST).is_file():
        raise RethinkError(
            f"{input}: {folder} was not written by Rethink and will not be changed; choose another name."
        )
    known = _read_list(folder)
    files, folders = _contents(folder)
    homes = {parent.as_posix() for name in known for parent in Path(name).parents}
    others = [name for name in files if Path(name).name not in SYSTEM_FILES and not _is_own(folder, name, known)]
    others += [f"{name}/" for name in folders if name not in homes]
    if others:
        listed = ", ".join(map(show_name, others[:MAX_LISTED])) + (
            f" and {len(others) - MAX_LISTED} more" if others[MAX_LISTED:] else ""
        )
        raise RethinkError(
            f"{input}: {folder} holds files that Rethink did not write, or that were changed since: {listed}. "
            "Nothing was touched; move them away, or choose another name."
        )


def remove_own(folder: Path) -> bool:
    """Remove our files from a folder, and the folder itself where nothing else is left. Returns whether it is gone."""
    known = _read_list(folder)
    files, folders = _contents(folder)
    for name in files:
        if Path(name).name in SYSTEM_FILES or _is_own(folder, name, known):
            (folder / name).unlink(missing_ok=True)
    for name in reversed(folders):
        with suppress(OSError):  # it is not empty
            (folder / name).rmdir()
    if any(_contents(folder)) or (folder / REPLACED).exists():
        return False
    (folder / LIST).unlink(missing_ok=True)
    folder.rmdir()
    return True


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """{name of a file: (size in bytes, modification time)}, to detect changes to a folder."""
    found = {name: os.lstat(folder / name) for name in _contents(folder)[0]}
    return {name: (status.st_size, status.st_mtime_ns) for name, status in found.items()}


def _contents(folder: Path) -> tuple[list[str], list[str]]:
    """(names of files, links among them; names of folders, inner ones later) in a folder, without our own markers."""
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
    except RethinkError:  # missing or damaged: then nothing is ours
        return {}
    return files if isinstance(files, dict) else {}


def _write_list(folder: Path, files: Mapping[str, list[str]]) -> None:
    with atomic_write(folder / LIST) as temporary:
        temporary.write_text(json.dumps({"files": files}), encoding="utf-8")
