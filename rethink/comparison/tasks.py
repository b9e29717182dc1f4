"""The tasks to edit: images with instructions, from files, tensors, a folder, a table or pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RethinkError
from ..image_files import is_image_name
from ..images import as_image, load_image, load_mask, to_pixels
from ..pairs.formats.dataset_folder import Dataset
from ..pairs.store import EditPair, PairStore
from ..text_files import check_text, one_line, read_jsonl, show_name

if TYPE_CHECKING:
    from torch import Tensor

MAX_LISTED = 5  # names in one message
NAME_LENGTH = 16  # hex digits of the ids of tasks, sources and variants
CAPTIONS = (("source_caption", "input_caption"), ("edited_caption", "target_caption"))  # the names a table may use
Load = Callable[[], "Tensor"]


@dataclass(frozen=True)
class CompareTask:
    """One image and one instruction.

    id: by their content. source: identifies the image by its pixels; tasks on one image belong together. load: reads it, IMAGE
    [1, H, W, 3]. name: of the image, for people. captions: of the image before and after. load_target: the requested edit, if it
    is known; load_region: a mask [1, H, W], 1 where something may change. load_references: additional images for editors that take
    several.
    """

    id: str
    instruction: str
    source: str
    load: Load
    name: str = ""
    captions: tuple[str, str] | None = None
    load_target: Load | None = None
    load_region: Load | None = None
    load_references: tuple[Load, ...] = ()


def tasks_from_images(
    images: Sequence[tuple[str, Load]],
    instructions: Sequence[str],
    one_each: bool = False,
    captions: Sequence[tuple[str, str]] = (),
) -> list[CompareTask]:
    """Combine every image with every instruction, or with `one_each` the first with the first and so on. images: (name, loader).
    captions: with `one_each`, of every image before and after; may be left out.

    Raises RethinkError for an image that cannot be read, or if something is missing.
    """
    if not images:
        raise RethinkError("images: there are none to edit; give image files, or a folder of images.")
    if not instructions:
        raise RethinkError("instruction: say what to change, for example “make it snow”.")
    for name, values in (("instruction", instructions), ("source_caption", captions)):
        if one_each and len(values) != len(images) and (values or name == "instruction"):
            raise RethinkError(f"{name}: with one_each, give one for each image ({len(images)}); got {len(values)}.")
    if captions and not one_each:
        raise RethinkError("source_caption: captions require one instruction per image; turn on one_each.")
    loaded = [(name, load, digest_pixels(load())) for name, load in images]
    if one_each:
        texts = zip(loaded, instructions, captions or [None] * len(loaded))
        return without_doubles(_task(text, digest, load, name, both) for (name, load, digest), text, both in texts)
    return without_doubles(_task(text, digest, load, name) for name, load, digest in loaded for text in instructions)


def tasks_from_table(file: Path) -> list[CompareTask]:
    """Read JSON lines of {"image": path from the table's folder, "instruction": text}, optionally with "source_caption" and "edited_caption"."""
    tasks = []
    for number, record in enumerate(read_jsonl(file, "--tasks"), 1):
        image, text = record.get("image"), record.get("instruction")
        if not isinstance(image, str) or not isinstance(text, str):
            raise RethinkError(f"--tasks: record {number} of {file} needs “image” and “instruction”, both strings.")
        load = partial(load_image, file.parent / image, "--tasks")
        before, after = (next((record[name] for name in names if name in record), None) for names in CAPTIONS)
        both = (before, after) if isinstance(before, str) and isinstance(after, str) and before and after else None
        tasks.append(_task(text, digest_pixels(load()), load, image, both))
    if not tasks:
        raise RethinkError(f"--tasks: {file} has no lines; each line should be {{“image”: …, “instruction”: …}}.")
    return without_doubles(tasks)


def tasks_from_folder(folder: Path) -> list[CompareTask]:
    """Every image of a folder, by name, with the instruction in the text file of the same name: `a.jpg` and `a.txt`.

    Raises RethinkError naming the images without an instruction, and for an image or a text that cannot be read.
    """
    images, files = images_in([folder]), Dataset(folder)
    texts = [_instruction_of(files, name) for name, _ in images]
    without = [show_name(name) for (name, _), text in zip(images, texts) if not text]
    if without:
        more = f" and {len(without) - MAX_LISTED} more" if len(without) > MAX_LISTED else ""
        raise RethinkError(
            f"images: {len(without)} of {len(images)} in {folder} have no instruction: {', '.join(without[:MAX_LISTED])}{more}; "
            "write each into a text file with the image's name, such as a.txt for a.jpg."
        )
    return tasks_from_images(images, texts, one_each=True)


def tasks_from_pairs(store: PairStore, limit: int = 0) -> list[CompareTask]:
    """The accepted pairs of a store, the first `limit` of them (0: all), as tasks: input and instruction, with a known target."""
    tasks = []
    for pair in store.accepted():
        tasks.append(_task_of_pair(store, pair))
        if limit and len(tasks) == limit:
            break
    if not tasks:
        raise RethinkError(f"pairs: {store.folder} has no accepted pairs; choose another store, or accept some.")
    return without_doubles(tasks)


def images_in(paths: Iterable[Path]) -> list[tuple[str, Load]]:
    """The given image files and those in the given folders. Raises RethinkError for a path that is neither."""
    found = []
    for path in paths:
        if not path.exists():
            raise RethinkError(f"images: {path} does not exist; give image files, or folders of images.")
        files = [path] if path.is_file() else _images_of(path)
        if not files:
            raise RethinkError(f"images: {path} is a folder without images; choose another one.")
        found += [(file.name, partial(load_image, file, "images")) for file in files]
    return found


def _images_of(folder: Path) -> list[Path]:
    """The images of a folder, without hidden files such as those macOS leaves on other disks."""
    return sorted(each for each in folder.iterdir() if is_image_name(each.name) and not each.name.startswith("."))


def _instruction_of(files: Dataset, image: str) -> str:
    """The instruction of an image; "" if there is none."""
    name = f"{Path(image).stem}.txt"
    try:
        return files.text(name).strip()
    except RethinkError as error:
        raise RethinkError(f"images: the instruction in {files.folder / name}: {error}.") from error


def image_batches(batches: Iterable[Tensor]) -> Iterator[tuple[str, Load]]:
    """Images in memory, one by one, from IMAGE batches."""
    for number, image in enumerate((image for batch in batches for image in as_image(batch).split(1)), 1):
        yield f"image {number}", partial(_same, image)


def digest_pixels(image: Tensor) -> str:
    """A digest of an image's 8-bit pixels, whatever file it comes from."""
    pixels = to_pixels(image[0])
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()[:NAME_LENGTH]


def without_doubles(tasks: Iterable[CompareTask]) -> list[CompareTask]:
    """The tasks without duplicates of the same image and instruction."""
    return list({task.id: task for task in tasks}.values())


def _task(instruction: str, digest: str, load: Load, name: str, captions: tuple[str, str] | None = None) -> CompareTask:
    text = check_text(instruction.strip(), "instruction:")
    if not text:
        raise RethinkError("instruction: is empty; say what to change, for example “make it snow”.")
    id = hashlib.sha256(f"{digest}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()[:NAME_LENGTH]
    return CompareTask(id, text, digest, load, one_line(name), captions)


def _task_of_pair(store: PairStore, pair: EditPair) -> CompareTask:
    load = partial(load_image, store.file(pair.input), "pairs")
    both = (pair.input_caption, pair.target_caption) if pair.input_caption and pair.target_caption else None
    task = _task(pair.instruction, digest_pixels(load()), load, pair.source or pair.id, both)
    references = tuple(partial(load_image, store.file(path), "pairs") for path in pair.references)
    return replace(
        task,
        id=_with_references(task.id, references),
        load_target=partial(load_image, store.file(pair.target), "pairs"),
        load_region=partial(load_mask, store.file(pair.region), "pairs") if pair.region else None,
        load_references=references,
    )


def _with_references(id: str, references: Sequence[Load]) -> str:
    """The id of a task with reference images: other references make another task."""
    if not references:
        return id
    digests = " ".join(digest_pixels(load()) for load in references)
    return hashlib.sha256(f"{id} {digests}".encode()).hexdigest()[:NAME_LENGTH]


def _same(image: Tensor) -> Tensor:
    return image
