"""From a path to an Editor: what is there is checked before anything is loaded, and nothing is ever downloaded."""

import json
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from ..errors import RethinkError, require
from .families import FAMILIES, Family
from .protocol import Editor, Settings
from .single_file import open_checkpoint
from .stable_diffusion import StableDiffusionEditor

DTYPES = {"auto": None, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
OFFLOADS = ("none", "model", "sequential")

_PICKLES = (".ckpt", ".pt", ".pth", ".bin")
_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_UNUSED_PARTS = ("safety_checker", "feature_extractor", "image_encoder")  # of Stable Diffusion's pipelines


def load_editor(
    path: str | PathLike,
    *,
    dtype: str = "auto",
    device: str | torch.device = "cpu",
    offload: str = "none",
    tokenizer: str | PathLike | None = None,
) -> Editor:
    """Open a diffusers folder or a single .safetensors checkpoint (original Stable Diffusion 1 layout).

    dtype: a key of DTYPES; "auto" is fp32 on the CPU and fp16 elsewhere.
    device: where it computes. offload: "model" and "sequential" keep the weights in main memory and bring them to
        `device` part by part or layer by layer (diffusers' own; needs accelerate; nothing to do on the CPU).
    tokenizer: a folder with CLIP's vocab.json and merges.txt, for single files, which have none.
    The family follows from the folder's pipeline class or the checkpoint's input channels. A file `rethink.json` in
    the folder ({"steps": 4, …}, fields of Settings) holds the defaults that its maker recommends.
    Raises RethinkError for everything that is missing, broken, unsafe or unknown.
    """
    path = Path(path)
    device = _device(device)
    for option, value, known in (("dtype", dtype, DTYPES), ("offload", offload, OFFLOADS)):
        if value not in known:
            raise RethinkError(f"{option}: “{value}” is unknown; choose one of {', '.join(known)}.")
    weights = DTYPES[dtype] or (torch.float32 if device.type == "cpu" else torch.float16)

    if path.is_dir():
        pipeline, family = _open_folder(path, weights)
        defaults = _recommended(path / "rethink.json").resolved(family.defaults)
    elif path.suffix.lower() in _PICKLES:
        raise RethinkError(f"editor: {path} is a pickle, which can run code; use a .safetensors version of it.")
    elif not path.is_file():
        raise RethinkError(f"editor: {path} does not exist; choose a diffusers folder or a .safetensors file.")
    elif path.suffix.lower() != ".safetensors":
        raise RethinkError(f"editor: {path} is neither a diffusers folder nor a .safetensors file.")
    else:
        check_safetensors(path)
        pipeline, family = open_checkpoint(path, weights, tokenizer)
        defaults = family.defaults
    _check_channels(pipeline, family, path)
    for part in (pipeline.unet, pipeline.vae):
        part.to(memory_format=torch.channels_last)  # the convolutions' own order: measured, 2 to 40% less time a part

    name = path.name if path.is_dir() else path.stem
    if device.type == "cpu" or offload == "none":
        pipeline.to(device)
        return StableDiffusionEditor(pipeline, family, defaults, name)
    require("accelerate")
    if offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)
    return StableDiffusionEditor(pipeline, family, defaults, name, device)


def check_safetensors(path: Path) -> None:
    """Raise RethinkError when the file's header and length do not agree: a broken or unfinished download."""
    safetensors = require("safetensors")
    try:
        with safetensors.safe_open(path, framework="pt"):
            pass
    except (safetensors.SafetensorError, OSError) as error:
        raise RethinkError(f"editor: {path} is damaged or incomplete ({error}); download it again.") from error


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise RethinkError(f"device: “{device}” is unknown or not available here; use for example cpu.") from error


def _open_folder(folder: Path, dtype: torch.dtype) -> tuple[Any, Family]:
    if not (folder / "model_index.json").is_file():
        if any(file.suffix in _PICKLES for file in folder.iterdir()):
            raise RethinkError(f"editor: {folder} holds only pickles, which can run code; use a safetensors version.")
        raise RethinkError(f"editor: {folder / 'model_index.json'} is missing; {folder.name} is no diffusers folder.")
    index = _read_json(folder / "model_index.json")
    class_name = index.get("_class_name")
    family = next((f for f in FAMILIES if class_name in f.pipelines), None)
    if family is None:
        known = ", ".join(name for f in FAMILIES for name in f.pipelines)
        raise RethinkError(f"editor: {folder} is a {class_name}, which is not supported; supported are {known}.")
    for part in _PARTS:
        if not (isinstance(index.get(part), list) and len(index[part]) == 2 and all(index[part])):
            raise RethinkError(f"editor: {folder / 'model_index.json'} names no {part}; download it again.")
    variants = {_check_part(folder / part, *index[part]) for part in _PARTS}

    pipeline_class = getattr(require("diffusers"), class_name)
    require("transformers")
    try:
        pipeline = pipeline_class.from_pretrained(
            str(folder),
            **dict.fromkeys(_UNUSED_PARTS),
            requires_safety_checker=False,
            variant="fp16" if "fp16" in variants else None,
            local_files_only=True,
            use_safetensors=True,
            **_dtype_argument(dtype),
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise RethinkError(f"editor: {folder} cannot be opened: {error}") from error
    return pipeline, family


def _dtype_argument(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """diffusers 0.42 renamed it; before, the new name is not understood, and after, the old one warns."""
    version = tuple(int(number) for number in require("diffusers").__version__.split(".")[:2])
    return {"dtype" if version >= (0, 42) else "torch_dtype": dtype}


def _check_part(folder: Path, library: str, class_name: str) -> str:
    """Raise RethinkError unless everything that a part of a pipeline consists of is there; → its weights' variant."""
    if library not in ("diffusers", "transformers"):
        raise RethinkError(f"editor: {folder} wants code of its own ({library}), which is not run.")
    if class_name.endswith("Scheduler"):
        _check_files(folder / "scheduler_config.json")
        return ""
    if "Tokenizer" in class_name:
        if not (folder / "tokenizer.json").is_file():
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
            files = [folder / name for name in sorted(set(_read_json(folder / index).get("weight_map", {}).values()))]
        elif not files[0].is_file():
            continue
        _check_files(*files)
        for file in files:
            check_safetensors(file)
        return variant
    if any(file.suffix in _PICKLES for file in folder.iterdir()):
        raise RethinkError(f"editor: the weights in {folder} are pickles, which can run code; use .safetensors.")
    raise RethinkError(f"editor: {folder / f'{stem}.safetensors'} is missing; download it again.")


def _check_files(*files: Path) -> None:
    for file in files:
        if not file.is_file():
            raise RethinkError(f"editor: {file} is missing; download it again.")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RethinkError(f"editor: {file} cannot be read ({error}); download it again.") from error
    if not isinstance(content, dict):
        raise RethinkError(f"editor: {file} should hold a JSON object.")
    return content


def _recommended(file: Path) -> Settings:
    if not file.is_file():
        return Settings()
    try:
        return Settings(**_read_json(file))
    except TypeError as error:
        raise RethinkError(f"editor: {file} should hold fields of Settings: {error}") from error


def _check_channels(pipeline: Any, family: Family, path: Path) -> None:
    latents = pipeline.vae.config.latent_channels
    expected = latents * 2 if family.source_channels else latents
    found = pipeline.unet.config.in_channels
    if found != expected:
        raise RethinkError(
            f"editor: the UNet of {path} takes {found} channels, but {family.title} with this VAE needs {expected}."
        )
