"""The pictures that pairs are made from: a folder, streamed, and what is known of where to work in each."""

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
from ...text_files import MOST_TABLE, check_text, decode_text, read_bytes, show_name
from ..store import is_store

LISTED = 20  # names in one sentence
MOST_OUTSIDE = 1.5  # as a share of the picture; larger edges are no shares


@dataclass(frozen=True)
class NamedBox:
    """A place that somebody named: left, top, right, bottom as shares of width and height; what it is called ("the
    man's face"); what is to be seen there ("He has brown hair and round glasses.")."""

    box: tuple[float, float, float, float]
    place: str = ""
    hidden: str = ""

    def __post_init__(self):
        left, top, right, bottom = self.box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise RethinkError(f"boxes: expected left < right and top < bottom as shares of 0…1, got {list(self.box)}.")


@dataclass(frozen=True)
class Source:
    """One picture file. name: what the store calls it. mask: a mask file, or ""."""

    name: str
    path: str
    mask: str = ""
    boxes: tuple[NamedBox, ...] = ()


class Sources(Protocol):
    """Images, and (name, reason) for what cannot be one: counted, and walked through as often as it takes."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Source | tuple[str, str]]: ...


@dataclass(frozen=True)
class Coverage:
    """What is known of where to work in the images of a run, and what of it no image has the name for.

    images: how many there are; masked, boxed: with a mask, with boxes; neither: names of those with neither.
    unused_masks, unused_boxes: names that no image goes by; in a boxes file, or that several go by.
    """

    images: int
    masked: int
    boxed: int
    neither: tuple[str, ...]
    unused_masks: tuple[str, ...] = ()
    unused_boxes: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = f"{self.masked} with a mask, {self.boxed} with boxes, {len(self.neither)} with neither"
        lines = [f"{self.images} pictures: {counts}{_listed(self.neither)}."]
        if self.unused_masks:
            lines.append(f"{len(self.unused_masks)} masks fit no picture{_listed(self.unused_masks)}.")
        if self.unused_boxes:
            count = len(self.unused_boxes)
            lines.append(f"{count} names in the boxes file fit no picture, or several{_listed(self.unused_boxes)}.")
        return "\n".join(lines)


def coverage_of(sources: Iterable[Source | tuple[str, str]]) -> Coverage:
    """The Coverage of sources, without what is unused."""
    masked, boxed, neither, images = 0, 0, [], 0
    for source in sources:
        if isinstance(source, Source):
            images, masked, boxed = images + 1, masked + bool(source.mask), boxed + bool(source.boxes)
            if not (source.mask or source.boxes):
                neither.append(source.name)
    return Coverage(images, masked, boxed, tuple(neither))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f": {', '.join(names[:LISTED])}{more}" if names else ""


@dataclass(frozen=True)
class ImageFolder:
    """A folder of pictures with its subfolders. It is walked whenever it is iterated, and nothing of it is kept in memory
    but what the masks and boxes are of.

    masks: a folder with the same file names (any picture ending), white where the subject is. boxes: {file name: boxes}.
    Names are the same whatever their case, their slashes and the form of their accents, where that leaves no doubt.
    """

    root: Path
    masks: Path | None = None
    boxes: Mapping[str, tuple[NamedBox, ...]] | None = None

    def __post_init__(self):
        for name, folder in (("images", self.root), ("masks", self.masks)):
            if folder is not None and not folder.is_dir():
                raise RethinkError(f"{name}: there is no folder {folder}.")
        if self.masks is not None and self.masks.samefile(self.root):
            raise RethinkError(
                f"masks: {self.masks} is the folder of the pictures themselves; choose one of masks alone."
            )
        if next(iter(self), None) is None:
            raise RethinkError(f"images: {self.root} holds no picture; put some into it, or choose another folder.")

    def __iter__(self) -> Iterator[Source | tuple[str, str]]:
        """Sources in a fixed order, and (name, reason) for picture files that must not be read."""
        boxes = self._boxes_by_name[0]
        masks = MaskFolder(self.masks) if self.masks else None
        for found in self._images():
            if isinstance(found, tuple):
                yield found
                continue
            path, name = found, _relative(found, self.root)
            mask, why = masks.mask_of(name) if masks else ("", "")
            why = why or (_unfit(mask, self.masks) if mask and self.masks else "")
            yield (name, f"its mask: {why}") if why else Source(name, path, mask, boxes.get(name, ()))

    def __len__(self) -> int:
        """How many pictures there are now; the folder is walked to count them."""
        return sum(1 for _ in self)

    def coverage(self) -> Coverage | None:
        """What of the masks and boxes is of which pictures; None where none were given."""
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
        """The paths of what may be read; and (name, reason) for what may not."""
        unlisted: list[OSError] = []
        for folder, folders, files in os.walk(self.root, onerror=unlisted.append):
            if is_store(folder):  # of this run, maybe: it would go on with what it has made for ever
                yield _relative(folder, self.root), "it is a store of pairs, not a folder of pictures"
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if not (name.startswith(".") or self._is_masks(folder, name)))
            for link in filter(os.path.islink, (os.path.join(folder, name) for name in folders)):
                yield _relative(link, self.root), "it is a link to a folder, which is not followed"
            for file in sorted(files):
                path = os.path.join(folder, file)
                if file.startswith(".") or not _is_image(file):
                    continue
                why = _unfit(path, self.root) or (
                    is_unsupported_image_name(file) and "its format is not read here; save it as a PNG"
                )
                yield (_relative(path, self.root), why) if why else path
        for error in unlisted:
            yield _relative(error.filename, self.root), f"the folder cannot be looked into: {error.strerror}"

    def _is_masks(self, folder: str, name: str) -> bool:
        return self.masks is not None and name == self.masks.name and self.masks.samefile(os.path.join(folder, name))

    @cached_property
    def _boxes_by_name(self) -> tuple[dict[str, tuple[NamedBox, ...]], tuple[str, ...]]:
        """({name of a picture: its boxes}, names in the boxes file that are of no picture, or of several)."""
        if not self.boxes:
            return {}, ()
        names = [_relative(path, self.root) for path in self._images() if isinstance(path, str)]
        known, by_key = set(names), defaultdict(list)
        for name in names:
            for key in {same_name(name), same_name(os.path.splitext(name)[0])}:
                by_key[key].append(name)
        found, unused = {}, []
        for given in sorted(self.boxes, key=lambda name: name not in known):  # the exact spellings first
            fitting = [given] if given in known else by_key[same_name(given)]
            if len(fitting) == 1 and fitting[0] not in found:
                found[fitting[0]] = self.boxes[given]
            else:
                unused.append(given)
        return found, tuple(unused)


class MaskFolder:
    """Finds the mask of a picture by its name: in the same subfolder, under the same name, with any picture ending. Of
    several that fit, one spelled exactly like the picture goes before the others."""

    def __init__(self, root: Path):
        self._root = root
        self._files: dict[str, list[str]] = {}  # of the subfolder that was looked into last
        self._folder: str | None = None

    def mask_of(self, name: str) -> tuple[str, str]:
        """(path of the mask, ""), ("", why it cannot be said which it is), or ("", "") where there is none."""
        folder, _, file = name.rpartition("/")
        if folder != self._folder:
            self._folder, self._files = folder, self._listed(folder)
        stem = os.path.splitext(file)[0]
        fitting = self._files.get(same_name(stem), [])
        exact = [path for path in fitting if os.path.splitext(os.path.basename(path))[0] == stem]
        fitting = exact or fitting
        if len({os.path.splitext(path)[0] for path in fitting}) > 1:
            return (
                "",
                f"{' and '.join(os.path.basename(path) for path in fitting)} differ in spelling alone; which is it?",
            )
        fitting.sort(key=lambda path: _rank(path, file))
        return (fitting[0] if fitting else ""), ""

    def _listed(self, folder: str) -> dict[str, list[str]]:
        found = defaultdict(list)
        for place in self._places(folder):
            for entry in _entries(place):
                if is_image_name(entry) and not entry.startswith("."):
                    found[same_name(os.path.splitext(entry)[0])].append(os.path.join(place, entry))
        return found

    def _places(self, folder: str) -> list[str]:
        """The subfolders of this name: in the same spelling, else in any."""
        places = [str(self._root)]
        for part in filter(None, folder.split("/")):
            inner = [(place, name) for place in places for name in _entries(place)]
            exact = [os.path.join(place, name) for place, name in inner if name == part]
            other = [os.path.join(place, name) for place, name in inner if same_name(name) == same_name(part)]
            places = [path for path in exact or other if os.path.isdir(path)]
        return places


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:  # it may not be looked into: what is in it counts as not there
        return []


MASK_ENDINGS = (".png", ".jpg", ".webp", ".bmp", ".tif")  # which of several goes first


def _rank(mask: str, file: str) -> tuple:
    ending = os.path.splitext(mask)[1].lower()
    order = MASK_ENDINGS.index(ending) if ending in MASK_ENDINGS else len(MASK_ENDINGS)
    return order, os.path.splitext(file)[1].lower() != ending, mask


def _walk(root: str | Path, wanted: Callable[[str], bool]) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(folder, file) for file in sorted(files) if wanted(file) and not file.startswith("."))


def _is_image(name: str) -> bool:
    """Whether a file of this name is an image, read here or not."""
    return is_image_name(name) or is_unsupported_image_name(name)


def same_name(name: str) -> str:
    """What two spellings of one file name have in common: case, slashes and the form of accents do not count."""
    return unicodedata.normalize("NFC", name.replace("\\", "/").removeprefix("./")).casefold()


def _relative(path: str, root: Path) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def _unfit(path: str, root: Path) -> str:
    """Why a file must not be opened; "": it may."""
    if os.path.islink(path) and not is_within(path, root):
        return "it is a link that leads out of the folder"
    if not os.path.isfile(path):  # a pipe would be waited for without end
        return "it is no file"
    return ""


def read_boxes_file(path: str | Path) -> dict[str, tuple[NamedBox, ...]]:
    """A JSON file {file name: [{"box": [left, top, right, bottom], "place": …, "hidden": …}, …]}, boxes as in Spot; what
    sticks out of the picture is cut off.

    Raises RethinkError naming the file, and the picture whose boxes are none.
    """
    try:
        record = json.loads(decode_text(read_bytes(Path(path), MOST_TABLE), "it"), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:  # a RethinkError is a ValueError
        raise RethinkError(f"boxes: cannot read {path}: {error}") from error
    if not isinstance(record, dict):
        raise RethinkError(f'boxes: {path} holds no boxes; expected {{"name": [{{"box": [l, t, r, b]}}]}}.')
    return {name: _named_boxes(boxes, f"boxes: {path}: {name}") for name, boxes in record.items()}


def _each_once(pairs: list[tuple[str, object]]) -> dict:
    record = dict(pairs)
    if len(record) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise RethinkError(f"“{show_name(twice)}” stands in it twice; put all of its boxes into one list")
    return record


def _named_boxes(boxes, where: str) -> tuple[NamedBox, ...]:
    if not isinstance(boxes, list) or not all(isinstance(box, dict) for box in boxes):
        raise RethinkError(f'{where}: expected a list of boxes, [{{"box": [left, top, right, bottom]}}, …].')
    return tuple(_named_box(box, where) for box in boxes)


def _named_box(record: dict, where: str) -> NamedBox:
    box, words = record.get("box"), [record.get(key) or "" for key in ("place", "hidden")]
    if not all(isinstance(word, str) for word in words):
        raise RethinkError(f"{where}: place and hidden are words, got {show_name(words)}.")
    try:
        words = [check_text(word, "a place's text") for word in words]
    except RethinkError as error:
        raise RethinkError(f"{where}: {error}.") from error
    edges = _edges(box)
    if len(edges) != 4:
        raise RethinkError(
            f"{where}: expected a box of four numbers, [left, top, right, bottom], got {show_name(repr(box))}."
        )
    if max(edges) > MOST_OUTSIDE:
        raise RethinkError(
            f"{where}: {box} seems to be in pixels; divide left and right by the picture's width, top and bottom by its height."
        )
    left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in edges)
    if not (left < right and top < bottom):
        raise RethinkError(
            f"{where}: {box} is no box within the picture; expected left < right and top < bottom, shares of 0…1."
        )
    return NamedBox((left, top, right, bottom), *words)


def _edges(box) -> list[float]:
    """The numbers of a box, those that are some."""
    try:
        edges = [float(edge) for edge in box if isinstance(edge, (int, float)) and not isinstance(edge, bool)]
    except (TypeError, OverflowError):  # no list; a number beyond all
        return []
    return [edge for edge in edges if math.isfinite(edge)] if len(edges) == len(box) else []
