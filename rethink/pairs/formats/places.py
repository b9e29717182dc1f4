"""Where the files lie that somebody's dataset names: other spellings of a name, other systems' paths, nothing outside it."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import unquote

from ...errors import RethinkError
from ...names import is_within
from ..store import is_safe_relative_path
from ..text_files import MOST_BYTES, decode_text, read_bytes, show_name
from .entries import MOST_IMAGE, Reader, is_image, missing


class Names:
    """Names that are found by other spellings: composed or decomposed letters, then capitals or not, where only one fits."""

    def __init__(self, names: Iterable[str]):
        self._names = set(names)

    @cached_property
    def _spellings(self) -> tuple[dict[str, set[str]], ...]:
        spellings = defaultdict(set), defaultdict(set)
        for name in self._names:
            for found, spell in zip(spellings, (_composed, _folded), strict=True):
                found[spell(name)].add(name)
        return spellings

    def find(self, name: str) -> str:
        """The name as it is there; "" where there is none. Raises RethinkError where several fit."""
        if name in self._names:
            return name
        for found, spell in zip(self._spellings, (_composed, _folded), strict=True):
            if fitting := found.get(spell(name)):
                if len(fitting) > 1:
                    raise RethinkError(
                        f"“{show_name(name)}” may be any of {len(fitting)} files that differ in capitals alone"
                    )
                return next(iter(fitting))
        return ""

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class Dataset:
    """The folder of a dataset, whose files are found by what others call them and never lead out of it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._known: dict[str, Names] = {}

    def names(self, folder: str = "") -> Names:
        """What lies in a folder of it, hidden files left out, such as the twins that a Mac leaves on other disks."""
        if folder not in self._known:
            try:
                inner = os.listdir(self.folder / folder)
            except OSError:
                inner = []
            self._known[folder] = Names(name for name in inner if not name.startswith("."))
        return self._known[folder]

    def images(self, folder: str) -> list[str]:
        """The names of the images in a folder of it. Raises RethinkError where there is no such folder."""
        if not (self.folder / folder).is_dir():
            raise RethinkError(f"import: {self.folder} has no folder “{folder}”; {self.contents()}.")
        return [name for name in self.names(folder) if is_image(name)]

    def contents(self) -> str:
        """What lies in it, for who looks for something else."""
        shown = [show_name(name, 40) for name in self.names()]
        more = f" and {len(shown) - 6} more" if len(shown) > 6 else ""
        return f"it holds {', '.join(shown[:6])}{more}" if shown else "it is empty"

    def image(self, path: str) -> Reader:
        """Reads the image that lies there; "": there is none."""
        return partial(self._read, path, MOST_IMAGE) if path else missing

    def text(self, path: str) -> str:
        """What a text says; "" where there is none. Raises RethinkError for one that cannot be read."""
        folder, _, name = path.rpartition("/")
        found = self.names(folder).find(name)
        return decode_text(self._read(_joined(folder, found), MOST_BYTES), "its text") if found else ""

    def _read(self, path: str, most: int) -> bytes:
        if not is_safe_relative_path(path) or not is_within(self.folder / path, self.folder):
            raise RethinkError(f"“{show_name(path)}” leads out of the dataset")
        try:
            return read_bytes(self.folder / path, most)
        except RethinkError as error:
            raise RethinkError(f"“{show_name(path)}” cannot be read: {error}") from error

    def locate(self, path: str) -> str:
        """The file that somebody's path means: as it stands, written on Windows or for an address, on a disk where the
        dataset lay before, or in another spelling. As it was given where there is none."""
        if path.startswith(("http://", "https://")):
            raise RethinkError("its image is an address on the web; download it into the dataset first")
        plain = path.replace("\\", "/")
        for spelling in dict.fromkeys((path, plain, unquote(plain.removeprefix("file://")))):
            inner = spelling.removeprefix("./")
            for inside in [inner] if is_safe_relative_path(inner) else _tails(inner):
                if found := self._spelled(inside):
                    return found
        return path

    def _spelled(self, path: str) -> str:
        """The path as its folders and its file are written here; "": there is none."""
        if os.path.isfile(self.folder / path):
            return path
        found = ""
        for part in path.split("/"):
            name = self.names(found).find(part)
            if not name:
                return ""
            found = _joined(found, name)
        return found


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _tails(path: str) -> list[str]:
    """What an absolute path may be within the dataset: all its ends, the longest first."""
    parts = [part for part in path.split("/") if part and not part.endswith(":")]
    return [] if ".." in parts else ["/".join(parts[start:]) for start in range(len(parts))]
