"""The images that pairs are made from: a folder, streamed, with their masks and boxes."""

from __future__ import annotations

import json
import math
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ...errors import RethinkError
from ...image_files import is_image_name, is_unsupported_image_name
from ...names import is_within
from ...progress import format_count
from ...text_files import MOST_TABLE, check_text, decode_text, read_bytes, show_name
from ..store import is_store

MAX_LISTED = 20  # names in one sentence
MAX_FRACTION = 1.5  # of the image; larger edges must be in pixels


@dataclass(frozen=True)
class NamedBox:
    """A place with its description: left, top, right, bottom as fractions of width and height; a noun phrase for it ("the
    man's face"); what can be seen there ("He has brown hair and round glasses.")."""

    box: tuple[float, float, float, float]
    place: str = ""
    hidden: str = ""

    def __post_init__(self):
        left, top, right, bottom = self.box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise RethinkError(
                f"boxes: expected left < right and top < bottom as fractions of 0…1, got {list(self.box)}."
            )


@dataclass(frozen=True)
class Source:
    """One image file. name: what the store calls it. mask: a mask file, or ""."""

    name: str
    path: str
    mask: str = ""
    boxes: tuple[NamedBox, ...] = ()


class Sources(Protocol):
    """Images, and (name, reason) for files that cannot be used. Can be iterated any number of times."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Source | tuple[str, str]]: ...


@dataclass(frozen=True)
class Coverage:
    """How many images of a run have a mask or boxes, and which masks and boxes belong to no image.

    images: how many there are. masked, boxed: how many have a mask, have boxes. neither: names of those with neither.
    unused_masks, unused_boxes: names that match no image; for the boxes file also names that match several.
    """

    images: int
    masked: int
    boxed: int
    neither: tuple[str, ...]
    unused_masks: tuple[str, ...] = ()
    unused_boxes: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = f"{self.masked} with a mask, {self.boxed} with boxes, {len(self.neither)} with neither"
        lines = [f"{format_count(self.images, 'image')}: {counts}{_list_names(self.neither)}."]
        if self.unused_masks:
            lines.append(
                f"{format_count(len(self.unused_masks), 'mask matches', 'masks match')} no image{_list_names(self.unused_masks)}."
            )
        if self.unused_boxes:
            count = len(self.unused_boxes)
            lines.append(
                f"{format_count(count, 'name in the boxes file matches', 'names in the boxes file match')} no image, or several{_list_names(self.unused_boxes)}."
            )
        return "\n".join(lines)


def coverage_of(sources: Iterable[Source | tuple[str, str]]) -> Coverage:
    """The Coverage of sources, without the unused names."""
    masked, boxed, neither, images = 0, 0, [], 0
    for source in sources:
        if isinstance(source, Source):
            images, masked, boxed = images + 1, masked + bool(source.mask), boxed + bool(source.boxes)
            if not (source.mask or source.boxes):
                neither.append(source.name)
    return Coverage(images, masked, boxed, tuple(neither))


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f": {', '.join(names[:MAX_LISTED])}{more}" if names else ""


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images with its subfolders. Every iteration walks it again; only the boxes are held in memory.

    masks: a folder with the same file names (any image extension), white where the subject is. boxes: {file name: boxes}.
    Names match regardless of case, slashes and Unicode form, unless that is ambiguous.
    """

    root: Path
    masks: Path | None = None
    boxes: Mapping[str, tuple[NamedBox, ...]] | None = None

    def __post_init__(self):
        for name, folder in (("images", self.root), ("masks", self.masks)):
            if folder is not None and not folder.is_dir():
                raise RethinkError(f"{name}: there is no folder {folder}.")
        if self.masks is not None and self.masks.samefile(self.root):
            raise RethinkError(f"masks: {self.masks} is the image folder itself; choose a folder of masks.")
        if next(iter(self), None) is None:
            raise RethinkError(f"images: {self.root} holds no images; add some, or choose another folder.")

    def __iter__(self) -> Iterator[Source | tuple[str, str]]:
        """Sources in a fixed order, and (name, reason) for image files that cannot be used."""
        boxes = self._boxes_by_name[0]
        masks = MaskFolder(self.masks) if self.masks else None
        for found in self._images():
            if isinstance(found, tuple):
                yield found
                continue
            path, name = found, _relative(found, self.root)
            mask, why = masks.find_mask(name) if masks else ("", "")
            why = why or (_refusal_of(mask, self.masks) if mask and self.masks else "")
            yield (name, f"its mask: {why}") if why else Source(name, path, mask, boxes.get(name, ()))

    def __len__(self) -> int:
        """How many images there are now; the folder is walked to count them."""
        return sum(1 for _ in self)

    def coverage(self) -> Coverage | None:
        """Which images have masks and boxes; None where there are neither."""
        if self.masks is None and not self.boxes:
            return None
        found = coverage_of(self)
        if self.masks is None:
            return replace(found, unused_boxes=self._boxes_by_name[1])
        used = {os.path.realpath(source.mask) for source in self if isinstance(source, Source) and source.mask}
        unused = (path for path in _walk(self.masks, _is_image) if os.path.realpath(path) not in used)
        return replace(
            found,
            unused_masks=tuple(_relative(path, self.masks) for path in unused),
            unused_boxes=self._boxes_by_name[1],
        )

    def _images(self) -> Iterator[str | tuple[str, str]]:
        """The paths of images, and (name, reason) for files that cannot be used."""
        unlisted: list[OSError] = []
        for folder, folders, files in os.walk(self.root, onerror=unlisted.append):
            if is_store(folder):  # maybe of this very run, which would then damage its own pairs forever
                yield _relative(folder, self.root), "it is a pair store, not a folder of images"
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if not (name.startswith(".") or self._is_masks(folder, name)))
            for link in filter(os.path.islink, (os.path.join(folder, name) for name in folders)):
                yield _relative(link, self.root), "it is a link to a folder, which is not followed"
            for file in sorted(files):
                path = os.path.join(folder, file)
                if file.startswith(".") or not _is_image(file):
                    continue
                why = _refusal_of(path, self.root) or (
                    is_unsupported_image_name(file) and "its format is not read here; save it as a PNG"
                )
                yield (_relative(path, self.root), why) if why else path
        for error in unlisted:
            yield _relative(error.filename, self.root), f"the folder cannot be read: {error.strerror}"

    def _is_masks(self, folder: str, name: str) -> bool:
        return self.masks is not None and name == self.masks.name and self.masks.samefile(os.path.join(folder, name))

    @cached_property
    def _boxes_by_name(self) -> tuple[dict[str, tuple[NamedBox, ...]], tuple[str, ...]]:
        """({name of an image: its boxes}, names in the boxes file that match no image, or several)."""
        if not self.boxes:
            return {}, ()
        names = [_relative(path, self.root) for path in self._images() if isinstance(path, str)]
        known, by_key = set(names), defaultdict(list)
        for name in names:
            for key in {normalize_name(name), normalize_name(os.path.splitext(name)[0])}:
                by_key[key].append(name)
        found, unused = {}, []
        for entry in sorted(self.boxes, key=lambda name: name not in known):  # the exact spellings first
            matches = [entry] if entry in known else by_key[normalize_name(entry)]
            if len(matches) == 1 and matches[0] not in found:
                found[matches[0]] = self.boxes[entry]
            else:
                unused.append(entry)
        return found, tuple(unused)


