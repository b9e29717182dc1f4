"""The zips of fal and Replicate. Both the declared and the unpacked size of an entry are limited."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from ...errors import RethinkError
from ...text_files import MOST_BYTES, decode_text, open_file, read_at_most, show_name, show_size
from .core import (
    MAX_IMAGE_BYTES,
    Example,
    Format,
    ImportedPair,
    Reader,
    Skipped,
    is_image,
    raise_missing,
    read_text,
)
from .dataset_folder import Names

SAFE_COMPRESSION = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # others can expand a few bytes to gigabytes at once
SIDES = ("_start", "_end")


def write_fal_zip(items: Iterable[Example], folder: Path, home: Path) -> int:
    """One zip of `ROOT_start.png`, `ROOT_end.png`, `ROOT.txt`; references are `ROOT_start2.png`, `ROOT_start3.png`, …"""
    count = 0
    with zipfile.ZipFile(folder / "pairs.zip", "w", strict_timestamps=False) as archive:
        for item in items:
            count += 1
            archive.write(item.input, f"{item.stem}_start{item.input.suffix}")
            for number, file in enumerate(item.references, 2):
                archive.write(file, f"{item.stem}_start{number}{file.suffix}")
            archive.write(item.target, f"{item.stem}_end{item.target.suffix}")
            archive.writestr(f"{item.stem}.txt", item.pair.instruction)
    return count


def read_fal_zip(path: Path) -> Iterator[ImportedPair | Skipped]:
    """A zip, or a folder of them, of `ROOT_start`, `ROOT_start2`, …, `ROOT_end` and `ROOT.txt`."""
    for place in sorted(path.glob("*.[zZ][iI][pP]")) if path.is_dir() else [path]:
        try:
            with open_file(place) as file, zipfile.ZipFile(file) as archive:
                yield from _zip_pairs(archive)
        except (RethinkError, OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            yield Skipped(place.name, f"the zip cannot be read: {show_name(error)}")


def _zip_pairs(archive: zipfile.ZipFile) -> Iterator[ImportedPair | Skipped]:
    entries = [name for name in archive.namelist() if not _is_hidden(name)]
    texts, images = Names(entries), {os.path.splitext(name)[0]: name for name in entries if is_image(name)}
    stems = Names(images)
    for stem in stems:
        side = next((side for side in SIDES if stem.casefold().endswith(side)), "")
        if not side:
            continue
        root = stem[: -len(side)]
        try:
            before, after = (images.get(stems.find(root + side)) for side in SIDES)
            if side == "_end" and before:
                continue  # it came with its start
            further = [images[name] for name in stems.find_references(f"{root}_start", f"{root}_end")]
            text = texts.find(f"{root}.txt")
        except RethinkError as error:
            yield Skipped(stem, str(error))
            continue
        input, target, *references = (_zip_reader(archive, name) for name in (before, after, *further))
        yield ImportedPair(root, input, target, partial(_zip_texts, archive, text), tuple(references))


def _is_hidden(name: str) -> bool:
    """Whether it is one of the metadata files that macOS packs next to every file."""
    return name.startswith("__MACOSX/") or os.path.basename(name).startswith(".")


def _zip_reader(archive: zipfile.ZipFile, name: str | None) -> Reader:
    return partial(_zip_bytes, archive, name, MAX_IMAGE_BYTES) if name else raise_missing


def _zip_texts(archive: zipfile.ZipFile, name: str) -> tuple[str, str, str]:
    text = decode_text(_zip_bytes(archive, name, MOST_BYTES), "its caption") if name else ""
    return read_text(text, "caption"), "", ""


def _zip_bytes(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    entry = archive.getinfo(name)
    try:
        if entry.file_size > most:
            raise RethinkError(f"it is larger than {show_size(most)}")
        if entry.compress_type not in SAFE_COMPRESSION:
            raise RethinkError("its compression is not supported; make a plain zip")
        with archive.open(entry) as file:
            return read_at_most(file, most)
    except Exception as error:  # whatever zipfile raises: truncated, encrypted, another file's bytes
        raise RethinkError(f"“{show_name(name)}” cannot be read: {show_name(error)}") from error


FORMAT = Format(
    name="fal-zip",
    title="fal and Replicate",
    target="in `pairs.zip`, `ROOT_end.png` is the TARGET, `ROOT_start.png` what the model gets as input.",
    use="upload `pairs.zip`.",
    write=write_fal_zip,
    read=read_fal_zip,
    references="`ROOT_start2.png`, `ROOT_start3.png`, …",
)
