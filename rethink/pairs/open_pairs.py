"""Pairs as they lie on a person's disk, as a store: opened where it is one, else read into one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ..errors import RethinkError
from .formats import FORMATS
from .formats.before_after import pair_folders
from .formats.dataset_folder import Dataset
from .importing import import_dataset, import_entries
from .store import PairStore, is_store

TRIED = (
    "before-after",
    "fal-zip",
    "imagefolder",
    "diffsynth",
    "instruct-pix2pix",
)  # the others have these layouts, too


def open_pairs(folder: Path, into: Path, after: Path | None = None, instruction: str = "") -> PairStore:
    """The store in `folder`, or one in `into` with what `folder` has in the layout of another tool, found by trying.

    after: the folder of the images after the edit, where `folder` has those before. instruction: of pairs that have none.
    Raises RethinkError where there are no pairs, with the commonest reason.
    """
    if after is None and is_store(folder):
        return PairStore.open_existing(folder)
    why: Counter[str] = Counter()

    def skip(name: str, reason: str) -> None:
        why[reason] += 1

    for place in filter(None, (folder, after)):
        if not place.exists():
            raise RethinkError(f"pairs: there is no {place}.")
    with PairStore(into).writing() as store:
        if after is not None:
            found = any(import_entries(store, pair_folders(Dataset(folder), Dataset(after)), skip, instruction))
        else:
            found = any(_has_layout(store, name, folder, skip, instruction) for name in TRIED if name in FORMATS)
    if not found:
        contents = Dataset(folder).contents() if folder.is_dir() else "it is a file"
        raise RethinkError(
            f"pairs: {folder} holds no pairs: {contents}. Give a store of pairs, a folder with “before” and “after” in it, or one "
            "of NAME_start and NAME_end; images of the same name belong together."
        )
    if not any(True for _ in store):
        raise RethinkError(f"pairs: no pair of {folder} could be read: {why.most_common(1)[0][0]}.")
    return store


def _has_layout(store: PairStore, name: str, folder: Path, skip, instruction: str) -> bool:
    try:
        import_dataset(store, name, folder, skip, instruction)
    except RethinkError:
        return False
    return True
