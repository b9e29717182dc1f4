"""LoRA files on ComfyUI's own models: read and checked as a whole, then applied to clones that share the weights."""

import math
from collections.abc import Mapping
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...rethink.editors.lora import MAX_STRENGTH, MIN_MATCHED
from ...rethink.editors.lora_formats import LoraFile, Misfit, Strengths, change_of, is_embedding, kinds_of, lora_file
from ...rethink.editors.protocol import LoraReport
from ...rethink.errors import RethinkError
from ..comfy.modules import comfy_module

# Of a pipeline, as diffusers has it.
PARTS = ("transformer", "unet", "text_encoder", "text_encoder_2", "text_encoder_3")


def apply_lora(model: Any, clip: Any, path: str | PathLike, strength: float, title: str) -> tuple[Any, Any, LoraReport]:
    """Return clones of MODEL and CLIP with the LoRA, and the report. Nothing is patched unless all of it can be.

    Raises RethinkError naming `lora` for an unreadable file, NaN, a file made for a model other than `title`, and kinds
    that ComfyUI's loader would read only in part.
    """
    path = Path(path)
    if not (math.isfinite(strength) and abs(strength) <= MAX_STRENGTH):
        raise RethinkError(f"strength: expected a number from {-MAX_STRENGTH:g} to {MAX_STRENGTH:g}, got {strength}.")
    tensors, metadata = _read(path)
    tensors = comfy_module("comfy.lora_convert").convert_lora(tensors)
    file = lora_file(tensors, metadata, PARTS, path)
    lora = comfy_module("comfy.lora")
    targets = lora.model_lora_keys_clip(clip.cond_stage_model, lora.model_lora_keys_unet(model.model, {}))
    unmatched = _find_unmatched(file, targets, path, title)
    alphas, unused = {}, []
    overridden = _overridden(file, targets)
    for stem, slots in file.layers.items():
        if stem in targets:
            left = _check_layer(stem, file, _shape(targets[stem], model, clip), path, title)
            unused += (f"{stem}.{slot}" for slot in (*left, *_lost_bias(slots, targets[stem], model, clip)))
            alphas |= _alpha(stem, slots, file.strengths, path)
    patches = lora.load_lora({**tensors, **alphas}, targets, log_missing=False)
    _check_all_read(file, targets, patches, path)
    matched = sum(stem in targets for stem in file.layers) - len(overridden)
    model, clip = model.clone(), clip.clone()
    if strength:
        model.add_patches(patches, strength)
        clip.add_patches(patches, strength)
    return model, clip, LoraReport(path.stem, matched, (*unmatched, *overridden, *unused))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        tensors, metadata = comfy_module("comfy.utils").load_torch_file(str(path), safe_load=True, return_metadata=True)
    except Exception as error:  # ComfyUI and safetensors raise a different kind for every way to be broken
        raise RethinkError(f"lora: cannot read {path}: {error}") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor.float()).all():
            raise RethinkError(
                f"lora: {path} has NaN or infinite values in {name}; its training failed, use another one."
            )
    # Copies: on Windows, training could not replace a file that tensors are still mapped from.
    return {name: tensor.clone() for name, tensor in tensors.items()}, metadata or {}


def _find_unmatched(file: LoraFile, targets: Mapping[str, Any], path: Path, title: str) -> list[str]:
    """The layers of the file that the model does not have. Raises RethinkError if fewer than MIN_MATCHED of all fit.

    targets: a layer's possible names in a LoRA → its weight.
    """
    unmatched = [stem for stem in file.layers if stem not in targets]
    others = [name for name in file.others if name.removesuffix(".set_weight") not in targets]
    foreign = [*unmatched, *(name for name in others if not is_embedding(name))]
    total = len(file.layers) + len(foreign) - len(unmatched)
    if not total:
        raise RethinkError(f"lora: {path} is empty.")
    if total - len(foreign) < MIN_MATCHED * total:
        raise RethinkError(
            f"lora: {total - len(foreign)} of {total} layers of {path} fit {title}; it was made for {file.made_for} "
            f"(this {kinds_of(file.layers)} has, for example, {foreign[0]})."
        )
    return [*unmatched, *others]


