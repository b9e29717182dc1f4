"""Pairs from a table of paths and instructions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ...errors import RethinkError
from ...text_files import parse_json, show_name
from .core import ImportedPair, Skipped, read_text
from .dataset_folder import Dataset
from .tables import read_table


def read_table_pairs(
    folder: Path, tables: tuple[str, ...], *columns: tuple[str, ...], references: str = ""
) -> Iterator[ImportedPair | Skipped]:
    """The pairs of the first table that exists. columns: of the input, the target and the instruction, each with its
    alternative names. Of several inputs, the first is the input and the others are references. references: an optional
    column with more of them.

    Raises RethinkError where there is no table, or a column is missing."""
    dataset = Dataset(folder)
    table = next(filter(None, map(dataset.names().find, tables)), "")
    if not table:
        raise RethinkError(f"import: {folder} has no {' or '.join(tables)}; {dataset.contents()}.")
    for where, record in read_table(folder / table, *columns):
        try:
            if isinstance(record, RethinkError):
                raise record
            *images, prompt = (next((record[name] for name in names if record.get(name)), None) for names in columns)
            inputs, targets = map(_paths_of, images)
            if len(targets) > 1:
                raise RethinkError("it has several targets, where a pair has one")
            before, after = _locate_both(dataset, *(paths[0] if paths else "" for paths in (inputs, targets)))
            more = _paths_of(record.get(references)) if references else []
            further = [dataset.locate(path) for path in (*inputs[1:], *more)]
        except RethinkError as error:
            yield Skipped(f"{table}, {where}", str(error))
            continue
        name = after or before or f"{table}, {where}"
        input, target, *others = map(dataset.image, (before, after, *further))
        yield ImportedPair(name, input, target, partial(_instruction, prompt), tuple(others))


def _paths_of(value: object) -> list[str]:
    """The paths in a field; several are a list, which a CSV holds as JSON."""
    if isinstance(value, str) and value.startswith("["):
        value = parse_json(value)
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [read_text(each, "image's path").strip() for each in values]


def _locate_both(dataset: Dataset, before: str, after: str) -> tuple[str, str]:
    found = dataset.locate(before), dataset.locate(after)
    if before != after and found[0] == found[1]:
        raise RethinkError(f"both of its paths refer to “{show_name(after)}”")
    return found


def _instruction(prompt: object) -> tuple[str, str, str]:
    return read_text(prompt, "instruction"), "", ""
