"""Applies LoRA files to an editor's layers while it edits, without ever changing the weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import RethinkError
from .lora_adapters import CONVOLUTIONS, Additive, Inseparable
from .lora_formats import Change, LoraFile, Misfit, change_of, is_embedding, kinds_of, read_file
from .lora_names import DENOISERS, Piece, has_diffusers_name, module_aliases, resolve_layer, shape_of
from .protocol import LoraReport

MIN_MATCHED = 0.9  # share of a file's layers that must fit; a LoRA of another family has a few names in common
MAX_STRENGTH = 100.0  # absolute value


@dataclass(frozen=True, eq=False)
class Lora:
    """The changes in a LoRA file by module name, at a strength."""

    layers: Mapping[str, Change]
    strength: float


def read_lora(path: str | PathLike, strength: float, module: nn.ModuleDict, title: str) -> tuple[Lora, LoraReport]:
    """Read a .safetensors LoRA from any trainer that ComfyUI or diffusers supports, matched to the layers of `module`.

    title: the family, for messages.
    Raises RethinkError for a file that is not a LoRA, is broken, has NaN or wrong shapes, or fits another family.
    """
    path = Path(path)
    if not (math.isfinite(strength) and abs(strength) <= MAX_STRENGTH):
        raise RethinkError(f"strength: expected a number from {-MAX_STRENGTH:g} to {MAX_STRENGTH:g}, got {strength}.")
    file = read_file(path, sorted(module, key=lambda part: part not in DENOISERS))
    if not file.layers:
        raise RethinkError(f"lora: {path} has no LoRA layers (pairs of lora_A and lora_B, or of down and up).")
    modules = _modules(module)
    known = module_aliases(modules)
    layers = {name: resolve_layer(name, known) for name in file.layers}
    unmatched = [name for name, pieces in layers.items() if pieces is None]
    foreign = [*unmatched, *(name for name in file.others if not is_embedding(name))]
    total = len(file.layers) + len(foreign) - len(unmatched)
    if total - len(foreign) < MIN_MATCHED * total:
        raise RethinkError(
            f"lora: {total - len(foreign)} of {total} layers of {path} fit {title}; it was made for {file.made_for} "
            f"(this {kinds_of(file.layers)} has, for example, {foreign[0]})."
        )
    matched = {name: pieces for name, pieces in layers.items() if pieces}
    changes, unused = _changes(file, matched, modules, path, title)
    if not changes:
        raise RethinkError(f"lora: {path} changes nothing: it only has {', '.join(unused[:3])}.")
    _check_weights(changes, modules, path)
    return Lora(changes, strength), LoraReport(path.stem, len(changes), (*unmatched, *file.others, *unused))


@contextmanager
def lora_applied(module: nn.ModuleDict, loras: Sequence[Lora]) -> Iterator[None]:
    """Apply the LoRAs to the layers of `module`, in order.

    Additive ones add to a layer's output; those that depend on its weight replace the weight while the layer computes,
    so that no second copy of the model is kept.
    """
    changes: dict[str, list[tuple[Change, float]]] = {}
    for lora in loras:
        for place, change in lora.layers.items() if lora.strength else ():
            changes.setdefault(place, []).append((change, lora.strength))
    modules = _modules(module) if changes else {}
    with ExitStack() as stack:
        for place, stacked in changes.items():
            layer = modules[place]
            hooks = _output_hook if all(_is_additive(layer, change) for change, _ in stacked) else _replace_hooks
            for handle in hooks(layer, stacked):
                stack.callback(handle.remove)
        yield


def _output_hook(layer: nn.Module, stacked: Sequence[tuple[Change, float]]) -> list[Any]:
    adapters = [change.weight.scaled(strength) for change, strength in stacked if isinstance(change.weight, Additive)]
    bias = _sum_of_biases(stacked)
    placement: tuple[torch.device, torch.dtype] | None = None

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        nonlocal adapters, bias, placement
        x = inputs[0]
        if placement != (x.device, x.dtype):  # once per run: the hook ends with it
            placement = x.device, x.dtype
            adapters = [adapter.to(*placement) for adapter in adapters]
            bias = None if bias is None else bias.to(*placement)
        for adapter in adapters:
            output = output + adapter.output(layer, x)
        return output if bias is None else _shifted(layer, output, bias)

    return [layer.register_forward_hook(add)]


def _replace_hooks(layer: nn.Module, stacked: Sequence[tuple[Change, float]]) -> list[Any]:
    adapters = [(change.weight, strength) for change, strength in stacked if change.weight is not None]
    bias = _sum_of_biases(stacked)
    original: nn.Parameter | None = None
    device: torch.device | None = None

    def replace(layer: nn.Module, inputs: Any) -> None:
        nonlocal original, device, adapters
        original = cast(nn.Parameter, layer.weight)
        if device != original.device:
            device = original.device
            adapters = [(adapter.to(device, torch.float32), strength) for adapter, strength in adapters]
        weight = original.detach().float()
        for adapter, strength in adapters:
            weight = adapter.merged(weight, strength)
        layer._parameters["weight"] = nn.Parameter(weight.to(original.dtype), requires_grad=False)

    def restore(layer: nn.Module, inputs: Any, output: Tensor | None) -> Tensor | None:  # None: after an error
        nonlocal original
        if original is not None:
            layer._parameters["weight"], original = original, None
        return output if bias is None or output is None else _shifted(layer, output, bias.to(output))

    return [layer.register_forward_pre_hook(replace), layer.register_forward_hook(restore, always_call=True)]


def _sum_of_biases(stacked: Sequence[tuple[Change, float]]) -> Tensor | None:
    biases = [strength * change.bias.float() for change, strength in stacked if change.bias is not None]
    return cast(Tensor, sum(biases)) if biases else None


def _shifted(layer: nn.Module, output: Tensor, bias: Tensor) -> Tensor:
    channels_first = isinstance(layer, (*CONVOLUTIONS, nn.GroupNorm))
    return output + (bias.reshape(-1, *(1,) * (output.ndim - 2)) if channels_first else bias)


def _changes(
    file: LoraFile, places: Mapping[str, Sequence[Piece]], modules: Mapping[str, nn.Module], path: Path, title: str
) -> tuple[dict[str, Change], list[str]]:
    """(changes by module name, names of unused tensors and layers)."""
    found: dict[str, Change] = {}
    unused: list[str] = []
    for stem in sorted(
        places, key=lambda stem: not has_diffusers_name(stem, places[stem])
    ):  # if a layer is named twice
        pieces = places[stem]
        try:
            change, left = change_of(file.layers[stem], _shape(pieces, modules), pieces[0].place, file.strengths)
            parts = [change if piece.rows is None else change.of_rows(piece.rows) for piece in pieces]
        except Misfit as error:
            raise RethinkError(
                f"lora: {path} does not fit {title}: its layer {stem} has {error}; it is damaged or was made for "
                f"{file.made_for}."
            ) from error
        except Inseparable as error:
            raise RethinkError(
                f"lora: {path} is of the kind {change.kind} and changes {stem}, which {title} splits into parts here "
                "that it cannot be divided among; use it with Editor From Model."
            ) from error
        if change.weight is None and change.bias is None:
            unused.append(stem)
            continue
        unused += (f"{stem}.{slot}" for slot in left)
        if any(piece.place in found for piece in pieces):
            unused.append(stem)
        for piece, part in zip(pieces, parts):
            found.setdefault(piece.place, part)
    return found, unused


def _shape(pieces: Sequence[Piece], modules: Mapping[str, nn.Module]) -> tuple[int, ...]:
    """The shape of the named layer's weight, whose parts are stacked along the rows."""
    shapes = [shape_of(modules[piece.place]) for piece in pieces]
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def _modules(module: nn.ModuleDict) -> dict[str, nn.Module]:
    """Every layer that has a weight, by its name: “transformer.blocks.0.attn.to_q”."""
    return {name: layer for name, layer in module.named_modules() if shape_of(layer)}


def _is_additive(layer: nn.Module, change: Change) -> bool:
    computes = hasattr(layer, "in_features") or isinstance(layer, CONVOLUTIONS)
    return change.weight is None or (computes and isinstance(change.weight, Additive))


def _check_weights(layers: Mapping[str, Change], modules: Mapping[str, nn.Module], path: Path) -> None:
    """Raise RethinkError if a change needs the weight itself, and that is quantized or offloaded."""
    for place, change in layers.items():
        weight = modules[place].weight
        plain = type(weight) is nn.Parameter and weight.is_floating_point() and not weight.is_meta
        if not plain and not _is_additive(modules[place], change):
            raise RethinkError(
                f"lora: {path} is of the kind {change.kind}, which needs the weights themselves, but those of {place} are "
                "quantized or loaded layer by layer; load the editor without quantization or sequential offload."
            )
