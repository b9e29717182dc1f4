"""Import another tool's dataset into a store. Nothing outside the dataset's folder is ever opened."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import RethinkError, describe_error
from ..text_files import one_line
from .formats import get_format
from .formats.core import ImportedPair, Skipped
from .formats.dataset_folder import Dataset
from .pixels import read_pixels
from .store import EditPair, PairStore

OnSkip = Callable[[str, str], None]


@dataclass(frozen=True)
class Imported:
    """The result of an import. ids: of all its pairs that are in the store now. new: how many of them were added."""

    ids: tuple[str, ...]
    new: int
    skipped: int

    def only(self, store: PairStore) -> PairStore:
        """The store, limited to these pairs. It may hold others, from earlier or from another dataset."""
        return PairStore(store.folder, subset=self.ids)


def import_dataset(
    store: PairStore,
    name: str,
    path: str | Path,
    on_skip: OnSkip = lambda name, why: None,
    instruction: str = "",
) -> Imported:
    """Read a dataset in another layout into the store, which is held for writing.

    Pairs that are already in the store are not added again. What cannot be read is skipped; the reason goes to the
    store's report and to `on_skip(name, why)`. instruction: for pairs that have none. Raises RethinkError where the
    dataset has nothing in this layout.
    """
    path = Path(path)
    if not path.exists():
        raise RethinkError(f"import: there is no {path}.")
    try:
        found = import_entries(store, get_format(name).read(path), on_skip, instruction)
    except NotADirectoryError as error:
        raise RethinkError(f"import: {path} is a file; give the folder of the dataset.") from error
    if not (found.ids or found.skipped):
        contents = Dataset(path).contents() if path.is_dir() else "it is a file"
        raise RethinkError(
            f"import: {path} has no pairs in the layout {name}: {contents}; choose the layout that it has."
        )
    return found


def import_entries(
    store: PairStore, entries: Iterable[ImportedPair | Skipped], on_skip: OnSkip, instruction: str = ""
) -> Imported:
    """Read entries into the store, which is held for writing; see `import_dataset`."""
    ids: dict[str, None] = {}
    new = skipped = 0
    reported = {(record.get("source"), record.get("why")) for record in store.skipped}
    for entry in entries:
        try:
            pair, images = _read_pair(store, entry, instruction)
        except Exception as error:  # one bad entry never ends an import, whatever its image makes a library raise
            why = describe_error(error)
            if (entry.name, why) not in reported:
                store.skipped.append({"source": entry.name, "number": 0, "why": why})
            on_skip(entry.name, why)
            skipped += 1
            continue
        ids[pair.id] = None
        if pair.id in store:
            continue
        for relative, image in images.items():
            store.write_image(relative, image)
        store.add(pair)
        new += 1
    return Imported(tuple(ids), new, skipped)


def _read_pair(store: PairStore, entry: ImportedPair | Skipped, default: str) -> tuple[EditPair, dict[str, np.ndarray]]:
    """The pair, and {path in the store: image}."""
    if isinstance(entry, Skipped):
        raise RethinkError(entry.why)
    instruction, input_caption, target_caption = map(one_line, entry.texts())
    instruction = instruction or one_line(default)
    if not instruction:
        raise RethinkError("it has no instruction")
    before, after, *others = entry.input(), entry.target(), *(read() for read in entry.references)
    id = hashlib.sha256(before + after + instruction.encode() + b"".join(others)).hexdigest()[:16]
    roles = "input", "target", *(f"reference{number}" for number in range(2, len(others) + 2))
    input, target, *references = (store.image_path(id, role) for role in roles)
    images = {path: read_pixels(io.BytesIO(data)) for path, data in ((input, before), (target, after))}
    for number, (path, data) in enumerate(zip(references, others), 2):
        try:
            images[path] = read_pixels(io.BytesIO(data))
        except RethinkError as error:
            raise RethinkError(f"its image {number} {error}") from error
    pair = EditPair(
        *(id, input, target, instruction),
        source=entry.name,
        input_caption=input_caption,
        target_caption=target_caption,
        references=tuple(references),
    )
    return pair, images