class MaskFolder:
    """Find the mask of an image by its name: in the same subfolder, under the same name, with any image extension. An
    exact spelling takes precedence."""

    def __init__(self, root: Path):
        self._root = root
        self._files: dict[str, list[str]] = {}  # of the last subfolder
        self._folder: str | None = None

    def find_mask(self, name: str) -> tuple[str, str]:
        """(path of the mask, ""), ("", why it is ambiguous), or ("", "") where there is none."""
        folder, _, file = name.rpartition("/")
        if folder != self._folder:
            self._folder, self._files = folder, self._list_files(folder)
        stem = os.path.splitext(file)[0]
        matches = self._files.get(normalize_name(stem), [])
        exact = [path for path in matches if os.path.splitext(os.path.basename(path))[0] == stem]
        matches = exact or matches
        if len({os.path.splitext(path)[0] for path in matches}) > 1:
            return (
                "",
                f"{' and '.join(os.path.basename(path) for path in matches)} differ in spelling alone; which is it?",
            )
        matches.sort(key=lambda path: _rank(path, file))
        return (matches[0] if matches else ""), ""

    def _list_files(self, folder: str) -> dict[str, list[str]]:
        found = defaultdict(list)
        for place in self._places(folder):
            for entry in _entries(place):
                if is_image_name(entry) and not entry.startswith("."):
                    found[normalize_name(os.path.splitext(entry)[0])].append(os.path.join(place, entry))
        return found

    def _places(self, folder: str) -> list[str]:
        """The subfolders of this name: in the exact spelling, otherwise in any."""
        places = [str(self._root)]
        for part in filter(None, folder.split("/")):
            inner = [(place, name) for place in places for name in _entries(place)]
            exact = [os.path.join(place, name) for place, name in inner if name == part]
            other = [os.path.join(place, name) for place, name in inner if normalize_name(name) == normalize_name(part)]
            places = [path for path in exact or other if os.path.isdir(path)]
        return places


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:  # no permission: its files count as missing
        return []


