"""Models that are folders, found in ComfyUI's model folders as its own loaders find theirs: at any depth, and through
links, which whoever keeps the machine has put there."""

import os
from collections.abc import Iterator
from pathlib import Path

import folder_paths

from ...rethink.model_files import model_name, snapshot_of

DEEPEST = 8  # levels below a root


def find_folders(kind: str, index: str) -> dict[str, Path]:
    """Name → folder of everything of a kind that has the file `index`.

    The name is the way from the root, “owner/name”, and in the hub's cache (models--owner--name) the name on the hub. Of
    two with one name the first root's counts, as for ComfyUI's files. A workflow's names are looked up here, so that
    none leads anywhere else.
    """
    found: dict[str, Path] = {}
    for base in map(Path, folder_paths.get_folder_paths(kind)):
        for folder in _walk(base, index):
            snapshot = snapshot_of(folder)
            if (snapshot / index).is_file():  # and no broken link
                found.setdefault(_name(folder, base), snapshot)
    return {name: found[name] for name in sorted(found)}


def _name(folder: Path, base: Path) -> str:
    return model_name(folder) if folder.name.startswith("models--") else folder.relative_to(base).as_posix()


def _walk(base: Path, index: str) -> Iterator[Path]:
    """Every folder in `base` but hidden ones, what lies within models, and ways that go in circles."""
    waiting = [(base, ())]
    while waiting:
        folder, above = waiting.pop(0)
        real = os.path.realpath(folder)
        if real in above or len(above) > DEEPEST:
            continue
        if folder != base:
            yield folder
        if snapshot_of(folder) != folder or any((folder / name).is_file() for name in (index, "model_index.json")):
            continue
        try:
            inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError:  # it is not there, or not to be read
            continue
        waiting += [(path, (*above, real)) for path in inner]
