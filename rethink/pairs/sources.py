"""The pictures that pairs are made from: a folder, streamed, and what is known of where to work in each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import RethinkError
from .pictures import ENDINGS
from .store import is_store, is_within


@dataclass(frozen=True)
class Spot:
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
    spots: tuple[Spot, ...] = ()


@dataclass(frozen=True)
class Folder:
    """A folder of pictures with its subfolders. Nothing is kept of it in memory: it is walked whenever it is iterated.

    masks: a folder with the same file names (any picture ending), white where the subject is. spots: {file name: spots}.
    """

    root: Path
    masks: Path | None = None
    spots: Mapping[str, tuple[Spot, ...]] | None = None

    def __post_init__(self):
        for name, folder in (("images", self.root), ("masks", self.masks)):
            if folder is not None and not folder.is_dir():
                raise RethinkError(f"{name}: there is no folder {folder}.")
        if next(iter(self), None) is None:
            raise RethinkError(f"images: {self.root} holds no picture; put some into it, or choose another folder.")

    def __iter__(self) -> Iterator[Source | tuple[str, str]]:
        """Sources in a fixed order, and (name, reason) for picture files that must not be read."""
        unlisted: list[OSError] = []
        for folder, folders, files in os.walk(self.root, onerror=unlisted.append):
            if is_store(folder):  # of this run, maybe: it would go on with what it has made for ever
                yield _relative(folder, self.root), "it is a store of pairs, not a folder of pictures"
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for link in filter(os.path.islink, (os.path.join(folder, name) for name in folders)):
                yield _relative(link, self.root), "it is a link to a folder, which is not followed"
            for file in sorted(files):
                if file.startswith(".") or os.path.splitext(file)[1].lower() not in ENDINGS:
                    continue
                path = os.path.join(folder, file)
                name = _relative(path, self.root)
                if why := _unfit(path, self.root):
                    yield name, why
                    continue
                mask, spots = self._mask(name), (self.spots or {}).get(name, ())
                if mask and (why := _unfit(mask, self.masks)):
                    yield name, f"its mask: {why}"
                    continue
                yield Source(name, path, mask, spots)
        for error in unlisted:
            yield _relative(error.filename, self.root), f"the folder cannot be looked into: {error.strerror}"

    def __len__(self) -> int:
        """How many pictures there are now; the folder is walked to count them."""
        return sum(1 for _ in self)

    def _mask(self, name: str) -> str:
        if self.masks is None:
            return ""
        stem = os.path.splitext(name)[0]
        found = (self.masks / (stem + ending) for ending in (".png", ".jpg", ".webp", ".bmp", ".tif"))
        return next((str(path) for path in found if path.is_file()), "")


def _relative(path: str, root: Path) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def _unfit(path: str, root: Path) -> str:
    """Why a file must not be opened; "": it may."""
    if os.path.islink(path) and not is_within(path, root):
        return "it is a link that leads out of the folder"
    if not os.path.isfile(path):  # a pipe would be waited for without end
        return "it is no file"
    return ""


def read_spots(path: str | Path) -> dict[str, tuple[Spot, ...]]:
    """A JSON file {file name: [{"box": [left, top, right, bottom], "place": …, "hidden": …}, …]}, boxes as in Spot.

    Raises RethinkError naming the file for what is none.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        return {
            name: tuple(Spot(tuple(spot["box"]), spot.get("place", ""), spot.get("hidden", "")) for spot in spots)
            for name, spots in record.items()
        }
    except RethinkError as error:
        raise RethinkError(f"{path}: {error}") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RethinkError(f'boxes: cannot read {path}; expected {{"name": [{{"box": [l, t, r, b]}}]}}: {error}') from error
