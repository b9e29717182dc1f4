"""Pairs as they lie on a person's disk, as a store: opened where it is one, else read into one."""

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

# Those with a table or a zip first, which also have folders like those of the last; other formats have one of these layouts.
TRIED = ("fal-zip", "imagefolder", "diffsynth", "instruct-pix2pix", "before-after")


def open_pairs(
    folder: Path,
    into: Path,
    after: Path | None = None,
    instruction: str = "",
    on_skip: OnSkip = lambda name, why: None,
) -> PairStore:
    """The store in `folder`, or of one in `into` what `folder` has now, in the layout of another tool, found by trying.

    after: the folder of the images after the edit, where `folder` has those before. instruction: of pairs that have none.
    on_skip: called with what is no pair of the dataset that is read, and why. Raises RethinkError where there are no pairs, with the commonest reason.
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
        reasons = "".join(f" (of what looks like one: {reason})" for reason, _ in why.most_common(1))
        raise RethinkError(
            f"pairs: {folder} holds no pair{reasons}; {contents}. Give a store of pairs, a folder with “before” and “after” in "
            "it, or one of NAME_start and NAME_end; images of the same name belong together."
        )
    for name, reason in skipped:
        on_skip(name, reason)
    return found.only(store)


def _read(
    store: PairStore, entries: Iterable[ImportedPair | Skipped], why: Counter[str], instruction: str
) -> tuple[Imported | None, list[tuple[str, str]]]:
    """What entries that a layout finds have brought, None where there is no pair among them; and (name, reason) of those that are
    none. why: the reasons are counted there too."""
    skipped: list[tuple[str, str]] = []

    def skip(name: str, reason: str) -> None:
        skipped.append((name, reason))
        why[reason] += 1

    try:
        found = import_entries(store, entries, skip, instruction)
    except (RethinkError, NotADirectoryError):  # it is in another layout
        return None, []
    return (found if found.ids else None), skipped
