"""Stage one of training: pairs in latents, encoded once and kept in files named by their content."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import lazy_import
from .edit_model import EditModel
from .example import Example
from .lora_run import save_tensors

VERSION = 2  # of the files; other versions do not find them
IN_MEMORY = 2**31  # bytes of examples to keep in memory; the rest are read from their files on demand


class ExampleCache:
    """A folder of examples, one .safetensors file each, named after the content of the pair and the encoders."""

    def __init__(self, folder: Path, model: EditModel):
        self.folder = folder
        self._model = model.encoders
        self._held: dict[str, Example] = {}
        self._bytes = 0

    def key(self, digest: str) -> str:
        """The name of the example that these encoders make from this content."""
        return hashlib.blake2b(f"{VERSION} {self._model} {digest}".encode(), digest_size=16).hexdigest()

    def ensure(self, digest: str, encode: Callable[[], Example]) -> str:
        """The key of the example with this content, which is encoded first if it is missing."""
        key = self.key(digest)
        path = self._path(key)
        if not path.is_file():
            write_example(encode(), path)
        return key

    def has(self, key: str) -> bool:
        """Whether there is an example with this key."""
        return self._path(key).is_file()

    def load(self, key: str) -> Example:
        """The example with this key, on the CPU."""
        if key in self._held:
            return self._held[key]
        example, size = read_example(self._path(key)), self._path(key).stat().st_size
        if self._bytes + size <= IN_MEMORY:
            self._held[key], self._bytes = example, self._bytes + size
        return example

    def size(self, key: str) -> int:
        """The size of its file in bytes."""
        return self._path(key).stat().st_size

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def write_example(example: Example, path: Path) -> None:
    """Write an example atomically to one file. Anything that is not a tensor is in its header, as a Python literal.

    Raises RethinkError if it cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    others: dict[str, str] = {}
    references = {str(number): latents for number, latents in enumerate(example.references)}
    for name, value in _flatten({**vars(example), "references": references}):
        if isinstance(value, Tensor):
            tensors[name] = value.contiguous()
        else:
            others[name] = repr(value)
    save_tensors(tensors, path, {"others": json.dumps(others)})


def read_example(path: Path) -> Example:
    """Read what `write_example` wrote."""
    with lazy_import("safetensors").safe_open(path, framework="pt") as file:
        flat: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        others = json.loads(file.metadata()["others"])
    flat |= {name: ast.literal_eval(text) for name, text in others.items()}
    parts: dict[str, Any] = {"inputs": {}, "null": {}, "references": {}}
    for name, value in flat.items():
        *outer, last = name.split("/")
        place = parts
        for step in outer:
            place = place.setdefault(step, {})
        place[last] = value
    references = parts.pop("references")
    return Example(**parts, references=tuple(references[number] for number in sorted(references, key=int)))


def _flatten(values: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    flat = []
    for name, value in values.items():
        flat += _flatten(value, f"{before}{name}/") if isinstance(value, dict) else [(before + name, value)]
    return flat
