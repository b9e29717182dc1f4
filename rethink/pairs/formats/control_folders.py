"""Two folders with the same stems, `target` with a caption per image, and `control`: what several trainers read."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from ...errors import RethinkError
from .core import Example, ImportedPair, Skipped, copy_image, read_text
from .dataset_folder import Dataset, Names


def write_folders(items: Iterable[Example], folder: Path, input: str = "control", target: str = "target") -> int:
    """`target/N.png` with `target/N.txt`, and `control/N.png`: next to each other, since trainers walk into subfolders."""
    count = 0
    for side in (target, input):
        (folder / side).mkdir()
    for item in items:
        count += 1
        copy_image(item.target, folder, target, item.stem)
        copy_image(item.input, folder, input, item.stem)
        (folder / target / f"{item.stem}.txt").write_text(item.pair.instruction, encoding="utf-8")
    return count


def read_folders(folder: Path) -> Iterator[ImportedPair | Skipped]:
    """`target` with a text file per image, and `control` with the same stems."""
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
        place, texts = f"target/{target}", partial(_caption, dataset, f"target/{stem}.txt")
        yield ImportedPair(place, dataset.image(before), dataset.image(place), texts)
    for stem in set(controls) - paired:
        yield Skipped(f"control/{controls[stem][0]}", "target has no image of this name")


def _caption(dataset: Dataset, path: str) -> tuple[str, str, str]:
    return read_text(dataset.text(path), "caption"), "", ""
