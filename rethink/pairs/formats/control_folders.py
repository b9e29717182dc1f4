"""Two folders with the same stems, as several trainers read them: `target` with a caption per image, and `control`.
References are in further folders with the same stems, or numbered beside the input."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from ...errors import RethinkError
from .core import Example, ImportedPair, Reader, Skipped, copy_image, raise_missing, read_text
from .dataset_folder import Dataset, Names

MARKS = ("-", "_", "", " ")  # before the number of a folder of references
BESIDE = re.compile(r"(.+)_(\d+)")  # the stem of a reference that is numbered beside the input

# (folder of the input, its stem, number of the reference, from 1) → (folder of the reference, its stem)
PlaceReference = Callable[[str, str, int], tuple[str, str]]


def in_its_folder(side: str, stem: str, number: int) -> tuple[str, str]:
    """`control-2`, `control-3`, …: one folder for the first reference of every pair, one for the second, and so on."""
    return f"{side}-{number + 1}", stem


def beside_the_input(side: str, stem: str, number: int) -> tuple[str, str]:
    """`N_1`, `N_2`, … in the folder of the input."""
    return side, f"{stem}_{number}"


def write_folders(
    items: Iterable[Example],
    folder: Path,
    input: str = "control",
    target: str = "target",
    place: PlaceReference = in_its_folder,
) -> int:
    """`target/N.png` with `target/N.txt`, and `control/N.png`: side by side, since trainers walk into subfolders."""
    count = 0
    for item in items:
        count += 1
        write_pair(item, folder, input, target, place)
    return count


def write_pair(
    item: Example, folder: Path, input: str = "control", target: str = "target", place: PlaceReference = in_its_folder
) -> None:
    """One of the pairs of `write_folders`."""
    copy_image(item.target, folder, target, item.stem)
    copy_image(item.input, folder, input, item.stem)
    for number, file in enumerate(item.references, 1):
        copy_image(file, folder, *place(input, item.stem, number))
    (folder / target / f"{item.stem}.txt").write_text(item.pair.instruction, encoding="utf-8")


def reference_folders(folder: Path, input: str = "control", target: str = "target") -> list[str]:
    """`control-2`, `control-3`, … as `write_folders` made them."""
    found = Dataset(folder).names().find_numbered(input, target, MARKS)
    return [name for name in found if (folder / name).is_dir()]


def read_folders(folder: Path, numbered: bool = False) -> Iterator[ImportedPair | Skipped]:
    """`target` with a text file per image, and `control` with the same stems; references in `control-2`, …

    numbered: references are also in `control`, as in musubi-tuner: `N_0`, `N_1`, … belong to `N`, after `N` itself.
    """
    dataset = Dataset(folder)
    targets, controls = dataset.images("target"), group_by_stem(dataset.images("control"))
    beside = _numbered(controls, targets) if numbered else {}
    further = open_references(folder)
    stems, roots, paired = Names(controls), Names(beside), set()
    for target in targets:
        stem = os.path.splitext(target)[0]
        try:
            found = [each for each in (stems.find(stem), *beside.get(roots.find(stem), ())) if each]
            paired.update(found)
            inputs = [dataset.image(f"control/{single_name(controls, each, 'control')}") for each in found]
            inputs = (inputs or [raise_missing]) + read_references(further, stem)
        except RethinkError as error:
            yield Skipped(f"target/{target}", str(error))
            continue
        place, texts = f"target/{target}", partial(_caption, dataset, f"target/{stem}.txt")
        yield ImportedPair(place, inputs[0], dataset.image(place), texts, tuple(inputs[1:]))
    for stem in set(controls) - paired:
        yield Skipped(f"control/{controls[stem][0]}", "target has no image of this name")


def open_references(folder: Path, input: str = "control", target: str = "target") -> list[ReferenceFolder]:
    """The folders of references beside that of the inputs."""
    return [ReferenceFolder(folder / name) for name in reference_folders(folder, input, target)]


def read_references(folders: Iterable[ReferenceFolder], stem: str) -> list[Reader]:
    """Readers of the references of a pair, in order. Raises RethinkError where one is missing before a later one, which
    would be taken for it."""
    found: list[Reader] = []
    without = ""
    for folder in folders:
        readers = folder.readers(stem)
        if readers and without:
            raise RethinkError(f"{without} has no image of this name and {folder.name} has one; add what is missing")
        without = without or ("" if readers else folder.name)
        found += readers
    return found


class ReferenceFolder:
    """A folder with one reference for every pair, or for some, by the pair's stem."""

    def __init__(self, folder: Path):
        self.name = folder.name
        self._dataset = Dataset(folder)
        self._images = group_by_stem(self._dataset.images(""))
        self._stems = Names(self._images)

    def readers(self, stem: str) -> list[Reader]:
        """The reader of the image with this stem, where there is one. Raises RethinkError for several."""
        found = self._stems.find(stem)
        return [self._dataset.image(single_name(self._images, found, self.name))] if found else []


def group_by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """{stem: the names that have it}."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[os.path.splitext(name)[0]].append(name)
    return dict(found)


def single_name(images: dict[str, list[str]], stem: str, folder: str) -> str:
    """The one name of a stem. Raises RethinkError for several."""
    if len(images[stem]) > 1:
        raise RethinkError(f"{folder} has {len(images[stem])} images of this name")
    return images[stem][0]


def _numbered(controls: Iterable[str], targets: Iterable[str]) -> dict[str, list[str]]:
    """{stem of a target: the stems of its numbered controls, in order}, without those that belong to another target."""
    own = {os.path.splitext(target)[0] for target in targets}
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for stem in controls:
        match = BESIDE.fullmatch(stem)
        if match and stem not in own and match[1] in own:
            found[match[1]].append((int(match[2]), stem))
    return {root: [stem for _, stem in sorted(numbers)] for root, numbers in found.items()}


def _caption(dataset: Dataset, path: str) -> tuple[str, str, str]:
    return read_text(dataset.text(path), "caption"), "", ""
