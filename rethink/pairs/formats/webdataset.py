"""WebDataset shards: tars in which the files of a pair are adjacent."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from ...errors import RethinkError
from ...text_files import MOST_BYTES, decode_text, open_file, parse_record, read_at_most, show_name, show_size
from .core import MAX_IMAGE_BYTES, Example, Format, ImportedPair, Reader, Skipped, is_image, raise_missing, read_text
from .dataset_folder import Names

SHARD = 1000  # pairs


def write_webdataset(items: Iterable[Example], folder: Path, home: Path) -> int:
    """`pairs-000000.tar`, … with KEY.input.png, KEY.reference2.png, …, KEY.target.png, KEY.txt and KEY.json per pair."""
    count = 0
    shard = None
    with ExitStack() as stack:
        for item in items:
            count += 1
            if shard is None or item.number % SHARD == 0:
                stack.close()
                shard = stack.enter_context(tarfile.open(folder / f"pairs-{item.number // SHARD:06d}.tar", "w"))
            parts = {
                f"input{item.input.suffix}": item.input.read_bytes(),
                **{f"reference{n}{file.suffix}": file.read_bytes() for n, file in enumerate(item.references, 2)},
                f"target{item.target.suffix}": item.target.read_bytes(),
                "txt": item.pair.instruction.encode(),
                "json": json.dumps(item.pair.to_json()).encode(),
            }
            for ending, data in parts.items():
                entry = tarfile.TarInfo(f"{item.stem}.{ending}")
                entry.size = len(data)
                shard.addfile(entry, io.BytesIO(data))
    return count


def read_webdataset(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """Shards of `KEY.input`, `KEY.reference2`, …, `KEY.target`, `KEY.txt` and `KEY.json`."""
    for shard in sorted(folder.glob("*.tar")):
        try:
            with open_file(shard) as file, tarfile.open(fileobj=file, mode="r:") as archive:
                for key, parts in _by_key(archive):
                    yield _tar_pair(archive, f"{shard.name}/{key}", parts)
        except Exception as error:  # whatever tarfile raises for damaged headers
            yield Skipped(shard.name, f"the rest of the tar cannot be read: {show_name(error)}")


def _tar_pair(archive: tarfile.TarFile, name: str, parts: dict[str, tarfile.TarInfo]) -> ImportedPair | Skipped:
    sides = {ending.split(".")[0]: entry for ending, entry in parts.items() if is_image(f".{ending}")}
    try:
        names = "input", "target", *Names(sides).find_references("reference", "target")
    except RethinkError as error:
        return Skipped(name, str(error))
    before, after, *others = (_tar_reader(archive, sides.get(side)) for side in names)
    return ImportedPair(name, before, after, partial(_tar_texts, archive, parts), tuple(others))


def _by_key(archive: tarfile.TarFile) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Adjacent entries with the same name up to the first dot, as WebDataset groups them."""
    key, parts = "", {}
    while entry := archive.next():
        # Otherwise every entry read so far stays in memory. pyright's stubs lack the attribute.
        archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
        head, _, ending = os.path.basename(entry.name).partition(".")
        if not entry.isfile() or not head:  # a link, a device, metadata of macOS
            continue
        if parts and head != key:
            yield key, parts
            parts = {}
        key, parts[ending.lower()] = head, entry
    if parts:
        yield key, parts


def _tar_reader(archive: tarfile.TarFile, entry: tarfile.TarInfo | None) -> Reader:
    return partial(_tar_bytes, archive, entry, MAX_IMAGE_BYTES) if entry else raise_missing


def _tar_texts(archive: tarfile.TarFile, parts: dict[str, tarfile.TarInfo]) -> tuple[str, str, str]:
    text = decode_text(_tar_bytes(archive, parts["txt"], MOST_BYTES), "its caption") if "txt" in parts else ""
    metadata = _metadata(archive, parts.get("json"))
    before, after = (metadata.get(name) for name in ("input_caption", "target_caption"))
    return (
        read_text(text, "caption"),
        before if isinstance(before, str) else "",
        after if isinstance(after, str) else "",
    )


def _metadata(archive: tarfile.TarFile, entry: tarfile.TarInfo | None) -> dict:
    try:
        return parse_record(decode_text(_tar_bytes(archive, entry, MOST_BYTES))) if entry else {}
    except RethinkError:  # another tool's metadata
        return {}


def _tar_bytes(archive: tarfile.TarFile, entry: tarfile.TarInfo, most: int) -> bytes:
    try:
        if entry.issparse():
            raise RethinkError("it is a sparse file")
        if entry.size > most:
            raise RethinkError(f"it is larger than {show_size(most)}")
        return read_at_most(archive.extractfile(entry), most)
    except Exception as error:
        raise RethinkError(f"“{show_name(entry.name)}” cannot be read: {show_name(error)}") from error


FORMAT = Format(
    name="webdataset",
    title="WebDataset shards",
    target="`KEY.target.png` is the TARGET, `KEY.input.png` what the model gets as input.",
    use='`webdataset.WebDataset("pairs-{000000..N}.tar")`.',
    write=write_webdataset,
    read=read_webdataset,
    references="`KEY.reference2.png`, `KEY.reference3.png`, …",
)
