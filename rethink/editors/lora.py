"""LoRA files over an editor's own layers: added while it edits, gone afterwards, the weights never touched."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import RethinkError, require
from ..opening import check_weights
from .protocol import LoraReport

MOST = 0.9  # of a file's layers must fit: less is a LoRA of another family with a few names in common
LIMIT = 100.0  # of a strength

# The two factors' names in PEFT, in diffusers before it, and in kohya's trainers; the first of each pair is the inner.
_FACTORS = (
    (".lora_A.weight", ".lora_B.weight"),
    (".lora.down.weight", ".lora.up.weight"),
    (".lora_down.weight", ".lora_up.weight"),
    (".lora_A.default.weight", ".lora_B.default.weight"),
    ("_lora.down.weight", "_lora.up.weight"),
    (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
)
_WRAPPERS = ("base_model.model.", "model.diffusion_model.", "diffusion_model.")
# How trainers call the parts of a model.
_PARTS = {
    "lora_unet_": ("transformer", "unet"),
    "lora_transformer_": ("transformer",),
    "lora_te_": ("text_encoder",),
    "lora_te1_": ("text_encoder",),
    "lora_te2_": ("text_encoder_2",),
    "transformer.": ("transformer",),
    "unet.": ("unet",),
    "text_encoder.": ("text_encoder",),
    "text_encoder_2.": ("text_encoder_2",),
    "": ("transformer", "unet"),
}


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer's two factors: down [rank, in, …], up [out, rank, …], and alpha / rank."""

    down: Tensor
    up: Tensor
    scale: float


@dataclass(frozen=True, eq=False)
class Lora:
    """The layers of a LoRA file by the names of the modules they belong to, at a strength."""

    layers: Mapping[str, Layer]
    strength: float


def read_lora(
    path: str | PathLike, strength: float, module: nn.ModuleDict, pipeline: Any, title: str
) -> tuple[Lora, LoraReport]:
    """A .safetensors LoRA file in diffusers', PEFT's or kohya's layout, matched with the layers of `module`.

    pipeline: the diffusers pipeline of these layers, which knows how to rename and split what other code bases call
    differently or keep in one piece. title: the family, for messages.
    Raises RethinkError for a file that is no LoRA, is broken, has NaN or wrong shapes, or fits another family.
    """
    path = Path(path)
    if not (math.isfinite(strength) and abs(strength) <= LIMIT):
        raise RethinkError(f"strength: expected a number from {-LIMIT:g} to {LIMIT:g}, got {strength}.")
    weights = _read(path)
    modules = _modules(module)
    known = _places(modules)
    found, others = _layers(weights, path)
    if others or not all(_find(name, known) for name in found):
        found, others = max(
            ((found, others), _layers(_converted(weights, pipeline), path)),
            key=lambda read: sum(_find(name, known) is not None for name in read[0]),
        )
    if not found:
        raise RethinkError(f"lora: {path} has no LoRA layers (pairs of lora_A and lora_B, or of down and up).")
    places = {name: _find(name, known) for name in found}
    matched = {place: found[name] for name, place in places.items() if place is not None}
    unmatched = (*(name for name, place in places.items() if place is None), *others)
    total = len(matched) + len(unmatched)
    if len(matched) < MOST * total:
        raise RethinkError(
            f"lora: {len(matched)} of {total} layers of {path} fit {title}; it was made for another model "
            f"(it has for example {unmatched[0]})."
        )
    for place, layer in matched.items():
        _check_shapes(modules[place], layer, place, path, title)
    return Lora(matched, strength), LoraReport(path.stem, len(matched), unmatched)


@contextmanager
def applied(module: nn.ModuleDict, loras: Sequence[Lora]) -> Iterator[None]:
    """Within it the layers of `module` also compute the LoRAs: W x + strength · (alpha / rank) · up(down(x))."""
    modules = _modules(module)
    with ExitStack() as stack:
        for lora in loras:
            if lora.strength == 0:
                continue
            for name, layer in lora.layers.items():
                hook = modules[name].register_forward_hook(_adds(layer, lora.strength * layer.scale))
                stack.callback(hook.remove)
        yield


