"""The names of a layer in LoRA files: diffusers', the model authors', kohya's and those of other trainers.

Dots and underscores are treated as the same, since half of the trainers use one and half the other.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from .lora_adapters import CONVOLUTIONS

DENOISERS = ("transformer", "unet")
_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")

# The trainers' names for the parts of a model. A text encoder that a pipeline lacks is the previous one: FLUX's T5 is
# the second one here and kohya's third.
_PARTS = (
    (re.compile(r"lora_te3_|text_encoder_3\."), _ENCODERS[::-1]),
    (re.compile(r"lora_te2_|text_encoder_2\.|text_encoders\.(?:clip_g|t5xxl)\.transformer\."), _ENCODERS[1:2]),
    (re.compile(r"lora_te1?_|text_encoder\.|text_encoders\.(?:\w+\.)?transformer\."), _ENCODERS[:1]),
    (re.compile(r"lora_unet_|lora_transformer_|lycoris_|transformer\.|unet\."), DENOISERS),
)
_FUSED = {
    "to_qkv": ("to_q", "to_k", "to_v"),
    "to_kv": ("to_k", "to_v"),
    "to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
}
_WRAPPERS = re.compile(r"base_model\.model\.|model\.diffusion_model\.|diffusion_model\.")


@dataclass(frozen=True, eq=False)
class Piece:
    """Part of a named layer: the module, and which rows of the named layer it has (None: all)."""

    place: str
    rows: Tensor | None = None


def resolve_layer(stem: str, known: Mapping[str, Mapping[str, tuple[Piece, ...]]]) -> tuple[Piece, ...] | None:
    """The pieces of the layer `stem` of a file; `known`: from `module_aliases`."""
    parts, rest = _split(stem)
    rest = _plain(rest.replace(".processor.", "."))
    for part in parts:
        for name in (rest, f"{rest}_0"):  # diffusers' attention used to name its output projection without the index
            if name in known.get(part, ()):
                return known[part][name]
    return None


def has_diffusers_name(stem: str, pieces: Sequence[Piece]) -> bool:
    """Whether a file uses diffusers' own name for the layer."""
    return len(pieces) == 1 and _plain(_split(stem)[1]) == _plain(pieces[0].place.partition(".")[2])


def module_aliases(modules: Mapping[str, nn.Module]) -> dict[str, dict[str, tuple[Piece, ...]]]:
    """Part of the pipeline → every name of its layers → their pieces. modules: by full name."""
    parts: dict[str, dict[str, nn.Module]] = {}
    for place, layer in modules.items():
        part, _, name = place.partition(".")
        parts.setdefault(part, {})[name] = layer
    return {part: _aliases_within(part, layers) for part, layers in parts.items()}


def shape_of(layer: nn.Module) -> tuple[int, ...]:
    """The shape of the weight, [out, in, …kernel], however a quantized layer packs it; () if it has none."""
    if hasattr(layer, "in_features") and hasattr(layer, "out_features"):
        return cast(int, layer.out_features), cast(int, layer.in_features)
    if isinstance(layer, CONVOLUTIONS):
        return layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size
    weight = getattr(layer, "weight", None)
    return tuple(weight.shape) if isinstance(weight, Tensor) else ()


def _split(stem: str) -> tuple[Sequence[str], str]:
    """(the parts that a name may belong to, the name in them)."""
    parts: Sequence[str] = DENOISERS
    seen = False
    while True:
        if wrapper := _WRAPPERS.match(stem):
            stem = stem[wrapper.end() :]
            continue
        matches = ((pattern.match(stem), of) for pattern, of in _PARTS)
        prefix = next(((match, of) for match, of in matches if match), None)
        if prefix is None or seen:
            return parts, stem
        seen, parts, stem = True, prefix[1], stem[prefix[0].end() :]


