"""Pairs from a table of paths and instructions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ...errors import RethinkError
from ...text_files import parse_json, show_name
from .core import ImportedPair, Skipped, raise_several, read_text
from .dataset_folder import Dataset
from .tables import read_table


def read_table_pairs(
    folder: Path, tables: tuple[str, ...], *columns: tuple[str, ...]
) -> Iterator[ImportedPair | Skipped]:
    """The pairs of the first table that exists. columns: of the input, the target and the instruction, each with its
    alternative names. Raises RethinkError where there is no table, or a column is missing."""
    dataset = Dataset(folder)
    table = next(filter(None, map(dataset.names().find, tables)), "")
    if not table:
        raise RethinkError(f"import: {folder} has no {' or '.join(tables)}; {dataset.contents()}.")
    for where, record in read_table(folder / table, *columns):
        try:
            if isinstance(record, RethinkError):
                raise record
            *paths, prompt = (next((record[name] for name in names if record.get(name)), None) for names in columns)
            before, after = _locate_both(dataset, *map(_path_of, paths))
        except RethinkError as error:
            yield Skipped(f"{table}, {where}", str(error))
            continue
        name = after or before or f"{table}, {where}"
        yield ImportedPair(name, dataset.image(before), dataset.image(after), partial(_instruction, prompt))


def _path_of(value: object) -> str:
    """The path in a field; several paths are a list, which a CSV holds as JSON."""
    if isinstance(value, str) and value.startswith("["):
        value = parse_json(value)
    if isinstance(value, list):
        if len(value) > 1:
            raise_several()
        value = value[0] if value else None
    return read_text(value, "image's path").strip()


def _locate_both(dataset: Dataset, before: str, after: str) -> tuple[str, str]:
    found = dataset.locate(before), dataset.locate(after)
    if before != after and found[0] == found[1]:
        raise RethinkError(f"both of its paths refer to “{show_name(after)}”")
    return found


def _instruction(prompt: object) -> tuple[str, str, str]:
    return read_text(prompt, "instruction"), "", ""