MASK_ENDINGS = (".png", ".jpg", ".webp", ".bmp", ".tif")  # in order of precedence


def _rank(mask: str, file: str) -> tuple:
    ending = os.path.splitext(mask)[1].lower()
    order = MASK_ENDINGS.index(ending) if ending in MASK_ENDINGS else len(MASK_ENDINGS)
    return order, os.path.splitext(file)[1].lower() != ending, mask


def _walk(root: str | Path, accepts: Callable[[str], bool]) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(folder, file) for file in sorted(files) if accepts(file) and not file.startswith("."))


def _is_image(name: str) -> bool:
    """Whether a file of this name is an image, of a supported format or not."""
    return is_image_name(name) or is_unsupported_image_name(name)


def normalize_name(name: str) -> str:
    """A file name regardless of case, kind of slashes and Unicode form."""
    return unicodedata.normalize("NFC", name.replace("\\", "/").removeprefix("./")).casefold()


def _relative(path: str, root: Path) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def _refusal_of(path: str, root: Path) -> str:
    """Why a file must not be opened, or ""."""
    if os.path.islink(path) and not is_within(path, root):
        return "it is a link that leads out of the folder"
    if not os.path.isfile(path):  # a pipe would block forever
        return "it is not a file"
    return ""


def read_boxes_file(path: str | Path) -> dict[str, tuple[NamedBox, ...]]:
    """A JSON file {file name: [{"box": [left, top, right, bottom], "place": …, "hidden": …}, …]}, boxes as in
    NamedBox, cut off at the edges of the image.

    Raises RethinkError naming the file, and the image whose boxes are invalid.
    """
    try:
        record = json.loads(decode_text(read_bytes(Path(path), MOST_TABLE), "it"), object_pairs_hook=_reject_duplicates)
    except (ValueError, RecursionError) as error:  # a RethinkError is a ValueError
        raise RethinkError(f"boxes: cannot read {path}: {error}") from error
    if not isinstance(record, dict):
        raise RethinkError(f'boxes: {path} holds no boxes; expected {{"name": [{{"box": [l, t, r, b]}}]}}.')
    return {name: _named_boxes(boxes, f"boxes: {path}: {name}") for name, boxes in record.items()}


def _reject_duplicates(pairs: list[tuple[str, object]]) -> dict:
    record = dict(pairs)
    if len(record) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise RethinkError(f"“{show_name(twice)}” appears twice; put all of its boxes into one list")
    return record


def _named_boxes(boxes, where: str) -> tuple[NamedBox, ...]:
    if not isinstance(boxes, list) or not all(isinstance(box, dict) for box in boxes):
        raise RethinkError(f'{where}: expected a list of boxes, [{{"box": [left, top, right, bottom]}}, …].')
    return tuple(_named_box(box, where) for box in boxes)


def _named_box(record: dict, where: str) -> NamedBox:
    box, words = record.get("box"), [record.get(key) or "" for key in ("place", "hidden")]
    if not all(isinstance(word, str) for word in words):
        raise RethinkError(f"{where}: expected text for place and hidden, got {show_name(words)}.")
    try:
        words = [check_text(word, "a place's text") for word in words]
    except RethinkError as error:
        raise RethinkError(f"{where}: {error}.") from error
    edges = _edges(box)
    if len(edges) != 4:
        raise RethinkError(
            f"{where}: expected a box of four numbers, [left, top, right, bottom], got {show_name(repr(box))}."
        )
    if max(edges) > MAX_FRACTION:
        raise RethinkError(
            f"{where}: {box} seems to be in pixels; divide left and right by the image's width, top and bottom by its height."
        )
    left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in edges)
    if not (left < right and top < bottom):
        raise RethinkError(
            f"{where}: {box} is not a box within the image; expected left < right and top < bottom, fractions of 0…1."
        )
    return NamedBox((left, top, right, bottom), *words)


def _edges(box) -> list[float]:
    """The four edges of a box; fewer where some are not numbers, so that the caller rejects it."""
    try:
        edges = [float(edge) for edge in box if isinstance(edge, (int, float)) and not isinstance(edge, bool)]
    except (TypeError, OverflowError):  # not a list; a number that is too large
        return []
    return [edge for edge in edges if math.isfinite(edge)] if len(edges) == len(box) else []
