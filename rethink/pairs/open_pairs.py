"""Open pairs on disk as a store: a store is opened as it is, a dataset in another layout is read into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ..errors import RethinkError
from .formats import get_format
from .formats.before_after import pair_folders
from .formats.core import ImportedPair, Skipped
from .formats.dataset_folder import Dataset
from .importing import Imported, OnSkip, import_entries
from .store import PairStore, is_store

# Layouts with a table or a zip come first: they also have folders like those of the last one. All other formats use one
# of these layouts.
TRIED = ("fal-zip", "imagefolder", "diffsynth", "instruct-pix2pix", "before-after")


def open_pairs(
    folder: Path,
    into: Path,
    after: Path | None = None,
    instruction: str = "",
    on_skip: OnSkip = lambda name, why: None,
) -> PairStore:
    """Open the store in `folder`, or read the dataset there into a store in `into`; its layout is found by trying.

    The store is limited to the pairs that `folder` has now. after: the folder of the images after the edit, where
    `folder` has those before it. instruction: for pairs that have none. on_skip: called with (name, reason) for every
    entry of the dataset that is not a pair. Raises RethinkError, with the most common reason, where there are no pairs.
    """
    if after is None and is_store(folder):
        return PairStore.open_existing(folder)
    why: Counter[str] = Counter()
    for place in filter(None, (folder, after)):
        if not place.exists():
            raise RethinkError(f"pairs: there is no {place}.")
    with PairStore(into).writing() as store:
        if after is not None:
            found, skipped = _read(store, pair_folders(Dataset(folder), Dataset(after)), why, instruction)
        else:
            tried = (_read(store, get_format(name).read(folder), why, instruction) for name in TRIED)
            found, skipped = next((each for each in tried if each[0]), (None, []))
    if found is None:
        contents = Dataset(folder).contents() if folder.is_dir() else "it is a file"
        reasons = "".join(f" (most common problem: {reason})" for reason, _ in why.most_common(1))
        raise RethinkError(
            f"pairs: {folder} has no pairs{reasons}; {contents}. Give a pair store, a folder with the subfolders “before” "
            "and “after”, or a folder of NAME_start and NAME_end images; images with the same name form a pair."
        )
    for name, reason in skipped:
        on_skip(name, reason)
    return found.only(store)


def _read(
    store: PairStore, entries: Iterable[ImportedPair | Skipped], why: Counter[str], instruction: str
) -> tuple[Imported | None, list[tuple[str, str]]]:
    """Import a layout's entries: the result, None where no entry is a pair, and (name, reason) for those that are not.
    why: also counts the reasons."""
    skipped: list[tuple[str, str]] = []

    def skip(name: str, reason: str) -> None:
        skipped.append((name, reason))
        why[reason] += 1

    try:
        found = import_entries(store, entries, skip, instruction)
    except (RethinkError, NotADirectoryError):  # it is in another layout
        return None, []
    return (found if found.ids else None), skipped
