"""Files of models: whole and safe ones are let through, everything else is refused before anything is loaded."""

import json
from pathlib import Path
from typing import Any

from ..errors import RethinkError, require

PICKLES = (".ckpt", ".pt", ".pth", ".bin")


def check_safetensors(path: Path, name: str = "editor") -> None:
    """Raise RethinkError, naming `name`, when a file's header and length disagree: a broken or unfinished download."""
    safetensors = require("safetensors")
    try:
        with safetensors.safe_open(path, framework="pt"):
            pass
    except (safetensors.SafetensorError, OSError) as error:
        raise RethinkError(f"{name}: {path} is damaged or incomplete ({error}); download it again.") from error


def check_part(folder: Path, library: str, class_name: str) -> str:
    """Raise RethinkError unless everything that a part of a pipeline consists of is there; → its weights' variant."""
    if library not in ("diffusers", "transformers"):
        raise RethinkError(f"editor: {folder} wants code of its own ({library}), which is not run.")
    if class_name.endswith("Scheduler"):
        _check_files(folder / "scheduler_config.json")
        return ""
    if "Processor" in class_name:
        if not (folder / "preprocessor_config.json").is_file():
            _check_files(folder / "processor_config.json")
        return ""
    if "Tokenizer" in class_name:
        if not any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model")):
            _check_files(folder / "vocab.json", folder / "merges.txt")
        return ""
    _check_files(folder / "config.json")
    stem = "model" if library == "transformers" else "diffusion_pytorch_model"
    for variant, single, index in (
        ("", f"{stem}.safetensors", f"{stem}.safetensors.index.json"),
        ("fp16", f"{stem}.fp16.safetensors", f"{stem}.safetensors.index.fp16.json"),
    ):
        files = [folder / single]
        if (folder / index).is_file():
            files = [folder / name for name in sorted(set(read_json(folder / index).get("weight_map", {}).values()))]
        elif not files[0].is_file():
            continue
        _check_files(*files)
        for file in files:
            check_safetensors(file)
        return variant
    if any(file.suffix in PICKLES for file in folder.iterdir()):
        raise RethinkError(f"editor: the weights in {folder} are pickles, which can run code; use .safetensors.")
    raise RethinkError(f"editor: {folder / f'{stem}.safetensors'} is missing; download it again.")


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file, or RethinkError."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RethinkError(f"editor: {file} cannot be read ({error}); download it again.") from error
    if not isinstance(content, dict):
        raise RethinkError(f"editor: {file} should hold a JSON object.")
    return content


def _check_files(*files: Path) -> None:
    for file in files:
        if not file.is_file():
            raise RethinkError(f"editor: {file} is missing; download it again.")
