"""LoRA files on ComfyUI's own models: read and checked as a whole, then put on clones that share the weights."""

import math
from collections.abc import Mapping
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..rethink.editors.lora import LIMIT, MOST
from ..rethink.editors.protocol import LoraReport
from ..rethink.errors import RethinkError
from .native_families import core


def patched(model: Any, clip: Any, path: str | PathLike, strength: float, title: str) -> tuple[Any, Any, LoraReport]:
    """Clones of MODEL and CLIP with the LoRA on them, and the report. Nothing is patched unless all of it can be.

    Raises RethinkError naming `lora` for an unreadable file, NaN, and what was made for another model than `title`.
    """
    path = Path(path)
    if not (math.isfinite(strength) and abs(strength) <= LIMIT):
        raise RethinkError(f"strength: expected a number from {-LIMIT:g} to {LIMIT:g}, got {strength}.")
    tensors = core("comfy.lora_convert").convert_lora(_read(path))
    lora = core("comfy.lora")
    targets = lora.model_lora_keys_clip(clip.cond_stage_model, lora.model_lora_keys_unet(model.model, {}))
    try:
        patches = lora.load_lora(tensors, targets, log_missing=False)
    except KeyError as error:
        raise RethinkError(f"lora: {path} is not whole: it lacks {error}.") from error
    report = _report(path, tensors, targets, patches, title)
    for target, patch in patches.items():
        name, shape = _weight(target, model, clip)
        _check_shape(name, shape, patch, path, title)
    model, clip = model.clone(), clip.clone()
    if strength:
        model.add_patches(patches, strength)
        clip.add_patches(patches, strength)
    return model, clip, report


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors = core("comfy.utils").load_torch_file(str(path), safe_load=True)
    except Exception as error:  # ComfyUI and safetensors raise a different kind for every way to be broken
        raise RethinkError(f"lora: cannot read {path}: {error}") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor.float()).all():
            raise RethinkError(f"lora: {path} has NaN or infinite values in {name}; its training failed, take another.")
    return tensors


def _report(
    path: Path, tensors: Mapping[str, Tensor], targets: Mapping[str, Any], patches: Mapping[Any, Any], title: str
) -> LoraReport:
    """What of the file became patches. Raises RethinkError where it was made for another model, or is torn.

    targets: what a layer may be called in a LoRA → the weight it is, as in `patches`.
    """
    matched, unmatched = set(), {}
    for name in tensors:
        known = next((prefix for prefix in _prefixes(name) if prefix in targets), None)
        if known is None:
            unmatched[name.rpartition(".lora")[0] or name.rpartition(".")[0]] = None
        elif targets[known] in patches:
            matched.add(known)
        else:
            raise RethinkError(f"lora: {path} is not whole: {name} alone makes no change.")
    layers = len(matched) + len(unmatched)
    if not layers:
        raise RethinkError(f"lora: {path} is empty.")
    if len(matched) < MOST * layers:
        raise RethinkError(
            f"lora: {len(matched)} of {layers} layers of {path} fit {title}; it was made for another model "
            f"(it has for example {next(iter(unmatched))})."
        )
    return LoraReport(path.stem, len(matched), tuple(unmatched))


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in reversed(range(1, len(parts)))]


def _weight(target: Any, model: Any, clip: Any) -> tuple[str, list[int]]:
    """Name and shape of what a patch changes. target: a weight's name, or (name, (dimension, start, length), …) for a
    part of it."""
    name, part = (target, None) if isinstance(target, str) else target[:2]
    holder = model.model if name.startswith("diffusion_model.") else clip.cond_stage_model
    shape = list(attrgetter(name)(holder).shape)  # in a state dict, quantized weights have another: they are packed
    if part is not None:
        shape[part[0]] = part[2]
    return name, shape


def _check_shape(name: str, wanted: list[int], patch: Any, path: Path, title: str) -> None:
    """Raises RethinkError where the change that the patch makes has not the shape of the weight.

    ComfyUI itself would leave such a weight as it is and only log it.
    """
    found = _change(patch)
    if found is not None and (found[0], math.prod(found[1:])) != (wanted[0], math.prod(wanted[1:])):
        raise RethinkError(
            f"lora: {path} changes {name} by a matrix of {' × '.join(map(str, found))}, but {title} has "
            f"{' × '.join(map(str, wanted))} there; it was made for another model, or it is damaged."
        )


def _change(patch: Any) -> list[int] | None:
    """The shape of the change that a patch makes; None for kinds (LoHa, LoKr, …) that do not tell before they do it."""
    if isinstance(patch, tuple):
        return list(patch[1][0].shape)
    if patch.name != "lora" or patch.weights[3] is not None:
        return None
    up, down = patch.weights[:2]
    if up.flatten(1).shape[1] != down.shape[0]:
        return [*up.shape, *down.shape]  # their ranks differ: no product, so no weight has this shape
    return [up.shape[0], *down.shape[1:]]
