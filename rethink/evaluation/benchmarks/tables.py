"""Read rows of a hub dataset on disk, parquet or Arrow, whose images are read when needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import RethinkError, lazy_import
from .core import LoadBytes

SUFFIXES = (".parquet", ".arrow")


def find_tables(folder: Path) -> list[Path]:
    """The table files in a folder or below it, sorted by name; a table file itself is the only one."""
    if folder.is_file():
        return [folder] if folder.suffix in SUFFIXES else []
    return sorted(file for suffix in SUFFIXES for file in folder.glob(f"**/*{suffix}") if not _is_cache(file))


def _is_cache(file: Path) -> bool:
    return file.name.startswith(("cache-", "."))  # left beside them by datasets itself


def read_rows(file: Path, images: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every row of a table, with a `LoadBytes` in each of the columns `images` that it has.

    Raises RethinkError for a file that is broken or cut off, and where pyarrow is not installed.
    """
    pyarrow = lazy_import("pyarrow")
    reader = _read_parquet if file.suffix == ".parquet" else _read_arrow
    try:
        yield from reader(file, images)
    except (pyarrow.ArrowException, OSError) as error:
        raise RethinkError(f"{file} is broken or was not downloaded completely: {error}.") from error


def _read_arrow(file: Path, images: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Memory-mapped, so that images take up memory only while they are used."""
    pyarrow, ipc = lazy_import("pyarrow"), lazy_import("pyarrow.ipc", "pyarrow")
    source = pyarrow.memory_map(str(file))
    try:
        table = ipc.open_stream(source).read_all()
    except pyarrow.ArrowInvalid:
        source.seek(0)
        table = ipc.open_file(source).read_all()
    plain = [name for name in table.column_names if name not in images]
    for number, row in enumerate(table.select(plain).to_pylist()):
        yield row | {
            name: _loader(partial(_cell, table, name, number), file) for name in images if name in table.column_names
        }


def _cell(table: Any, name: str, number: int) -> Any:
    return table.column(name)[number].as_py()


def _read_parquet(file: Path, images: Sequence[str]) -> Iterator[dict[str, Any]]:
    parquet = lazy_import("pyarrow.parquet", "pyarrow")
    names = parquet.read_schema(file).names
    opened = parquet.ParquetFile(file)
    groups = _RowGroups(file)
    for group in range(opened.num_row_groups):
        rows = opened.read_row_group(group, columns=[name for name in names if name not in images]).to_pylist()
        for number, row in enumerate(rows):
            cells = {name: partial(groups.cell, group, name, number) for name in images if name in names}
            yield row | {name: _loader(cell, file) for name, cell in cells.items()}


class _RowGroups:
    """A parquet file that keeps the last row group that was requested."""

    def __init__(self, file: Path):
        self._file, self._last = file, ((-1, ""), [])

    def cell(self, group: int, name: str, number: int) -> Any:
        place, column = self._last
        if place != (group, name):
            parquet = lazy_import("pyarrow.parquet", "pyarrow")
            column = parquet.ParquetFile(self._file).read_row_group(group, columns=[name]).column(name)
            self._last = ((group, name), column)
        return column[number].as_py()


def _loader(cell: Any, file: Path) -> LoadBytes:
    """The bytes of an image cell: bytes, or a record with bytes or with a path beside the table."""

    def load() -> bytes:
        value = cell()
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, str):
            value = (file.parent / Path(value).name).read_bytes()
        if not value:
            raise RethinkError("it has no image")
        return value

    return load
