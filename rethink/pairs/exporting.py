"""Export a store as a dataset for another tool, with a README and a contact sheet. The store itself gets both too."""

from __future__ import annotations

import io
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from ..errors import RethinkError, reason_of
from ..progress import format_count
from ..text_files import show_name
from .contact_sheet import contact_sheet
from .formats import FORMATS, get_format
from .formats.core import Example, Format
from .jsonl_log import disk_full_as_error
from .own_files import write_own
from .store import EditPair, PairStore
from .whole_folder import whole_folder

SHEET_PAIRS = 12  # on the contact sheet
_log = logging.getLogger(__name__)


def export(
    store: PairStore,
    name: str,
    folder: str | Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    replace: bool = False,
) -> int:
    """Write the accepted pairs to a new folder, with a README and a contact sheet. Returns how many.

    Pairs with references are left out where the layout has no place for them: without the references, they would teach
    the model to make things up. `describe_references` reports this.

    The folder appears once it is complete. With `replace`, it may take the place of an earlier export that nobody has
    changed. An exception from `on_progress(done, total)` ends the export. Raises RethinkError where anything else is
    there, or no pair is accepted.
    """
    format, folder = get_format(name), Path(os.path.abspath(folder))
    try:
        with whole_folder(folder, replace) as temporary:
            total, references = _count_complete(store, format), describe_references(store, name)
            if not total:
                why = references or "there is no accepted pair to write; see `inspect`, or loosen the filter."
                raise RethinkError(f"export: {why}")
            count = format.write(_examples(store, format, lambda done: on_progress(done, total)), temporary, folder)
            pairs = partial(_writable, store, format)
            files = _describe(store, pairs, format.title, format.target, format.use, references)
            for file, data in files.items():
                (temporary / file).write_bytes(data)
    except OSError as error:
        raise RethinkError(
            f"export: cannot write {folder}: {reason_of(error)}; close the program that has it open, or choose another "
            "folder."
        ) from error
    return count


def describe_references(store: PairStore, name: str) -> str:
    """A sentence about references in a format: where they are, or how many pairs are left out because they have some.
    "" where no accepted pair has any."""
    format = get_format(name)
    count = sum(bool(pair.references) for pair in store.accepted())
    if not count or format.references:
        return f"References of {format_count(count, 'pair')}: {format.references}" if count else ""
    others = ", ".join(other for other, each in FORMATS.items() if each.references)
    return (
        f"{format_count(count, 'pair with references is', 'pairs with references are')} left out: "
        f"the layout {format.name} has one input per pair; {others} have room for references."
    )


def count_references(pairs: Iterable[EditPair]) -> str:
    """How many pairs have how many references, in one or two sentences. "" where no pair has any."""
    counts = Counter(len(pair.references) for pair in pairs)
    if not any(counts):
        return ""
    parts = (
        f"{pairs} {'pairs have' if pairs > 1 else 'pair has'} {count or 'none'}"
        for count, pairs in sorted(counts.items())
    )
    mixed = " Reject pairs whose instruction mentions an image that they do not have." if counts[0] else ""
    return f"References: {', '.join(parts)}.{mixed}"


def _writable(store: PairStore, format: Format) -> Iterator[EditPair]:
    """The accepted pairs that the layout has room for."""
    return (pair for pair in store.accepted() if format.references or not pair.references)


def _count_complete(store: PairStore, format: Format) -> int:
    """The number of pairs to write. Raises RethinkError for a missing image, which would stop a trainer after hours."""
    count = 0
    for pair in _writable(store, format):
        count += 1
        for path in (pair.input, *pair.references, pair.target):
            if not store.file(path).is_file():
                raise RethinkError(
                    f"export: {store.folder / path} of pair {pair.id} is missing; run `filter` to reject it."
                )
    return count


def _examples(store: PairStore, format: Format, on_count: Callable[[int], None]) -> Iterator[Example]:
    """The pairs to write, numbered from 0. on_count: called with the number consumed so far. Raises RethinkError for
    an image outside the store."""
    for number, pair in enumerate(_writable(store, format)):
        references = tuple(map(store.file, pair.references))
        yield Example(pair, number, store.file(pair.input), store.file(pair.target), references)
        on_count(number + 1)


def describe_store(store: PairStore) -> None:
    """Write a README and a contact sheet into the store itself. A user's own files of these names stay, with a warning."""
    files = _describe(
        store,
        lambda: iter(store),
        "Rethink's own pair store",
        "in every line of `manifest.jsonl`, `target` is the real image, the TARGET; `input` is what the model gets.",
        "export it first: `python -m rethink export STORE FORMAT FOLDER`, where FORMAT is one of "
        f"{', '.join(FORMATS)}.",
    )
    with disk_full_as_error(store.folder):
        foreign = write_own(store.folder, files)
    if foreign:
        _log.warning("%s already has its own %s, which will not be overwritten.", store.folder, " and ".join(foreign))


def _describe(
    store: PairStore, pairs: Callable[[], Iterator[EditPair]], title: str, target: str, use: str, references: str = ""
) -> dict[str, bytes]:
    """{name: contents} of a README and, where there are pairs, a contact sheet. pairs: gives a new iterator per call, so
    that a large store is never held in memory. references: a sentence about them, or ""."""
    kinds = Counter(pair.operation or "other" for pair in pairs())
    count = kinds.total()
    lines = [
        f"# {count} edit pairs",
        "",
        f"Layout: {title}.",
        "",
        f"**Which is the target:** {target}",
        "",
        *([references, ""] if references else []),
        f"Training: {use}",
        "",
        "![some of the pairs](contact-sheet.jpg)",
        "",
        "| operation | pairs |",
        "|---|---|",
        *(f"| {show_name(kind)} | {count} |" for kind, count in kinds.most_common()),
        "",
        "Made with Rethink.",
        "",
    ]
    files = {"README.md": "\n".join(lines).encode()}
    if count:
        sheet = io.BytesIO()
        spaced = islice(pairs(), 0, None, max(1, count // SHEET_PAIRS))
        contact_sheet(store, islice(spaced, SHEET_PAIRS)).save(sheet, "JPEG", quality=88)
        files["contact-sheet.jpg"] = sheet.getvalue()
    return files


def add_to_store(pairs: PairStore, folder: Path) -> int:
    """Add the accepted pairs, and all verdicts, to the pair store in a folder, new or existing. Returns how many are new."""
    with PairStore(folder).writing() as store:
        new = store.merge_from(pairs)
        describe_store(store)
    return new
