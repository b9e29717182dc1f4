"""Imports: the layouts of other tools, read into a store. Nothing outside the dataset's folder is ever opened."""

from __future__ import annotations

import csv
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import RethinkError
from ..pictures import ENDINGS
from ..store import is_within, json_lines, stays_inside


@dataclass(frozen=True)
class Found:
    """A pair as another tool left it: how to read both files, the instruction, captions where there are any. `name`
    says where it was found."""

    name: str
    input: Callable[[], bytes]
    target: Callable[[], bytes]
    instruction: str
    input_caption: str = ""
    target_caption: str = ""


def read_imagefolder(folder: Path) -> Iterator[Found]:
    """`metadata.jsonl` with the columns that `write_imagefolder` writes."""
    for record in json_lines(folder / "metadata.jsonl", "import"):
        files = (record.get("input_image_file_name", ""), record.get("edited_image_file_name", ""))
        yield _from_files(folder, *files, record.get("edit_prompt", ""))


def read_instruct_pix2pix(folder: Path) -> Iterator[Found]:
    """A folder a pair of captions, with `prompt.json` and any number of `SEED_0.jpg` and `SEED_1.jpg`."""
    for place in sorted(path for path in folder.iterdir() if (path / "prompt.json").is_file()):
        prompt = _json(place / "prompt.json", dict)
        captions = prompt.get("caption") or prompt.get("input") or "", prompt.get("output") or ""
        for before in sorted(place.glob("*_0.jpg")):
            after = before.with_name(before.name.replace("_0.jpg", "_1.jpg"))
            files = (path.relative_to(folder).as_posix() for path in (before, after))
            yield _from_files(folder, *files, prompt.get("edit", ""), *captions)


def read_folders(folder: Path) -> Iterator[Found]:
    """`target` with a text a picture, and `control` with the same stems."""
    controls = {path.stem: path for path in _pictures(folder / "control")}
    for target in _pictures(folder / "target"):
        control = controls.get(target.stem)
        before, after = (path.relative_to(folder).as_posix() if path else "" for path in (control, target))
        text = _text(_opener(folder, os.path.splitext(after)[0] + ".txt"))
        yield _from_files(folder, before, after, text)


def read_diffsynth(folder: Path) -> Iterator[Found]:
    """A table of `image`, `prompt` and `edit_image` or `kontext_images`. Raises RethinkError where there is none."""
    for name in ("metadata.csv", "metadata.json", "metadata.jsonl"):
        if (folder / name).is_file():
            break
    else:
        raise RethinkError(f"import: {folder} has no metadata.csv, .json or .jsonl.")
    for record in _table(folder / name):
        before = record.get("edit_image") or record.get("kontext_images") or ""
        several = isinstance(before, list) and len(before) > 1
        before = before[0] if isinstance(before, list) and before else before
        found = _from_files(folder, before, record.get("image", ""), record.get("prompt", ""))
        yield replace(found, input=_several) if several else found


def read_fal_zip(path: Path) -> Iterator[Found]:
    """A zip, or a folder of them, of `ROOT_start`, `ROOT_end` and `ROOT.txt`. Raises RethinkError for one that is broken."""
    for place in sorted(path.glob("*.zip")) if path.is_dir() else [path]:
        try:
            with zipfile.ZipFile(place) as archive:
                names = {os.path.splitext(name)[0]: name for name in archive.namelist() if _is_picture(name)}
                for root in sorted(stem.removesuffix("_start") for stem in names if stem.endswith("_start")):
                    before, after = (_member(archive, names.get(f"{root}_{side}")) for side in ("start", "end"))
                    before = _several if f"{root}_start2" in names else before
                    yield Found(root, before, after, _text(_member(archive, f"{root}.txt")))
        except (OSError, zipfile.BadZipFile) as error:
            raise RethinkError(f"import: cannot read {place}: {error}") from error


def read_webdataset(folder: Path) -> Iterator[Found]:
    """Shards of `KEY.input`, `KEY.target`, `KEY.txt` and `KEY.json`. Raises RethinkError for one that is broken."""
    for shard in sorted(folder.glob("*.tar")):
        try:
            with tarfile.open(shard) as archive:
                for key, parts in _by_key(archive):
                    sides = {name.split(".")[0]: data for name, data in parts.items() if _is_picture(name)}
                    files = (_given(sides.get(side)) for side in ("input", "target"))
                    texts = _text(_given(parts.get("txt"))), *_captions(parts.get("json", b"{}"))
                    yield Found(f"{shard.name}/{key}", *files, *texts)
        except (OSError, tarfile.TarError) as error:
            raise RethinkError(f"import: cannot read {shard}: {error}") from error


def _captions(data: bytes) -> tuple[str, str]:
    try:
        record = json.loads(data)
        return str(record.get("input_caption") or ""), str(record.get("target_caption") or "")
    except (ValueError, AttributeError):  # somebody else's notes
        return "", ""


def _by_key(archive: tarfile.TarFile) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Neighbours that share the name up to its first dot, as WebDataset groups them."""
    key, parts = "", {}
    for entry in archive:
        if not entry.isfile():
            continue
        head, _, ending = os.path.basename(entry.name).partition(".")
        if parts and head != key:
            yield key, parts
            parts = {}
        key, parts[ending] = head, archive.extractfile(entry).read()
    if parts:
        yield key, parts


def _from_files(folder: Path, before, after, *texts) -> Found:
    """Whatever stands in somebody's table is taken for the text that it should be."""
    before, after, *texts = (str(text or "") for text in (before, after, *texts))
    return Found(after or before, _opener(folder, before), _opener(folder, after), *texts)


def _opener(folder: Path, relative: str) -> Callable[[], bytes]:
    def read() -> bytes:
        if not relative:
            raise RethinkError("one of the two pictures is missing")
        if not stays_inside(relative) or not is_within(folder / relative, folder):
            raise RethinkError(f"{relative!r} leads out of the dataset")
        try:
            return (folder / relative).read_bytes()
        except OSError as error:
            raise RethinkError(f"{relative!r} cannot be read: {error.strerror}") from error

    return read


def _member(archive: zipfile.ZipFile, name: str | None) -> Callable[[], bytes]:
    def read() -> bytes:
        if name is None:
            raise RethinkError("one of the two pictures is missing")
        try:
            return archive.read(name)
        except Exception as error:  # whatever zipfile raises: torn, encrypted, packed in a way it does not know
            raise RethinkError(f"{name!r} cannot be read: {error}") from error

    return read


def _text(read: Callable[[], bytes]) -> str:
    """What a file says; "" where there is none."""
    try:
        return read().decode("utf-8-sig", "replace").strip()
    except RethinkError:
        return ""


def _several() -> bytes:
    raise RethinkError("it has several inputs, where a pair has one")


def _given(data: bytes | None) -> Callable[[], bytes]:
    def read() -> bytes:
        if data is None:
            raise RethinkError("one of the two pictures is missing")
        return data

    return read


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise RethinkError(f"import: there is no folder {folder}.")
    return sorted(path for path in folder.iterdir() if _is_picture(path.name))


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in ENDINGS


def _table(path: Path) -> Iterable[dict]:
    if path.suffix == ".csv":
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                return list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise RethinkError(f"import: cannot read {path}: {error}") from error
    if path.suffix == ".jsonl":
        return json_lines(path, "import")
    return [record for record in _json(path, list) if isinstance(record, dict)]


def _json(path: Path, kind: type):
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise RethinkError(f"import: cannot read {path}: {error}") from error
    if not isinstance(found, kind):
        raise RethinkError(f"import: {path} holds no {kind.__name__}.")
    return found
