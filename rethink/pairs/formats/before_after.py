"""Images before and after an edit: two folders with equal names, or one folder in which the end of a name tells the
side. This is what people have who edited manually."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from ...errors import RethinkError
from ...text_files import show_name
from .control_folders import MARKS, group_by_stem, open_references, read_references, write_folders
from .core import Example, Format, ImportedPair, Skipped, is_image, read_text
from .dataset_folder import Dataset, Names

# Names of the before and the after side, as folders and as endings of file names.
SIDES = (
    *(("before", "after"), ("start", "end"), ("input", "target"), ("source", "edited"), ("control", "target")),
    *(("source", "target"), ("input", "output"), ("original", "edited")),
)
NUMBERED = re.compile(rf"(.+?)[{''.join(MARKS)}]?\d+")  # the stem of what looks like a reference
FOR_ALL = "instruction.txt"  # in the folder: the instruction of every pair without a text of its own


def write_before_after(items: Iterable[Example], folder: Path, home: Path) -> int:
    """`before/N.png`, and `after/N.png` with `after/N.txt`; references in `before-2`, `before-3`, …"""
    return write_folders(items, folder, "before", "after")


def read_before_after(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """Two folders side by side with any of the names in `SIDES`, otherwise one folder of `NAME_start`, `NAME_end` and,
    as references, `NAME_start2`, `NAME_start3`, …"""
    if folder.is_file():
        raise NotADirectoryError(folder)
    dataset = Dataset(folder)
    for before, after in SIDES:
        found = dataset.names().find(before), dataset.names().find(after)
        if all(found) and all((folder / name).is_dir() for name in found):
            yield from pair_folders(Dataset(folder / found[0]), Dataset(folder / found[1]), dataset)
            return
    yield from _pair_by_endings(dataset)


def pair_folders(before: Dataset, after: Dataset, around: Dataset | None = None) -> Iterator[ImportedPair | Skipped]:
    """Pair images with the same name in two folders; the text is beside either of them. around: the folder that holds
    the text for all pairs, and references in folders named like that of the inputs, with a number."""
    sides = [group_by_stem(dataset.images("")) for dataset in (before, after)]
    stems, paired = Names(sides[0]), set()
    further = open_references(around.folder, before.folder.name, after.folder.name) if around else []
    for stem, names in sorted(sides[1].items()):
        name = f"{after.folder.name}/{names[0]}"
        try:
            other = stems.find(stem)
            paired.add(other)
            if not other:
                raise RethinkError(f"{before.folder.name} has no image of this name")
            if max(len(names), len(sides[0][other])) > 1:
                raise RethinkError("there are several images of this name")
            references = tuple(read_references(further, stem))
        except RethinkError as error:
            yield Skipped(name, str(error))
            continue
        texts = [(after, f"{stem}.txt"), (before, f"{other}.txt"), *([(around, FOR_ALL)] if around else [])]
        input, target = before.image(sides[0][other][0]), after.image(names[0])
        yield ImportedPair(name, input, target, partial(_first_text, texts), references)
    for stem in sorted(set(sides[0]) - paired):
        yield Skipped(f"{before.folder.name}/{sides[0][stem][0]}", f"{after.folder.name} has no image of this name")


def _pair_by_endings(dataset: Dataset) -> Iterator[ImportedPair | Skipped]:
    images = group_by_stem(name for name in dataset.names() if is_image(name))
    stems, used = Names(images), {}  # stem of an input, or of a reference → that of the input
    for stem in stems:
        for root, after in _roots(stem):
            try:
                if not (other := stems.find(after)):
                    continue
                used |= dict.fromkeys((stem, *stems.find_numbered(stem, other, MARKS)), stem)
                names = stem, other, *stems.find_references(stem, other, MARKS)
                input, target, *references = (dataset.image(_single(images, name)) for name in names)
            except RethinkError as error:
                yield Skipped(root, str(error))
                continue
            texts = [(dataset, f"{name}.txt") for name in (root, other, stem)] + [(dataset, FOR_ALL)]
            yield ImportedPair(root, input, target, partial(_first_text, texts), tuple(references))
    inputs = Names(used.values())
    for stem in stems:
        match = NUMBERED.fullmatch(stem)
        if match and stem not in used and (input := inputs.find(match[1])):
            ending = re.split("[_-]", input)[-1]
            yield Skipped(
                images[stem][0], f"it belongs to no pair; references are called NAME_{ending}2, NAME_{ending}3, …"
            )


def _roots(stem: str) -> Iterator[tuple[str, str]]:
    """(name of a pair, stem of its target) for every pair that an input with this stem may belong to."""
    for before, after in SIDES:
        for mark in "_-":
            if stem.casefold().endswith(f"{mark}{before}"):
                root = stem[: -len(before) - 1]
                yield root, f"{root}{mark}{after}"


def _single(images: dict[str, list[str]], stem: str) -> str:
    if len(images[stem]) > 1:
        raise RethinkError(f"there are {len(images[stem])} images of the name “{show_name(stem)}”")
    return images[stem][0]


def _first_text(places: Iterable[tuple[Dataset, str]]) -> tuple[str, str, str]:
    """The text of the first of these files that exists."""
    texts = (read_text(dataset.text(path), "caption") for dataset, path in places)
    return next((text for text in texts if text.strip()), ""), "", ""


FORMAT = Format(
    name="before-after",
    title="Before and after",
    target="`after/` holds the TARGET with the instruction beside it, `before/` what the model gets as input.",
    use="`python -m rethink train-lora FOLDER`; images with the same name form a pair.",
    write=write_before_after,
    read=read_before_after,
    references="`before-2/`, `before-3/`, … hold them under the same names.",
)
