"""Imports from archives: fal's zips and WebDataset's tars. What an entry says of its size is bounded before it is unpacked,
and so is what comes out."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ...errors import RethinkError
from ..text_files import MOST_BYTES, decode_text, open_file, parse_record, read_at_most, show_name, show_size
from .entries import MOST_IMAGE, ImportedPair, Reader, Skipped, is_image, missing, several, text_of
from .places import Names

PLAIN = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # others unpack a few bytes to gigabytes at once
SIDES = ("_start", "_end")


def read_fal_zip(path: Path) -> Iterator[ImportedPair | Skipped]:
    """A zip, or a folder of them, of `ROOT_start`, `ROOT_end` and `ROOT.txt`."""
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
            text = texts.find(f"{root}.txt")
        except RethinkError as error:
            yield Skipped(stem, str(error))
            continue
        if side == "_start" or not before:
            inputs = several if stems.find(f"{root}_start2") else _zip_reader(archive, before)
            yield ImportedPair(root, inputs, _zip_reader(archive, after), partial(_zip_texts, archive, text))


def _is_hidden(name: str) -> bool:
    """Whether it is a twin that a Mac packs beside every file."""
    return name.startswith("__MACOSX/") or os.path.basename(name).startswith(".")


def _zip_reader(archive: zipfile.ZipFile, name: str | None) -> Reader:
    return partial(_zip_bytes, archive, name, MOST_IMAGE) if name else missing


def _zip_texts(archive: zipfile.ZipFile, name: str) -> tuple[str, str, str]:
    text = decode_text(_zip_bytes(archive, name, MOST_BYTES), "its caption") if name else ""
    return text_of(text, "caption"), "", ""


def _zip_bytes(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    entry = archive.getinfo(name)
    try:
        if entry.file_size > most:
            raise RethinkError(f"it is larger than {show_size(most)}")
        if entry.compress_type not in PLAIN:
            raise RethinkError("it is packed in a way that is not unpacked here; pack it as a plain zip")
        with archive.open(entry) as file:
            return read_at_most(file, most)
    except Exception as error:  # whatever zipfile raises: torn, encrypted, another file's bytes
        raise RethinkError(f"“{show_name(name)}” cannot be read: {show_name(error)}") from error


def read_webdataset(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """Shards of `KEY.input`, `KEY.target`, `KEY.txt` and `KEY.json`."""
    for shard in sorted(folder.glob("*.tar")):
        try:
            with open_file(shard) as file, tarfile.open(fileobj=file, mode="r:") as archive:
                for key, parts in _by_key(archive):
                    sides = {ending.split(".")[0]: entry for ending, entry in parts.items() if is_image(f".{ending}")}
                    files = (_tar_reader(archive, sides.get(side)) for side in ("input", "target"))
                    yield ImportedPair(f"{shard.name}/{key}", *files, partial(_tar_texts, archive, parts))
        except Exception as error:  # whatever tarfile raises of headers that are none
            yield Skipped(shard.name, f"the rest of the tar cannot be read: {show_name(error)}")


def _by_key(archive: tarfile.TarFile) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Neighbours that share the name up to its first dot, as WebDataset groups them."""
    key, parts = "", {}
    while entry := archive.next():
        archive.members.clear()  # else all that it has passed is held in memory
        head, _, ending = os.path.basename(entry.name).partition(".")
        if not entry.isfile() or not head:  # a link, a device, a Mac's twin
            continue
        if parts and head != key:
            yield key, parts
            parts = {}
        key, parts[ending.lower()] = head, entry
    if parts:
        yield key, parts


def _tar_reader(archive: tarfile.TarFile, entry: tarfile.TarInfo | None) -> Reader:
    return partial(_tar_bytes, archive, entry, MOST_IMAGE) if entry else missing


def _tar_texts(archive: tarfile.TarFile, parts: dict[str, tarfile.TarInfo]) -> tuple[str, str, str]:
    text = decode_text(_tar_bytes(archive, parts["txt"], MOST_BYTES), "its caption") if "txt" in parts else ""
    notes = _notes(archive, parts.get("json"))
    captions = (notes.get(name) for name in ("input_caption", "target_caption"))
    return text_of(text, "caption"), *(caption if isinstance(caption, str) else "" for caption in captions)


def _notes(archive: tarfile.TarFile, entry: tarfile.TarInfo | None) -> dict:
    try:
        return parse_record(decode_text(_tar_bytes(archive, entry, MOST_BYTES))) if entry else {}
    except RethinkError:  # somebody else's notes
        return {}


def _tar_bytes(archive: tarfile.TarFile, entry: tarfile.TarInfo, most: int) -> bytes:
    try:
        if entry.issparse():
            raise RethinkError("it is a file with holes")
        if entry.size > most:
            raise RethinkError(f"it is larger than {show_size(most)}")
        return read_at_most(archive.extractfile(entry), most)
    except Exception as error:
        raise RethinkError(f"“{show_name(entry.name)}” cannot be read: {show_name(error)}") from error
