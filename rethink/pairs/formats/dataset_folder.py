"""Find the files that a dataset names, also in other spellings and other systems' paths, but never outside its folder."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from urllib.parse import unquote

from ...errors import RethinkError
from ...names import is_within
from ...text_files import MOST_BYTES, decode_text, read_bytes, show_name
from ..store import is_safe_relative_path
from .core import MAX_IMAGE_BYTES, Reader, is_image, raise_missing

LAST_GAP = 10  # the most inputs that any editor takes: up to this number, the search continues past a gap


class Names:
    """Names that are found in other spellings, where only one matches: by Unicode form first, then regardless of case."""

    def __init__(self, names: Iterable[str]):
        self._names = set(names)

    @cached_property
    def _spellings(self) -> tuple[dict[str, set[str]], ...]:
        spellings = defaultdict(set), defaultdict(set)
        for name in self._names:
            for by_spelling, spell in zip(spellings, (_composed, _folded), strict=True):
                by_spelling[spell(name)].add(name)
        return spellings

    def find(self, name: str) -> str:
        """The name as it is spelled here; "" where there is none. Raises RethinkError where several match."""
        if name in self._names:
            return name
        for by_spelling, spell in zip(self._spellings, (_composed, _folded), strict=True):
            if matches := by_spelling.get(spell(name)):
                if len(matches) > 1:
                    raise RethinkError(
                        f"“{show_name(name)}” may be any of {len(matches)} files that differ only in case"
                    )
                return next(iter(matches))
        return ""

    def find_numbered(self, name: str, other: str, marks: Iterable[str] = ("",)) -> list[str]:
        """`NAME2`, `NAME3`, … in that order, as far as they exist: further inputs, beside the one called `name`.

        other: the name of the target. Where that exists with the same number, the two are a pair of their own. marks:
        what may precede the number.
        """
        numbered = []
        for number in count(2):
            ends = [f"{mark}{number}" for mark in marks]
            found = next((end for end in ends if self.find(name + end)), "")
            if found and not self.find(other + found):
                numbered.append(self.find(name + found))
            elif number >= LAST_GAP:
                break
        return numbered

    def find_references(self, name: str, other: str, marks: Iterable[str] = ("",)) -> list[str]:
        """`find_numbered` for the files of one pair. Raises RethinkError where one is missing before a later one, which
        would be taken for it."""
        found = self.find_numbered(name, other, marks)
        for number, each in enumerate(found, 2):
            last = re.search(r"\d+$", each)
            if last and int(last[0]) != number:
                raise RethinkError(
                    f"image {number} is missing, but a later one exists (“{show_name(each)}”); add it, or renumber them from 2"
                )
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class Dataset:
    """The folder of a dataset, whose files are found by the names that other tools wrote, and never outside it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._known: dict[str, Names] = {}

    def names(self, folder: str = "") -> Names:
        """The contents of one of its folders, without hidden files, such as those that macOS leaves on other disks."""
        if folder not in self._known:
            try:
                inner = os.listdir(self.folder / folder)
            except OSError:
                inner = []
            self._known[folder] = Names(name for name in inner if not name.startswith("."))
        return self._known[folder]

    def images(self, folder: str) -> list[str]:
        """The names of the images in one of its folders. Raises RethinkError where there is no such folder."""
        if not (self.folder / folder).is_dir():
            raise RethinkError(f"import: {self.folder} has no folder “{folder}”; {self.contents()}.")
        return [name for name in self.names(folder) if is_image(name)]

    def contents(self) -> str:
        """What it contains, for a message to a user who expected something else."""
        listed = [show_name(name, 40) for name in self.names()]
        more = f" and {len(listed) - 6} more" if len(listed) > 6 else ""
        return f"it holds {', '.join(listed[:6])}{more}" if listed else "it is empty"

    def image(self, path: str) -> Reader:
        """A Reader of the image at a path; "" for a missing one."""
        return partial(self._read, path, MAX_IMAGE_BYTES) if path else raise_missing

    def text(self, path: str) -> str:
        """The contents of a text file; "" where there is none. Raises RethinkError for one that cannot be read."""
        folder, _, name = path.rpartition("/")
        found = self.names(folder).find(name)
        return decode_text(self._read(_join(folder, found), MOST_BYTES), "its text") if found else ""

    def _read(self, path: str, most: int) -> bytes:
        if not is_safe_relative_path(path) or not is_within(self.folder / path, self.folder):
            raise RethinkError(f"“{show_name(path)}” leads out of the dataset")
        try:
            return read_bytes(self.folder / path, most)
        except RethinkError as error:
            raise RethinkError(f"“{show_name(path)}” cannot be read: {error}") from error

    def locate(self, path: str) -> str:
        """The file that a path in the dataset refers to: as written, from Windows or as a file URL, from the disk where the
        dataset was before, or in another spelling. The path itself where there is none."""
        if path.startswith(("http://", "https://")):
            raise RethinkError("its image is a web address; download it into the dataset first")
        plain = path.replace("\\", "/")
        for spelling in dict.fromkeys((path, plain, unquote(plain.removeprefix("file://")))):
            inner = spelling.removeprefix("./")
            for inside in [inner] if is_safe_relative_path(inner) else _tails(inner):
                if found := self._resolve_spelling(inside):
                    return found
        return path

    def _resolve_spelling(self, path: str) -> str:
        """The path in the spelling of the actual folders and file; "" where there is none."""
        if os.path.isfile(self.folder / path):
            return path
        found = ""
        for part in path.split("/"):
            name = self.names(found).find(part)
            if not name:
                return ""
            found = _join(found, name)
        return found


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _tails(path: str) -> list[str]:
    """What an absolute path may be within the dataset: all its suffixes, longest first. With backslashes, only those
    that name no place outside, for which Windows would ask the network."""
    parts = [part for part in path.split("/") if part and not part.endswith(":")]
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    return [] if ".." in parts else list(filter(is_safe_relative_path, tails))