def _adds(layer: Layer, scale: float) -> Any:
    factors = layer.down, layer.up

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        nonlocal factors
        x = inputs[0]
        if factors[0].device != x.device or factors[0].dtype != x.dtype:  # once a run: the hook goes with it
            factors = tuple(factor.to(x.device, x.dtype) for factor in factors)
        down, up = factors
        if not isinstance(module, nn.Conv2d):
            return output + F.linear(F.linear(x, down), up) * scale
        inner = F.conv2d(x, down, None, module.stride, module.padding, module.dilation)
        return output + F.conv2d(inner, up) * scale

    return add


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        raise RethinkError(f"lora: {path} is no .safetensors file; choose a LoRA in that format.")
    check_weights("lora", path)
    weights = require("safetensors.torch").load_file(path)
    for name, weight in weights.items():
        if not torch.isfinite(weight.float()).all():
            raise RethinkError(f"lora: {path} has NaN or infinite values in {name}; it is broken, take another one.")
        if "dora_scale" in name or "lora_magnitude_vector" in name:
            raise RethinkError(f"lora: {path} is a DoRA, which is not supported; take a plain LoRA.")
    return weights


def _converted(weights: dict[str, Tensor], pipeline: Any) -> dict[str, Tensor]:
    """The weights renamed by diffusers' own converters, or nothing where those do not know them."""
    convert = getattr(type(pipeline), "lora_state_dict", None)
    if convert is None:
        return {}
    unet = getattr(pipeline, "unet", None)
    try:
        result = convert(dict(weights), **({} if unet is None else {"unet_config": unet.config}))
    except Exception:  # they end in every kind of error on files they were not written for
        return {}
    state, alphas = result if isinstance(result, tuple) else (result, None)
    return {**state, **{name: torch.as_tensor(alpha) for name, alpha in (alphas or {}).items()}}


def _layers(weights: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Layer], tuple[str, ...]]:
    """The pairs of factors in a state dict by the name of their layer in it, and the names that belong to none."""
    layers, others = {}, dict.fromkeys(weights)
    for name, down in weights.items():
        for inner, outer in _FACTORS:
            if not name.endswith(inner):
                continue
            stem = name.removesuffix(inner)
            up = weights.get(stem + outer)
            if up is None or down.ndim < 2 or up.ndim < 2 or down.shape[0] != up.shape[1]:
                raise RethinkError(f"lora: the two factors of {stem} in {path} do not belong together (their ranks).")
            alpha = weights.get(f"{stem}.alpha")
            layers[stem] = Layer(down, up, 1.0 if alpha is None else float(alpha) / down.shape[0])
            for used in (name, stem + outer, f"{stem}.alpha"):
                others.pop(used, None)
            break
    return layers, tuple(others)


def _modules(module: nn.ModuleDict) -> dict[str, nn.Module]:
    """Every layer that a LoRA can be laid over, by its name: “transformer.blocks.0.attn.to_q”."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d) or (hasattr(layer, "in_features") and hasattr(layer, "out_features"))
    }


def _find(name: str, places: Mapping[str, str]) -> str | None:
    """The module that a layer of a file belongs to."""
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    for prefix, parts in _PARTS.items():
        if not name.startswith(prefix):
            continue
        for rest in _spellings(name.removeprefix(prefix)):
            for place in (f"{part}{dot}{rest}" for part in parts for dot in "._"):
                if place in places:
                    return places[place]
    return None


def _spellings(name: str) -> Iterator[str]:
    """A layer's name, and what else it was or is called in other versions of the libraries."""
    name = name.replace(".processor.", ".")
    yield name
    yield f"{name}.0"  # the output projection of diffusers' attention
    yield name.removeprefix("text_model.").removeprefix("text_model_")
    yield f"text_model.{name}"


def _places(modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """Names that may stand for a module → its name: itself, and kohya's with underscores for the dots."""
    return {name.replace(".", "_"): name for name in modules} | {name: name for name in modules}


def _check_shapes(module: nn.Module, layer: Layer, place: str, path: Path, title: str) -> None:
    if isinstance(module, nn.Conv2d):
        expected = (module.in_channels // module.groups, *module.kernel_size), module.out_channels
        fits = layer.down.ndim == layer.up.ndim == 4 and (tuple(layer.down.shape[1:]), layer.up.shape[0]) == expected
    else:
        expected = (module.in_features,), module.out_features
        fits = (tuple(layer.down.shape[1:]), layer.up.shape[0]) == expected
    if not fits:
        raise RethinkError(
            f"lora: {path} is for layers of another shape than {title}'s: {place} takes {expected[0]} to "
            f"{expected[1]}, the file's takes {tuple(layer.down.shape[1:])} to {layer.up.shape[0]}."
        )
