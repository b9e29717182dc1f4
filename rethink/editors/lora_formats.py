"""The formats of LoRA files: which tensors belong to a layer, of which kind they are, and how strongly they act."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import RethinkError, lazy_import
from ..model_files import check_weights
from .lora_adapters import (
    Adapter,
    Additive,
    Butterfly,
    Decomposed,
    Difference,
    Generalized,
    Hadamard,
    Kronecker,
    Normalized,
    Product,
    Rotated,
    rotation,
)
from .lora_origin import describe_origin

# Suffix after a layer's name → which of its tensors it is: in PEFT (with or without the adapter's name), in diffusers
# before PEFT, in kohya's and XLabs' trainers, and in LyCORIS.
_PEFT_END = r"(?:\.(?!weight$|bias$)\w+)?"
_ENDINGS = (
    (
        rf"\.lora_A{_PEFT_END}(?:\.weight)?|[._]lora\.down\.weight|\.lora_down\.weight|\.lora_linear_layer\.down\.weight"
        r"|(?<=_lora[12])\.down\.weight",
        "down",
    ),
    (
        rf"\.lora_B{_PEFT_END}(?:\.weight)?|[._]lora\.up\.weight|\.lora_up\.weight|\.lora_linear_layer\.up\.weight"
        r"|(?<=_lora[12])\.up\.weight",
        "up",
    ),
    (rf"\.lora_B{_PEFT_END}\.bias|\.lora_up\.bias", "up_bias"),
    (r"\.lora_mid\.weight", "mid"),
    (rf"\.lora_magnitude_vector{_PEFT_END}(?:\.weight)?", "magnitude"),
    (
        r"\.(?P<plain>alpha|dora_scale|hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2)|oft_blocks|rescale|diff|diff_b|"
        r"w_norm|b_norm)",
        "",
    ),
    (r"\.(?P<glora>[ab][12])\.weight", ""),
)
_ENDING = re.compile("|".join(f"(?P<x{i}>{ending})$" for i, (ending, _) in enumerate(_ENDINGS)))

# Kinds that no loader can apply to these models, by their tensors' names.
_FOREIGN = (
    (r"\.on_input$|\bia3_l\b", "(IA)³"),
    (r"\.boft_[RS]\b", "PEFT's BOFT"),
    (r"\.oft_[RrS]\b|\.oft_diag$", "PEFT's OFT"),
    (r"\.lora_E\b|\.ranknum\b", "AdaLoRA"),
    (r"\bvera_lambda_", "VeRA"),
    (r"\.vblora_", "VB-LoRA"),
    (r"\.fourierft_spectrum\b", "FourierFT"),
    (r"\.hra_u\b", "HRA"),
    (r"\.reshape_weight$|^lora_controlnet$", "control LoRA, which adds inputs to the model"),
)
_EMBEDDINGS = re.compile(r"^(?:bundle_emb|emb_params|clip_[lg]$|string_to_param)")


@dataclass(frozen=True, eq=False)
class Change:
    """What a file changes in one layer: its weight, and what it adds to its bias."""

    weight: Adapter | None = None
    bias: Tensor | None = None

    @property
    def kind(self) -> str:
        return self.weight.kind if self.weight is not None else "bias"

    def of_rows(self, rows: Tensor) -> "Change":
        return Change(
            None if self.weight is None else self.weight.of_rows(rows), None if self.bias is None else self.bias[rows]
        )


@dataclass(frozen=True, eq=False)
class Strengths:
    """PEFT's settings for each part of the pipeline, which diffusers writes into a file's metadata."""

    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, place: str, rank: int | None) -> float:
        """alpha / rank of the module at `place`, as PEFT computes it; rank: of its tensors, None if they have none.

        Raises Misfit if the settings say another rank.
        """
        part, _, name = place.partition(".")
        settings = self.parts.get(part)
        if not settings:
            return 1.0
        stated_rank = _number(_for_layer(settings, "rank_pattern", name, settings.get("r", rank)), "r")
        alpha = _for_layer(
            settings, "alpha_pattern", name, settings.get("lora_alpha", settings.get("alpha", stated_rank))
        )
        if stated_rank <= 0 or rank not in (None, stated_rank):
            raise Misfit(f"rank {rank}, but {stated_rank:g} in the file's metadata")
        return _number(alpha, "lora_alpha") / (math.sqrt(stated_rank) if settings.get("use_rslora") else stated_rank)


class Misfit(Exception):
    """The tensors of one layer do not fit together; says why."""


@dataclass(frozen=True, eq=False)
class LoraFile:
    """layers: layer name → which of its tensors → the tensor. others: other names. made_for: see `describe_origin`."""

    layers: Mapping[str, Mapping[str, Tensor]]
    others: tuple[str, ...]
    strengths: Strengths
    made_for: str


def read_file(path: Path, parts: Sequence[str]) -> LoraFile:
    """Read a .safetensors LoRA. parts: those of the pipeline, the denoiser first. Raises RethinkError."""
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        what = "is not a .safetensors file" if path.exists() else "does not exist"
        raise RethinkError(f"lora: {path} {what}; choose a LoRA in that format.")
    check_weights("lora", path)
    with lazy_import("safetensors").safe_open(path, framework="pt") as file:
        # Copies: on Windows, a training run cannot replace a file that tensors are still mapped from.
        weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    for name, weight in weights.items():
        if not torch.isfinite(weight.float()).all():
            raise RethinkError(f"lora: {path} has NaN or infinite values in {name}; use another file.")
    return lora_file(weights, metadata, parts, path)


def lora_file(weights: Mapping[str, Tensor], metadata: Mapping[str, str], parts: Sequence[str], path: Path) -> LoraFile:
    """The tensors of a file sorted by layers. Raises RethinkError for kinds of LoRA that no loader applies."""
    for name in weights:
        kind = next((kind for pattern, kind in _FOREIGN if re.search(pattern, name)), None)
        if kind is not None:
            raise RethinkError(f"lora: {path} is of the kind {kind}, which cannot be applied; use another one.")
    layers, others = _by_layer(weights)
    return LoraFile(layers, others, _strengths(metadata, parts, path), describe_origin(metadata))


def is_embedding(name: str) -> bool:
    """Whether a tensor is a learned embedding, which trainers put into the same file."""
    return _EMBEDDINGS.match(name) is not None


def kinds_of(layers: Mapping[str, Mapping[str, Tensor]]) -> str:
    """The kind of a file, for messages."""
    slots = {slot for tensors in layers.values() for slot in tensors}
    marks = (
        ("lokr_", "LoKr"),
        ("hada_", "LoHa"),
        ("dora_scale", "DoRA"),
        ("magnitude", "DoRA"),
        ("oft_blocks", "OFT"),
        ("a1", "GLoRA"),
    )
    return next((kind for mark, kind in marks if any(slot.startswith(mark) for slot in slots)), "LoRA")


def change_of(
    tensors: Mapping[str, Tensor], shape: Sequence[int], place: str, strengths: Strengths
) -> tuple[Change, tuple[str, ...]]:
    """(what the tensors of one layer change, the unused ones).

    shape: of the layer's weight [out, in, …kernel]; of a fused layer, that of all its parts together. place: the
    module, or the first of its parts. Raises Misfit for tensors that do not fit together or do not fit this shape.
    """
    left = dict(tensors)
    alpha = _alpha(left.pop("alpha", None))
    adapter = _adapter(left, tuple(shape), alpha, place, strengths)
    bias = left.pop("diff_b", left.pop("b_norm", None))
    up_bias = left.pop("up_bias", None)
    if up_bias is not None and isinstance(adapter, Product):
        bias = up_bias * adapter.scale
    if bias is not None and bias.numel() != shape[0]:
        raise Misfit(f"a bias of {bias.numel()} instead of {shape[0]}")
    return Change(adapter, None if bias is None else bias.flatten()), tuple(left)


def _adapter(
    left: dict[str, Tensor], shape: tuple[int, ...], alpha: float | None, place: str, strengths: Strengths
) -> Adapter | None:
    """The adapter that the tensors form; they are removed from `left`."""

    def scale(rank: int | None) -> float:
        if alpha is None:
            return strengths.of(place, rank)
        return 1.0 if rank is None else alpha / rank

    dora, magnitude = left.pop("dora_scale", None), left.pop("magnitude", None)
    adapter: Adapter | None = None
    if "down" in left or "up" in left:
        adapter = _product(left, shape, scale)
    elif any(name.startswith("hada_") for name in left):
        adapter = _hadamard(left, shape, scale)
    elif any(name.startswith("lokr_") for name in left):
        adapter = _kronecker(left, shape, scale)
    elif "oft_blocks" in left:
        return _rotated(left, shape, alpha or 0.0)
    elif "a1" in left:
        return _generalized(left, shape, scale)
    elif "diff" in left or "w_norm" in left:
        diff = left.pop("diff", None)
        return Difference(_shaped(left.pop("w_norm") if diff is None else diff, shape, "a difference"))
    if dora is None and magnitude is None:
        return adapter
    if not isinstance(adapter, Additive):
        raise Misfit("lengths of a DoRA without its factors")
    if magnitude is not None:
        return Normalized(adapter, _sized(magnitude.flatten(), shape[0], "lengths"))
    assert dora is not None  # one of the two is present
    if dora.numel() not in (shape[0], shape[1]):
        raise Misfit(f"{dora.numel()} lengths of a DoRA for {shape[0]} outputs and {shape[1]} inputs")
    return Decomposed(adapter, dora)


def _product(left: dict[str, Tensor], shape: tuple[int, ...], scale: Any) -> Product:
    down, up = _taken(left, "down", "up")
    if down is None or up is None or down.ndim < 2 or up.ndim < 2 or down.shape[0] != _columns(up):
        raise Misfit("two factors that do not belong together (their ranks)")
    rank, mid = down.shape[0], left.pop("mid", None)
    if mid is not None:
        if mid.ndim < 3 or tuple(mid.shape[:2]) != (rank, rank):
            raise Misfit("a middle factor of another rank")
        down = torch.einsum("mn...,nj->mj...", mid.float(), down.float().flatten(1))
    return Product(_shaped(down, (rank, *shape[1:]), "LoRA"), _shaped(up, (shape[0], rank), "LoRA"), scale(rank))


def _hadamard(left: dict[str, Tensor], shape: tuple[int, ...], scale: Any) -> Hadamard:
    up, down, up_2, down_2 = _taken(left, "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    if up is None or down is None or up_2 is None or down_2 is None:
        raise Misfit("a LoHa that lacks one of its four factors")
    rank = down.shape[0]
    core, core_2 = _taken(left, "hada_t1", "hada_t2")
    if core is not None and core_2 is not None:
        (down, up), (down_2, up_2) = _from_core(core, up, down), _from_core(core_2, up_2, down_2)

    def fitted(inner: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
        size = inner.shape[0]
        return _shaped(inner, (size, *shape[1:]), "LoHa"), _shaped(outer, (shape[0], size), "LoHa")

    return Hadamard(*fitted(down, up), *fitted(down_2, up_2), scale(rank))


def _kronecker(left: dict[str, Tensor], shape: tuple[int, ...], scale: Any) -> Kronecker:
    rank = None
    sides = []
    for side, core in (("lokr_w1", None), ("lokr_w2", left.pop("lokr_t2", None))):
        whole, up, down = _taken(left, side, f"{side}_a", f"{side}_b")
        if whole is None:
            if up is None or down is None:
                raise Misfit("a LoKr that lacks one of its factors")
            rank = down.shape[0]
            if core is not None:
                down, up = _from_core(core, up, down)
            if _columns(up) != down.shape[0]:
                raise Misfit("factors of a LoKr that do not belong together (their ranks)")
            whole = torch.einsum("or,r...->o...", up.float(), down.float())
        sides.append(whole)
    first, second = sides
    if first.ndim != 2 or shape[0] != first.shape[0] * second.shape[0] or shape[1] % first.shape[1]:
        raise Misfit(f"a LoKr of {' × '.join(map(str, first.shape))} by {' × '.join(map(str, second.shape))}")
    second = _shaped(second, (second.shape[0], shape[1] // first.shape[1], *shape[2:]), "LoKr")
    return Kronecker(first, second, scale(rank))


def _rotated(left: dict[str, Tensor], shape: tuple[int, ...], limit: float) -> Rotated | Butterfly:
    blocks = left.pop("oft_blocks").float()
    size = blocks.shape[-1]
    if blocks.ndim not in (3, 4) or blocks.shape[-2] != size or blocks.shape[-3] * size != shape[0]:
        raise Misfit(f"an OFT of {' × '.join(map(str, blocks.shape))} for {shape[0]} outputs")
    if blocks.ndim == 3:
        return Rotated(rotation(blocks, limit))
    rescale = left.pop("rescale", None)
    if rescale is not None:
        rescale = _shaped(rescale, (shape[0], *(1,) * (len(shape) - 1)), "the lengths of a BOFT")
    return Butterfly(rotation(blocks, limit), rescale)


def _generalized(left: dict[str, Tensor], shape: tuple[int, ...], scale: Any) -> Generalized:
    a1, a2, b1, b2 = (None if one is None else one.flatten(1) for one in _taken(left, "a1", "a2", "b1", "b2"))
    if a1 is None or a2 is None or b1 is None or b2 is None:
        raise Misfit("a GLoRA that lacks one of its four factors")
    older = b2.shape[1] == b1.shape[0] == a1.shape[0] == a2.shape[1]
    if b2.shape[0] == b1.shape[1] == a1.shape[1] == a2.shape[0]:
        older = older and a2.shape[0] == shape[0] == shape[1]
    if older:  # LyCORIS once swapped the names
        a1, a2, b1, b2 = a2, a1, b2, b1
    rank, inputs = a2.shape[0], shape[1]
    strength = scale(rank)
    right = Product(_shaped(a2, (rank, inputs), "GLoRA"), _shaped(a1, (inputs, rank), "GLoRA"), strength)
    added = Product(_shaped(b2, (rank, *shape[1:]), "GLoRA"), _shaped(b1, (shape[0], rank), "GLoRA"), strength)
    return Generalized(right, added)


def _from_core(core: Tensor, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """(down, up) of LyCORIS's Tucker form: core [r₁, r₂, …kernel], up [r₁, out], down [r₂, in]."""
    if core.ndim < 3 or core.shape[0] != up.shape[0] or core.shape[1] != down.shape[0]:
        raise Misfit("a core of another rank than its factors")
    return torch.einsum("ij...,jr->ir...", core.float(), down.float()), up.T