def _shape(target: Any, model: Any, clip: Any) -> tuple[int, ...] | None:
    """The shape of what a patch changes, None if the model has nothing there. target: a weight's name, or (name,
    (dimension, start, length), …) for a part of it."""
    name, part = (target, None) if isinstance(target, str) else target[:2]
    holder = model.model if name.startswith("diffusion_model.") else clip.cond_stage_model
    try:
        shape = list(
            attrgetter(name)(holder).shape
        )  # in a state dict, quantized weights are packed and have another shape
    except AttributeError:
        return None
    if part is not None:
        shape[part[0]] = part[2]
    return tuple(shape)


def _check_layer(stem: str, file: LoraFile, shape: tuple[int, ...] | None, path: Path, title: str) -> tuple[str, ...]:
    """The tensors of a layer that are not used. Raises RethinkError if ComfyUI itself would skip the weight, or change
    it only in part, and merely log that."""
    slots = file.layers[stem]
    kind = next((kind for lacks, kind in _HALF_READ if lacks(slots)), None)
    if kind is not None:
        raise RethinkError(
            f"lora: {path} is {kind}, which ComfyUI's loader reads only in part; use it with Load Editor."
        )
    try:
        if shape is None:
            raise Misfit("a change where the model has nothing")
        return change_of(slots, shape, stem, Strengths())[1]
    except Misfit as error:
        raise RethinkError(
            f"lora: {path} does not fit {title}: its layer {stem} has {error}; it was made for {file.made_for}, or it is "
            "damaged."
        ) from error


_HALF_READ = (
    (lambda slots: "magnitude" in slots, "a DoRA as PEFT saves it"),
    (lambda slots: "up_bias" in slots, "a LoRA with biases as PEFT saves it"),
    (lambda slots: "lokr_t2" in slots, "a LoKr in Tucker form"),
    (
        lambda slots: "oft_blocks" in slots and slots["oft_blocks"].ndim == 4 and "alpha" not in slots,
        "a BOFT without alpha",
    ),
)


def _overridden(file: LoraFile, targets: Mapping[str, Any]) -> list[str]:
    """The layers that a later layer of the file overrides: of two names for one weight, ComfyUI keeps the later."""
    last = {targets[stem]: stem for stem in targets if stem in file.layers}
    return [stem for stem in file.layers if stem in targets and last[targets[stem]] != stem]


def _lost_bias(slots: Mapping[str, Tensor], target: Any, model: Any, clip: Any) -> tuple[str, ...]:
    """The change of a bias, if the model lacks that bias or the change is for only a part of a layer."""
    name = next((name for name in ("diff_b", "b_norm") if name in slots), None)
    if name is None:
        return ()
    bias = f"{target.removesuffix('.weight')}.bias" if isinstance(target, str) else None
    return () if bias is not None and _shape(bias, model, clip) is not None else (name,)


def _alpha(stem: str, slots: Mapping[str, Tensor], strengths: Strengths, path: Path) -> dict[str, Tensor]:
    """Return an alpha that is only in the file's metadata as a tensor: ComfyUI's loader does not look there."""
    inner = next((slots[name] for name in ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b") if name in slots), None)
    if inner is None or "alpha" in slots:
        return {}
    place = stem if stem.startswith(tuple(f"{part}." for part in PARTS)) else f"{PARTS[0]}.{stem}"
    try:
        scale = strengths.of(place, inner.shape[0])
    except Misfit as error:
        raise RethinkError(f"lora: {path} is incomplete: its layer {stem} has {error}.") from error
    return {f"{stem}.alpha": torch.tensor(scale * inner.shape[0])} if scale != 1.0 else {}


def _check_all_read(file: LoraFile, targets: Mapping[str, Any], patches: Mapping[Any, Any], path: Path) -> None:
    for stem, slots in file.layers.items():
        if stem in targets and targets[stem] not in patches and set(slots) - {"alpha", "diff_b"}:
            raise RethinkError(f"lora: {path} is incomplete: ComfyUI's loader cannot use {stem}.")