def _aliases_within(part: str, layers: Mapping[str, nn.Module]) -> dict[str, tuple[Piece, ...]]:
    found: dict[str, tuple[Piece, ...]] = {}
    for name, own in _name_variants(part, layers):
        if all(one in layers for one in own):
            found.setdefault(_plain(name), _pieces(part, own, layers))
    if "norm_out.linear" in layers:
        found["final_layer_adaLN_modulation_1"] = (_swapped(f"{part}.norm_out.linear", layers["norm_out.linear"]),)
    return found | {_plain(name): (Piece(f"{part}.{name}"),) for name in layers}


def _name_variants(part: str, layers: Mapping[str, nn.Module]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(another name, the layers that it consists of)."""
    if part in _ENCODERS:
        for name in layers:
            yield from ((other, (name,)) for other in _encoder_names(name))
        return
    for holder in (name.removesuffix("to_q") for name in layers if name.endswith("to_q")):
        for whole, parts in _FUSED.items():  # diffusers' fuse_qkv_projections, which some use for training
            yield f"{holder}{whole}", tuple(f"{holder}{one}" for one in parts)
    if part == "unet":
        yield from ((original, (name,)) for name, original in _sgm_names(layers))
    elif any(name.startswith("single_transformer_blocks.") for name in layers):
        yield from _flux_names(layers)


def _encoder_names(name: str) -> Iterator[str]:
    """transformers has moved layers of CLIP and Qwen-VL around; diffusers had its own names for CLIP's for a while."""
    bare = re.sub(r"^(?:text_model|model\.language_model|language_model\.model|model)\.", "", name)
    for prefix in ("", "text_model.", "model.", "model.language_model."):
        yield prefix + bare
        for own, old in (("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out")):
            if name.endswith(f"self_attn.{own}"):
                yield prefix + bare.removesuffix(own) + old


# ── Stable Diffusion, as Stability AI's code and kohya's SDXL trainer count its blocks ───────────────────────────────

_SGM_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_SGM_OUTER = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def _sgm_names(layers: Mapping[str, nn.Module]) -> Iterator[tuple[str, str]]:
    """(diffusers' name, the original one)."""
    found = [match for match in map(_BLOCK.match, layers) if match]
    resnets: dict[tuple[str, int], int] = {}  # per side and block
    for side, block, kind, index, _ in (match.groups() for match in found):
        if kind == "resnets":
            resnets[side, int(block)] = max(resnets.get((side, int(block)), 0), int(index) + 1)
    attends = {(side, int(block)) for side, block, kind, *_ in (m.groups() for m in found) if kind == "attentions"}
    for match in found:
        side, block, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
        before = sum(count for (of, earlier), count in resnets.items() if of == side and earlier < block)
        if kind == "downsamplers":
            yield match[0], f"input_blocks.{1 + before + block + resnets[side, block]}.0.op"
        elif kind == "upsamplers":
            last = before + resnets[side, block] - 1
            yield match[0], f"output_blocks.{last}.{2 if (side, block) in attends else 1}.{rest}"
        else:
            group = (
                f"input_blocks.{1 + before + block + index}" if side == "down" else f"output_blocks.{before + index}"
            )
            yield match[0], f"{group}.{_sgm_layer(kind, rest)}"
    for match in filter(None, map(_MIDDLE.match, layers)):
        kind, index, rest = match.groups()
        place = 1 if kind == "attentions" else 2 * int(index)
        yield match[0], f"middle_block.{place}.{_sgm_layer(kind, rest).partition('.')[2]}"
    yield from _SGM_OUTER.items()


def _sgm_layer(kind: str, rest: str) -> str:
    return f"1.{rest}" if kind == "attentions" else f"0.{_SGM_RESNET.get(rest, rest)}"


# ── FLUX.1, FLUX.2 and what is built like them, as Black Forest Labs' code calls them, and XLabs' ────────────────────

_QKV, _ADDED = ("attn.to_q", "attn.to_k", "attn.to_v"), ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
_DOUBLE = {
    "img_attn.qkv": (_QKV,),
    "qkv_lora1": (_QKV,),
    "txt_attn.qkv": (_ADDED,),
    "qkv_lora2": (_ADDED,),
    "img_attn.proj": (("attn.to_out.0",),),
    "proj_lora1": (("attn.to_out.0",),),
    "txt_attn.proj": (("attn.to_add_out",),),
    "proj_lora2": (("attn.to_add_out",),),
    "img_mlp.0": (("ff.net.0.proj",), ("ff.linear_in",)),
    "img_mlp.2": (("ff.net.2",), ("ff.linear_out",)),
    "txt_mlp.0": (("ff_context.net.0.proj",), ("ff_context.linear_in",)),
    "txt_mlp.2": (("ff_context.net.2",), ("ff_context.linear_out",)),
    "img_mod.lin": (("norm1.linear",),),
    "txt_mod.lin": (("norm1_context.linear",),),
    "img_attn.norm.query_norm": (("attn.norm_q",),),
    "img_attn.norm.key_norm": (("attn.norm_k",),),
    "txt_attn.norm.query_norm": (("attn.norm_added_q",),),
    "txt_attn.norm.key_norm": (("attn.norm_added_k",),),
}
_SINGLE = {
    "linear1": ((*_QKV, "proj_mlp"), ("attn.to_qkv_mlp_proj",)),
    "linear1_qkv": (_QKV,),
    "qkv": (_QKV,),
    "linear2": (("proj_out",), ("attn.to_out",)),
    "proj": (("proj_out",), ("attn.to_out",)),
    "modulation.lin": (("norm.linear",),),
    "norm.query_norm": (("attn.norm_q",),),
    "norm.key_norm": (("attn.norm_k",),),
}
_TIMES = ("time_text_embed", "time_guidance_embed", "time_embed")
_FLUX_OUTER = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "final_layer.linear": ("proj_out",),
    "double_stream_modulation_img.lin": ("double_stream_modulation_img.linear",),
    "double_stream_modulation_txt.lin": ("double_stream_modulation_txt.linear",),
    "single_stream_modulation.lin": ("single_stream_modulation.linear",),
} | {
    f"{original}.{layer}": tuple(f"{holder}.{own}.linear_{number}" for holder in _TIMES)
    for original, own in (
        ("time_in", "timestep_embedder"),
        ("vector_in", "text_embedder"),
        ("guidance_in", "guidance_embedder"),
    )
    for layer, number in (("in_layer", 1), ("out_layer", 2))
}