def _taken(left: dict[str, Tensor], *names: str) -> tuple[Tensor | None, ...]:
    return tuple(left.pop(name, None) for name in names)


def _columns(up: Tensor) -> int:
    return math.prod(up.shape[1:])


def _shaped(tensor: Tensor, shape: tuple[int, ...], kind: str) -> Tensor:
    """The tensor in a shape with the same size and number of rows: 1 × 1 convolutions and linear layers are
    interchangeable."""
    if tensor.ndim == 0 or tensor.shape[0] != shape[0] or tensor.numel() != math.prod(shape):
        raise Misfit(f"{kind} of {' × '.join(map(str, tensor.shape))} instead of {' × '.join(map(str, shape))}")
    return tensor.reshape(shape)


def _sized(tensor: Tensor, count: int, what: str) -> Tensor:
    if tensor.numel() != count:
        raise Misfit(f"{tensor.numel()} {what} instead of {count}")
    return tensor


def _alpha(tensor: Tensor | None) -> float | None:
    if tensor is None:
        return None
    if tensor.numel() != 1:
        raise Misfit(f"an alpha of {tensor.numel()} numbers instead of one")
    return float(tensor)


def _by_layer(weights: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], tuple[str, ...]]:
    layers: dict[str, dict[str, Tensor]] = {}
    others = []
    for name, weight in weights.items():
        found = _ENDING.search(name)
        if found is None or is_embedding(name):
            others.append(name)
            continue
        slot = (
            found["plain"]
            or found["glora"]
            or next(slot for i, (_, slot) in enumerate(_ENDINGS) if found[f"x{i}"] is not None)
        )
        layers.setdefault(name[: found.start()], {})[slot] = weight
    return layers, tuple(others)


