"""Tables of other tools: CSV from any spreadsheet, JSON, JSON lines. A malformed row costs only that row."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any

from ...errors import RethinkError
from ...text_files import (
    MOST_TABLE,
    decode_text,
    parse_json,
    parse_piece,
    parse_record,
    read_bytes,
    show_name,
    text_lines,
)

SEPARATORS = ",;\t|"
MAX_ROW_LINES = 50  # of a CSV row: a quotation mark that is never closed would swallow all the rest
SAMPLE = 20  # records that tell which columns a table has
MAX_MALFORMED = 1000  # rows after which reading a table stops: recovering takes time
GAVE_UP = RethinkError(f"the table is malformed in more than {MAX_MALFORMED:,} places; the rest was not read")
NEXT_RECORD = re.compile(r"[\r\n][ \t]*\{")

Row = tuple[str, dict[str, Any] | RethinkError]


def read_table(path: Path, *columns: tuple[str, ...]) -> Iterator[Row]:
    """(location, record or why there is none) of every row.

    columns: those that are required, each with its alternative names; case and surrounding spaces do not matter.

    Raises RethinkError for a file that is not a table, or lacks a column.
    """
    known = {name for names in columns for name in names}
    try:
        rows = _csv_rows(path, known) if path.suffix.lower() == ".csv" else _json_rows(path)
        normalized = ((where, _normalize_names(record)) for where, record in rows)
        sample = list(islice(normalized, SAMPLE))
    except RethinkError as error:
        raise RethinkError(f"import: cannot read {path}: {error}.") from error
    records = [record for _, record in sample if isinstance(record, dict)]
    for names in columns:
        if records and not any(name in record for record in records for name in names):
            present = ", ".join(dict.fromkeys(show_name(name, 40) for record in records for name in record)) or "none"
            raise RethinkError(f"import: {path} has no column “{names[0]}”; it has: {present[:300]}.")
    return chain(sample, normalized)


def _normalize_names(record: dict | RethinkError) -> dict | RethinkError:
    if isinstance(record, RethinkError):
        return record
    return {name.strip().casefold(): value for name, value in record.items()}


def _csv_rows(path: Path, known: set[str]) -> Iterator[Row]:
    source = text_lines(path)
    lines = deque(islice(source, MAX_ROW_LINES))
    first = next((line for _, line in lines if isinstance(line, str) and line.strip()), "")
    if declared := re.fullmatch(r'"?sep=(.)"?\s*', first):  # as Excel writes it
        separator = declared[1]
        while lines and lines.popleft()[1] is not first:
            pass
    else:
        separator = max(SEPARATORS, key=lambda mark: _columns_in(first, mark, known))
    rows = _split_rows(lines, source, separator)
    number, header = next(rows, (1, []))
    if isinstance(header, RethinkError):
        raise RethinkError(f"its first line: {header}")
    for number, row in rows:
        yield f"line {number}", row if isinstance(row, RethinkError) else _record(header, row, separator)


def _columns_in(line: str, separator: str, known: set[str]) -> tuple[int, int]:
    names = [name.strip(' "\r\n').casefold() for name in line.split(separator)]
    return len(known.intersection(names)), len(names)


def _split_rows(lines: deque, source: Iterator, separator: str) -> Iterator[tuple[int, list[str] | RethinkError]]:
    """Split lines into rows. Where a row cannot be parsed, skip only its first line: the next row may begin after it."""
    malformed = 0
    while malformed <= MAX_MALFORMED:
        lines.extend(islice(source, MAX_ROW_LINES - len(lines)))
        if not lines:
            return
        number, row = lines[0]
        used = 1
        if isinstance(row, str):
            readable = takewhile(lambda text: isinstance(text, str), (text for _, text in lines))
            reader = csv.reader(readable, delimiter=separator, skipinitialspace=True, strict=True)
            try:
                row = next(reader)
                used = reader.line_num
            except csv.Error as error:
                malformed += 1
                row = (
                    RethinkError(f"its quotation marks do not match ({error})")
                    if malformed <= MAX_MALFORMED
                    else GAVE_UP
                )
        for _ in range(used):
            lines.popleft()
        if row:
            yield number, row


def _record(header: list[str], row: list[str], separator: str) -> dict | RethinkError:
    if any(row[len(header) :]):
        mark = {"\t": "tab", " ": "blank"}.get(separator, separator)
        return RethinkError(f"it has {len(row)} columns, not {len(header)}: put text with “{mark}” in quotation marks")
    return dict(zip(header, row))


def _json_rows(path: Path) -> Iterator[Row]:
    """A list of records, or one record per line, whatever the file's extension."""
    if path.suffix.lower() == ".jsonl":
        _, first = next(text_lines(path), (1, ""))
        if not (isinstance(first, str) and first.lstrip().startswith("[")):
            return _json_lines(path)
    try:
        text = decode_text(read_bytes(path, MOST_TABLE), "it")
    except RethinkError as error:
        if "larger" in str(error):
            raise
        return _json_lines(path)  # as many as can be read
    return _json_list(text) if text.lstrip().startswith("[") else _json_lines(path)


def _json_lines(path: Path) -> Iterator[Row]:
    for number, line in text_lines(path):
        if isinstance(line, str):
            if not (line := line.strip().removesuffix(",")):
                continue
            line = _or_reason(parse_record, line)
        yield f"line {number}", line


def _or_reason(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except RethinkError as error:
        return error


def _json_list(text: str) -> Iterator[Row]:
    records = _or_reason(parse_json, text)
    if not isinstance(records, list):
        yield from _json_pieces(text)
        return
    for number, record in enumerate(records, 1):
        yield f"record {number}", record if isinstance(record, dict) else RethinkError("it is not a record")


def _json_pieces(text: str) -> Iterator[Row]:
    """The records of a malformed list, one by one. After a malformed one, continue at the next line that begins one."""
    malformed, line, counted, place = 0, 1, 0, text.find("{")
    record: Any
    while place >= 0:
        line, counted = line + text.count("\n", counted, place), place
        try:
            record, end = parse_piece(text, place)
            place = text.find("{", end)
        except RethinkError as error:
            malformed += 1
            record, following = error, NEXT_RECORD.search(text, place)
            place = following.end() - 1 if following else -1
            if malformed > MAX_MALFORMED:
                record, place = GAVE_UP, -1
        yield f"line {line}", record