def _flux_names(layers: Mapping[str, nn.Module]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for original, block, table in (
        ("double_blocks", "transformer_blocks", _DOUBLE),
        ("single_blocks", "single_transformer_blocks", _SINGLE),
    ):
        numbers = {name.split(".")[1] for name in layers if name.startswith(f"{block}.")}
        for number in numbers:
            for name, choices in table.items():
                for choice in choices:
                    yield f"{original}.{number}.{name}", tuple(f"{block}.{number}.{one}" for one in choice)
    for name, choices in _FLUX_OUTER.items():
        yield from ((name, (choice,)) for choice in choices)
    for name in layers:  # as in some files
        if name.startswith("transformer_blocks."):
            yield name.removeprefix("tran"), (name,)


def _pieces(part: str, own: Sequence[str], layers: Mapping[str, nn.Module]) -> tuple[Piece, ...]:
    if len(own) == 1:
        return (Piece(f"{part}.{own[0]}"),)
    sizes = [shape_of(layers[name])[0] for name in own]
    rows = torch.arange(sum(sizes)).split(sizes)
    return tuple(Piece(f"{part}.{name}", of) for name, of in zip(own, rows))


def _swapped(place: str, layer: nn.Module) -> Piece:
    """The last modulation has shift before scale in the original, and scale before shift in diffusers."""
    shift, scale = torch.arange(shape_of(layer)[0]).chunk(2)
    return Piece(place, torch.cat([scale, shift]))


def _plain(name: str) -> str:
    return name.replace(".", "_")