def _strengths(metadata: Mapping[str, str], parts: Sequence[str], path: Path) -> Strengths:
    raw = metadata.get("lora_adapter_metadata")
    if not raw:
        return Strengths()
    try:
        config = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RethinkError(
            f"lora: the metadata of {path} cannot be read ({error}); download the file again."
        ) from error
    if not isinstance(config, dict):
        raise RethinkError(f"lora: the metadata of {path} must be a JSON object with r and lora_alpha.")
    found: dict[str, dict[str, Any]] = {}
    for key, value in config.items():
        part = next((part for part in parts if key.startswith(f"{part}.")), None)
        found.setdefault(part or parts[0], {})[key.removeprefix(f"{part}.")] = value
    return Strengths(found)


def _for_layer(settings: Mapping[str, Any], pattern: str, name: str, default: Any) -> Any:
    """The value of a layer in PEFT's rank_pattern or alpha_pattern, whose keys are name suffixes or expressions."""
    patterns = settings.get(pattern) or {}
    if not isinstance(patterns, dict):
        raise Misfit(f"{pattern} in the file's metadata, which is not an object")
    for key, value in patterns.items():
        for spelling in (name, f"text_model.{name}"):  # transformers has removed this word
            try:
                if re.match(rf"(?:.*\.)?(?:{key})$", spelling):
                    return value
            except re.error as error:
                raise Misfit(f"{pattern} in the file's metadata, which is not a valid expression ({error})") from error
    return default


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Misfit(f"{what} {value!r} in the file's metadata, which is not a number")
    return value
