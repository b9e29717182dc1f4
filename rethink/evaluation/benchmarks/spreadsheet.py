"""Read the rows of an .xlsx file's first sheet as texts and numbers. Formulas, styles and the rest are ignored."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ...errors import RethinkError

MOST_BYTES = 2**27  # of one part, unpacked
SHEET, STRINGS = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"


def read_sheet(file: Path) -> list[dict[str, Any]]:
    """One record per row, by the names in the first row. Empty cells are left out.

    Raises RethinkError for anything but such a file, and for one that is too large.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            strings = _strings(_part(archive, STRINGS)) if STRINGS in archive.namelist() else []
            rows = list(_rows(_part(archive, SHEET), strings))
    except (
        OSError,
        KeyError,
        ValueError,
        IndexError,
        zipfile.BadZipFile,
        ElementTree.ParseError,
        NotImplementedError,
    ) as error:
        if isinstance(error, RethinkError):
            raise
        raise RethinkError(f"results: {file} cannot be read as a spreadsheet: {error}.") from error
    head = {column: str(name) for column, name in rows[0].items()} if rows else {}
    return [{head[column]: value for column, value in row.items() if column in head} for row in rows[1:]]


def _part(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    with archive.open(name) as part:
        data = part.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise RethinkError(f"results: {archive.filename} is too large.")
    if b"<!" in data[:4096] and (b"<!DOCTYPE" in data or b"<!ENTITY" in data):
        raise RethinkError(f"results: {archive.filename} declares entities, which no spreadsheet does.")
    return ElementTree.fromstring(data)


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(element: ElementTree.Element) -> str:
    """All runs of a string without phonetic readings. XLSX writes characters that XML cannot hold as _x000D_."""
    runs = [child for child in element if _local(child) != "rPh"]
    parts = [each.text or "" for run in runs for each in run.iter() if _local(each) == "t"]
    return re.sub("_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), "".join(parts))


def _strings(root: ElementTree.Element) -> list[str]:
    return [_text(each) for each in root if _local(each) == "si"]


def _rows(root: ElementTree.Element, strings: list[str]) -> Iterator[dict[str, Any]]:
    """Every row: column letters → value."""
    for row in (each for each in root.iter() if _local(each) == "row"):
        cells = ((re.match("[A-Z]+", cell.get("r") or ""), _value(cell, strings)) for cell in row)
        yield {place[0]: value for place, value in cells if place and value is not None}


def _value(cell: ElementTree.Element, strings: list[str]) -> Any:
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return next((_text(each) for each in cell if _local(each) == "is"), None)
    text = next((each.text for each in cell if _local(each) == "v"), None)
    if text is None or kind == "e":
        return None
    if kind == "s":
        return strings[int(text)]
    if kind == "b":
        return text.strip() == "1"
    return float(text) if kind == "n" else text
