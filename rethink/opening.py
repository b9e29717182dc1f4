"""What is checked before a model is opened: its files are there, whole and safe, and there is a device for it.

Every mistake is a RethinkError that begins with the input's name, which the functions are given as `name`.
"""

from pathlib import Path
from typing import Any

import torch

from .errors import RethinkError, require
from .records import parse_json

PICKLES = (".ckpt", ".pt", ".pth", ".bin")


def check_files(name: str, *files: Path) -> None:
    """Raise RethinkError for a file that is missing."""
    for file in files:
        if not file.is_file():
            raise RethinkError(f"{name}: {file} is missing; download it again.")


def check_weights(name: str, *files: Path) -> None:
    """Raise RethinkError for a .safetensors file that is missing, or whose header and length disagree: an unfinished
    download."""
    safetensors = require("safetensors")
    check_files(name, *files)
    for file in files:
        try:
            with safetensors.safe_open(file, framework="pt"):
                pass
        except (safetensors.SafetensorError, OSError) as error:
            raise RethinkError(f"{name}: {file} is damaged or incomplete ({error}); download it again.") from error


def listed_weights(name: str, index: Path) -> list[Path]:
    """The files that share out a model's weights, as its *.index.json lists them. Raises RethinkError where it does not."""
    files = read_json(name, index).get("weight_map")
    if not isinstance(files, dict) or not files or not all(map(_is_name, files.values())):
        raise RethinkError(f"{name}: {index} lists no files of weights beside it; download it again.")
    return [index.with_name(file) for file in sorted(set(files.values()))]


def _is_name(file: Any) -> bool:
    return isinstance(file, str) and file != "" and Path(file).name == file


def refuse_pickles(name: str, folder: Path) -> None:
    """Raise RethinkError for a folder that holds pickles; to be asked where no .safetensors were found."""
    if any(file.suffix in PICKLES for file in folder.iterdir()):
        raise RethinkError(f"{name}: the weights in {folder} are pickles, which can run code; use .safetensors.")


def read_json(name: str, file: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises RethinkError where there is none."""
    try:
        content = parse_json(file.read_bytes(), finite=False)
    except (OSError, ValueError) as error:
        raise RethinkError(f"{name}: {file} cannot be read ({error}); download it again.") from error
    if not isinstance(content, dict):
        raise RethinkError(f"{name}: {file} should hold a JSON object.")
    return content


def known_device(device: str | torch.device) -> torch.device:
    """The device with its index. Raises RethinkError for one that torch does not have here."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise RethinkError(f"device: “{device}” is unknown or not available here; use for example cpu.") from error
