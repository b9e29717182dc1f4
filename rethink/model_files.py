"""Checks before a model is opened: its files are present, complete and only data, and its device exists.

Every problem is a RethinkError that begins with the input's name, the argument `name`.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from .errors import RethinkError, lazy_import

_CODE = (".py", ".pyc", ".pyd", ".so", ".dll", ".dylib")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
LARGEST_JSON = 2**26  # bytes; a configuration has a few thousand, the index of a thousand shards a few million

# The files that the libraries read as configurations. Vocabularies and the like cannot name code.
_CONFIGURATIONS = (
    "model_index.json",
    "config.json",
    "generation_config.json",
    "scheduler_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
)
# What makes the libraries, or older versions of them, fetch or run something that is not in the folder.
_REACHING = {
    "auto_map": "asks for code of its own, which is not run",
    "custom_pipelines": "asks for code of its own, which is not run",
    "audio_tokenizer": "asks for another model, which would be downloaded",
}
_HIDDEN = (".git", ".cache")  # kept next to a model by git and the hub's client; nothing opens them


def check_files(name: str, *files: Path) -> None:
    """Raise RethinkError for a file that is missing."""
    for file in files:
        if not file.is_file():
            raise RethinkError(f"{name}: {file} is missing; download it again.")


def check_weights(name: str, *files: Path) -> None:
    """Raise RethinkError for a .safetensors file that is missing, or incomplete by its header and length."""
    for file in files:
        tensor_names(name, file)


def tensor_names(name: str, file: Path) -> set[str]:
    """The names of the tensors in a .safetensors file. Raises RethinkError like `check_weights`."""
    safetensors = lazy_import("safetensors")
    check_files(name, file)
    try:
        with safetensors.safe_open(file, framework="pt") as content:
            return set(content.keys())
    except (safetensors.SafetensorError, OSError) as error:
        raise RethinkError(f"{name}: {file} is damaged or incomplete ({error}); download it again.") from error


def shard_files(name: str, index: Path) -> dict[Path, set[str]]:
    """The weight files (shards) that a model's *.index.json lists, each with the tensors that should be in it.

    Raises RethinkError if it lists none.
    """
    places = read_json(name, index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(map(_is_shard, places.values())):
        raise RethinkError(f"{name}: {index} lists no weight files next to it; download it again.")
    files: dict[Path, set[str]] = {}
    for tensor, file in places.items():
        files.setdefault(index.with_name(file), set()).add(tensor)
    return files


def _is_shard(file: Any) -> bool:
    return isinstance(file, str) and file.endswith(".safetensors") and Path(file.replace("\\", "/")).name == file


def refuse_pickles(name: str, folder: Path) -> None:
    """Raise RethinkError for a folder that holds pickles; for use if no .safetensors were found."""
    if any(file.suffix in PICKLES for file in folder.iterdir()):
        raise RethinkError(f"{name}: the weights in {folder} are pickles, which can run code; use .safetensors.")


def check_data(name: str, folder: Path) -> None:
    """Raise RethinkError for a model's folder that contains, or refers to, anything but data.

    Current libraries run none of it unasked, but older ones do: diffusers 0.35 runs a module next to a part's weights
    that has the name of the part's library, transformers 4.57 runs custom_generate/generate.py.
    """
    for file in model_files(folder):
        if (ending := file.suffix.lower()) in _CODE:
            raise RethinkError(
                f"{name}: {file} is code, which older versions of diffusers and transformers run; remove the {ending} "
                "files from the folder if you trust the rest of it."
            )
        if file.name == "adapter_config.json":
            raise RethinkError(
                f"{name}: {file} makes this an adapter of another model, which would be downloaded; remove the file if "
                "the folder holds a whole model, else merge the adapter into its model first."
            )
        if file.name in _CONFIGURATIONS:
            _check_configuration(name, file)


def _check_configuration(name: str, file: Path) -> None:
    waiting: list[Any] = [read_json(name, file)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            for key, fault in _REACHING.items():
                if value.get(key):
                    raise RethinkError(
                        f"{name}: {file} {fault} (“{key}”); only models that diffusers and transformers support "
                        "themselves are opened. Remove the entry if this is one."
                    )
            for key in value:
                if key.endswith("attn_implementation") and "/" in str(value[key]):
                    raise RethinkError(
                        f"{name}: {file} asks for code from the hub (“{key}”: “{value[key]}”), which is not run; "
                        "remove the entry."
                    )


def model_files(folder: Path) -> Iterator[Path]:
    """Every file of a model, through links too: the owner of the machine has put them there."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [inner for inner in folders if inner not in _HIDDEN and real not in seen]
        if real not in seen:  # a link may point to a folder above it
            seen.add(real)
            yield from (Path(place, file) for file in sorted(files))


def snapshot_of(folder: Path) -> Path:
    """Where the model is: the folder itself, or, in a folder of the hub's cache (models--owner--name), a snapshot.

    That is the one that refs/main names, else the newest.
    """
    snapshots = folder / "snapshots"
    if not snapshots.is_dir() or not _is_cached(folder):
        return folder
    try:
        main = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    found = {path.name: path for path in snapshots.iterdir() if path.is_dir()}
    return found.get(main) or max(found.values(), key=lambda path: (path.stat().st_mtime_ns, path.name), default=folder)


def model_name(path: Path) -> str:
    """The name of the model in a folder: “owner/name” in the hub's cache, where folders are named by commit."""
    if path.parent.name == "snapshots" and _is_cached(path.parent.parent):
        path = path.parent.parent
    cached = path.name.removeprefix("models--")
    return path.name if cached == path.name else cached.replace("--", "/")


def _is_cached(folder: Path) -> bool:
    """Whether a folder is a model's folder in the hub's cache, or a link to one."""
    return os.path.basename(os.path.realpath(folder)).startswith("models--")


def read_json(name: str, file: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises RethinkError if there is none."""
    try:
        if file.exists() and not file.is_file():  # reading a pipe would never end
            raise ValueError("it is not a file")
        if file.stat().st_size > LARGEST_JSON:
            raise ValueError(f"it has more than {LARGEST_JSON >> 20} MiB")
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RethinkError(f"{name}: {file} cannot be read ({error}); download it again.") from error
    except RecursionError:
        raise RethinkError(f"{name}: {file} cannot be read (it is nested too deep); download it again.") from None
    if not isinstance(content, dict):
        raise RethinkError(f"{name}: {file} does not hold a JSON object; download it again.")
    return content


def resolve_device(device: str | torch.device) -> torch.device:
    """The device with its index. Raises RethinkError for one that torch does not have on this machine."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise RethinkError(f"device: “{device}” is unknown or not available here; use, for example, cpu.") from error


def fingerprint_files(path: Path) -> str:
    """A hash of the names, sizes and times of a model's files. Raises RethinkError if they cannot be read."""
    files: Iterable[Path] = model_files(path) if path.is_dir() else [path]
    digest = hashlib.sha256()
    try:
        for file in files:
            stat = file.stat()
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode("utf-8", "surrogatepass"))
    except OSError as error:
        raise RethinkError(f"model: {path} cannot be read: {error.strerror}; choose a model that exists.") from error
    return digest.hexdigest()[:12]
