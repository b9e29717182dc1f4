"""Imports: the layouts of other tools, read into a store. Nothing outside the dataset's folder is ever opened."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ...errors import RethinkError
from ..text_files import parse_json, parse_record, show_name
from .entries import ImportedPair, Skipped, is_image, several, text_of
from .places import Dataset, Names
from .tables import read_table

TABLES = ("metadata.csv", "metadata.json", "metadata.jsonl")
INPUTS, IMAGE, PROMPT = ("edit_image", "kontext_images"), ("image",), ("prompt",)  # DiffSynth's columns


def read_imagefolder(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """A table with the columns that `write_imagefolder` writes."""
    before, after, prompt = "input_image_file_name", "edited_image_file_name", "edit_prompt"
    yield from _read_table(folder, TABLES[::-1], (before,), (after,), (prompt,))


def read_diffsynth(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """A table of `image`, `prompt` and `edit_image` or `kontext_images`."""
    yield from _read_table(folder, TABLES, INPUTS, IMAGE, PROMPT)


def _read_table(folder: Path, tables: tuple[str, ...], *columns: tuple[str, ...]) -> Iterator[ImportedPair | Skipped]:
    """The pairs of the first of the tables that is there. columns: of the input, the target and the instruction, each with
    its other names. Raises RethinkError where there is no table, or a column is missing."""
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
        images = map(dataset.image, (before, after))
        yield ImportedPair(after or before or f"{table}, {where}", *images, partial(_instruction, prompt))


def _path_of(value: object) -> str:
    """The path in a field; several are a list, in a CSV as JSON."""
    if isinstance(value, str) and value.startswith("["):
        value = parse_json(value)
    if isinstance(value, list):
        if len(value) > 1:
            several()
        value = value[0] if value else None
    return text_of(value, "image's path").strip()


def _locate_both(dataset: Dataset, before: str, after: str) -> tuple[str, str]:
    found = dataset.locate(before), dataset.locate(after)
    if before != after and found[0] == found[1]:
        raise RethinkError(f"both of its paths lead to “{show_name(after)}”")
    return found


def _instruction(prompt: object) -> tuple[str, str, str]:
    return text_of(prompt, "instruction"), "", ""


def read_instruct_pix2pix(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """A folder a pair of captions, with `prompt.json` and any number of `SEED_0.jpg` and `SEED_1.jpg`."""
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        dataset = Dataset(place)
        images = {os.path.splitext(name)[0]: name for name in dataset.names() if is_image(name)}
        seeds = dict.fromkeys(stem[:-2] for stem in sorted(images) if stem.endswith(("_0", "_1")))
        prompt = dataset.names().find("prompt.json")
        if prompt and not seeds:
            yield Skipped(place.name, "it has a prompt.json, but no image whose name ends in _0 or _1")
        for seed in seeds:
            before, after = (images.get(f"{seed}_{side}", "") for side in (0, 1))
            yield ImportedPair(
                f"{place.name}/{after or before}",
                *map(dataset.image, (before, after)),
                partial(_prompt, dataset, prompt),
            )


def _prompt(dataset: Dataset, name: str) -> tuple[str, str, str]:
    if not name:
        raise RethinkError("its folder has no prompt.json")
    try:
        record = parse_record(dataset.text(name))
    except RethinkError as error:
        raise RethinkError(f"its prompt.json cannot be read: {error}") from error
    captions = record.get("caption") or record.get("input"), record.get("output")
    return text_of(record.get("edit"), "instruction"), *(text_of(caption, "caption") for caption in captions)


def read_folders(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """`target` with a text an image, and `control` with the same stems."""
    dataset = Dataset(folder)
    targets, controls = dataset.images("target"), defaultdict(list)
    for name in dataset.images("control"):
        controls[os.path.splitext(name)[0]].append(name)
    stems, paired = Names(controls), set()
    for target in targets:
        stem = os.path.splitext(target)[0]
        try:
            paired.add(control := stems.find(stem))
            if len(names := controls.get(control, [""])) > 1:
                raise RethinkError(f"control has {len(names)} images of this name")
        except RethinkError as error:
            yield Skipped(f"target/{target}", str(error))
            continue
        before = names[0] and f"control/{names[0]}"
        texts = partial(_caption, dataset, f"target/{stem}.txt")
        yield ImportedPair(f"target/{target}", *map(dataset.image, (before, f"target/{target}")), texts)
    for stem in set(controls) - paired:
        yield Skipped(f"control/{controls[stem][0]}", "target has no image of this name")


def _caption(dataset: Dataset, path: str) -> tuple[str, str, str]:
    return text_of(dataset.text(path), "caption"), "", ""
