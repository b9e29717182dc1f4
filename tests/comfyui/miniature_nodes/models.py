"""Miniature models of every native family.

Diffusion models and VAEs are written as files in ComfyUI's own layout when the pack is imported, for ComfyUI's own
loaders. Where ComfyUI knows a size by heart instead of reading it off the file, a twin of its class knows a smaller one.
Text encoders, nearly all of whose sizes it knows by heart, are built from its classes with smaller numbers.
All weights are random, and the same in every run.
"""

import base64
import json
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import comfy.model_detection
import comfy.quant_ops
import comfy.sd
import comfy.supported_models
import comfy.taesd.taesd
import comfy.text_encoders.bpe_tokenizer
import comfy.text_encoders.flux
import comfy.text_encoders.longcat_image
import comfy.text_encoders.omnigen2
import comfy.text_encoders.qwen_image
import comfy.text_encoders.qwen_vl
import comfy.utils
import folder_paths
import torch
from comfy import sd1_clip, sdxl_clip
from comfy.ldm.wan.vae import WanVAE
from comfy.text_encoders import qwen3vl

WIDTH = 128  # of a head, which ComfyUI fixes


def fill(module, seed=0):
    """Random weights at which signals neither die nor explode."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in module.state_dict().items():
        if not weight.is_floating_point() or weight.ndim == 0:
            continue
        if weight.ndim > 1:
            scale = weight[0].numel() ** -0.5
            weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
        else:
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
    return module


# Diffusion models

_FLUX = {
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": 64,
    "context_in_dim": 64,
    "hidden_size": WIDTH,
    "num_heads": 1,
    "mlp_ratio": 4.0,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [16, 56, 56],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": True,
    "txt_ids_dims": [],
    "image_model": "flux",
}
_FLUX2 = _FLUX | {
    "in_channels": 128,
    "out_channels": 128,
    "vec_in_dim": None,
    "context_in_dim": 96,
    "mlp_ratio": 3.0,
    "patch_size": 1,
    "axes_dim": [32, 32, 32, 32],
    "theta": 2000,
    "qkv_bias": False,
    "ops_bias": False,
    "global_modulation": True,
    "mlp_silu_act": True,
    "default_ref_method": "index",
    "ref_index_scale": 10.0,
    "txt_ids_dims": [3],
    "image_model": "flux2",
}
_UNET = {
    "image_size": 32,
    "in_channels": 8,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1],
    "context_dim": 64,
    "num_heads": 2,
    "num_head_channels": -1,
    "use_spatial_transformer": True,
    "legacy": False,
    "use_temporal_attention": False,
    "adm_in_channels": None,
    "use_linear_in_transformer": False,
}
_XL = {"context_dim": 128, "adm_in_channels": 64 + 1536, "num_classes": "sequential", "use_linear_in_transformer": True}
_QWEN = {
    "image_model": "qwen_image",
    "in_channels": 64,
    "num_layers": 1,
    "num_attention_heads": 1,
    "joint_attention_dim": 64,
}
_OMNIGEN2 = {
    "image_model": "omnigen2",
    "axes_dim_rope": [40, 40, 40],
    "axes_lens": [1024, 1664, 1664],
    "hidden_size": 120,
    "in_channels": 16,
    "num_attention_heads": 1,
    "num_kv_heads": 1,
    "num_layers": 1,
    "num_refiner_layers": 1,
    "multiple_of": 64,
    "patch_size": 2,
    "text_feat_dim": 64,
    "timestep_scale": 1000.0,
}

# Family → what ComfyUI shall see in the file of its model
MODELS = {
    "instruct_pix2pix": _UNET,
    "instruct_pix2pix_xl": _UNET | _XL,
    "flux_kontext": _FLUX,
    "qwen_image_edit": _QWEN,
    "qwen_image_edit_plus": _QWEN | {"default_ref_method": "index_timestep_zero"},
    "flux2": _FLUX2,
    "flux2_klein": _FLUX2 | {"guidance_embed": False},
    "longcat_image_edit": _FLUX | {"guidance_embed": False, "vec_in_dim": None},
    "omnigen2": _OMNIGEN2,
    "text_to_image": _UNET | {"in_channels": 4},
}


def twin(kind, seen, known):
    """A class of comfy.supported_models for miniatures. seen: what of the file tells it; known: what the file does not."""
    whole = getattr(comfy.supported_models, kind)
    changed = {"unet_config": whole.unet_config | seen, "unet_extra_config": whole.unet_extra_config | known}
    return type(kind, (whole,), changed)


_HEADS = {"num_heads": 2, "num_head_channels": -1}
_SMALL = {"model_channels": 32, "context_dim": 64}
_SMALL_XL = {"model_channels": 32, "context_dim": 128, "adm_in_channels": 64 + 1536, "transformer_depth": [1, 1]}
comfy.supported_models.models[:0] = [
    twin("SD15_instructpix2pix", _SMALL, _HEADS),
    twin("SD15", _SMALL, _HEADS),
    twin("SDXL_instructpix2pix", _SMALL_XL, _HEADS),
    twin("LongCatImage", {"context_in_dim": 64, "txt_ids_dims": []}, {"txt_ids_dims": [1, 2]}),
    twin("QwenImage", {}, {"num_attention_heads": 1, "joint_attention_dim": 64}),
    twin("Omnigen2", {}, _OMNIGEN2),
]


_SD = _UNET | {
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1] * 9 + [0] * 3,
    "context_dim": 768,
    "num_heads": 8,
}
_SDXL = _SD | {
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
    "context_dim": 2048,
    "adm_in_channels": 2816,
    "num_classes": "sequential",
    "use_linear_in_transformer": True,
}
_FEW = {"depth": 2, "depth_single_blocks": 2}

# Family → what ComfyUI sees in a model of as many blocks as tests/support/lora_names.py has of each kind
SEVERAL_BLOCKS = {
    "instruct_pix2pix": _SD,
    "instruct_pix2pix_xl": _SDXL,
    "flux_kontext": MODELS["flux_kontext"] | _FEW,
    "qwen_image_edit": MODELS["qwen_image_edit"] | {"num_layers": 2},
    "flux2": MODELS["flux2"] | _FEW,
    "flux2_klein": MODELS["flux2_klein"] | _FEW,
    "longcat_image_edit": MODELS["longcat_image_edit"] | _FEW,
}


def model_of_several_blocks(family):
    """ComfyUI's model without weights."""
    config = comfy.model_detection.model_config_from_unet_config(SEVERAL_BLOCKS[family], {"none": None})
    config.set_inference_dtype(torch.float32, None)
    return config.get_model({}, "", device="meta")


def diffusion_model(family):
    config = comfy.model_detection.model_config_from_unet_config(MODELS[family])
    config.set_inference_dtype(torch.float32, None)
    return fill(config.get_model({}, "").diffusion_model)


# VAEs

VAES = {"miniature_sd": 4, "miniature_flux": 16}  # name → latent channels


def write_files():
    """The files that ComfyUI's loaders read, into the first folder of their kind."""
    for family in MODELS:
        save(diffusion_model(family).state_dict(), "diffusion_models", f"miniature_{family}")
    save(in_four_bits(diffusion_model("flux_kontext")), "diffusion_models", "miniature_flux_kontext_nvfp4")
    for name, channels in VAES.items():
        save(tiny_vae(channels).state_dict(), "vae", name)
    tiny = tiny_vae(128)  # Load VAE knows this one by its name
    save(tiny.taesd_encoder.state_dict(), "vae_approx", "taef2_encoder")
    save(tiny.taesd_decoder.state_dict(), "vae_approx", "taef2_decoder")
    wan = fill(WanVAE(dim=8, z_dim=16, temperal_downsample=[False, True, True]))
    save(wan.state_dict(), "vae", "miniature_qwen")


def in_four_bits(model):
    """The weights with those of the blocks quantized as ComfyUI's own files have them."""
    weights = {}
    for name, weight in model.state_dict().items():
        if "_blocks." in name and weight.ndim == 2:
            packed = comfy.quant_ops.QuantizedTensor.from_float(weight, "TensorCoreNVFP4Layout")
            weights |= packed.state_dict(name)
            kind = json.dumps({"format": "nvfp4"}).encode()
            weights[name.removesuffix("weight") + "comfy_quant"] = torch.frombuffer(bytearray(kind), dtype=torch.uint8)
        else:
            weights[name] = weight
    return weights


def tiny_vae(channels):
    vae = fill(comfy.taesd.taesd.TAESD(latent_channels=channels))
    last = vae.taesd_decoder[-1]
    last.weight.data.mul_(0.1)  # colors shall lie between black and white, where a difference shows
    last.bias.data.fill_(0.5)
    return vae


def save(weights, kind, name, metadata=None):
    folder = Path(folder_paths.get_folder_paths(kind)[0])
    folder.mkdir(parents=True, exist_ok=True)
    path = str(folder / f"{name}.safetensors")
    comfy.utils.save_torch_file({key: weight.contiguous() for key, weight in weights.items()}, path, metadata)


# Text encoders

_CLIP = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "projection_dim": 64,
}
_T5 = {"d_model": 64, "d_ff": 64, "d_kv": 32, "num_heads": 2, "num_layers": 1}
_LLAMA = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 1, "num_key_value_heads": 1}
_LLAMA_OF_LAYERS = _LLAMA | {"hidden_size": 32}  # three of whose layers make one embedding


@cache
def text_encoder(family):
    target, sizes = {
        "instruct_pix2pix": (_target(sd1_clip.SD1Tokenizer, sd1_clip.SD1ClipModel), {"clip_l": _CLIP}),
        "instruct_pix2pix_xl": (
            _target(sdxl_clip.SDXLTokenizer, sdxl_clip.SDXLClipModel),
            {"clip_l": _CLIP, "clip_g": _CLIP},
        ),
        "flux_kontext": (
            _target(comfy.text_encoders.flux.FluxTokenizer, comfy.text_encoders.flux.flux_clip()),
            {"clip_l": _CLIP, "t5xxl": _T5},
        ),
        "qwen_image_edit": (
            _target(comfy.text_encoders.qwen_image.QwenImageTokenizer, comfy.text_encoders.qwen_image.te()),
            {"qwen25_7b": _LLAMA | {"num_hidden_layers": 1}},
        ),
        "flux2": (
            _target(comfy.text_encoders.flux.Flux2Tokenizer, comfy.text_encoders.flux.flux2_te()),
            {"mistral3_24b": _LLAMA_OF_LAYERS | {"num_hidden_layers": 31}},
        ),
        "flux2_klein": (
            _target(comfy.text_encoders.flux.KleinTokenizer, comfy.text_encoders.flux.klein_te()),
            {"qwen3_4b": _LLAMA_OF_LAYERS | {"num_hidden_layers": 28}},
        ),
        "flux2_klein_9b": (
            _target(
                comfy.text_encoders.flux.KleinTokenizer8B, comfy.text_encoders.flux.klein_te(model_type="qwen3_8b")
            ),
            {"qwen3_8b": _LLAMA | {"num_hidden_layers": 28}},
        ),
        "longcat_image_edit": (
            _target(comfy.text_encoders.longcat_image.LongCatImageTokenizer, comfy.text_encoders.longcat_image.te()),
            {"qwen25_7b": _LLAMA | {"num_hidden_layers": 1}},
        ),
        "omnigen2": (
            _target(comfy.text_encoders.omnigen2.Omnigen2Tokenizer, comfy.text_encoders.omnigen2.te()),
            {"qwen25_3b": _LLAMA | {"num_hidden_layers": 1}},
        ),
    }[{"qwen_image_edit_plus": "qwen_image_edit", "text_to_image": "instruct_pix2pix"}.get(family, family)]
    options = {f"{name}_model_config": dict(config) for name, config in sizes.items()}
    with small_eyes():
        clip = comfy.sd.CLIP(target, tokenizer_data={"tekken_model": _tekken()}, model_options=options)
    fill(clip.cond_stage_model)
    return clip


def _target(tokenizer, model):
    return SimpleNamespace(tokenizer=tokenizer, clip=model, params={})


@contextmanager
def small_eyes():
    """Within it the vision tower of Qwen2.5-VL, whose size is written into ComfyUI, is a small one."""
    vision, whole = comfy.text_encoders.qwen_vl, comfy.text_encoders.qwen_vl.Qwen2VLVisionTransformer

    def small(hidden_size, **options):
        return whole(hidden_size=64, intermediate_size=64, num_heads=2, num_layers=1, **options)

    vision.Qwen2VLVisionTransformer = small
    try:
        yield
    finally:
        vision.Qwen2VLVisionTransformer = whole


def vision_model():
    name = "qwen3vl_4b"
    config = replace(
        qwen3vl.QWEN3VL_CONFIGS[name](),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    vision = {"hidden_size": 64, "intermediate_size": 64, "depth": 2, "deepstack_visual_indexes": [0]}
    with (
        patch.dict(qwen3vl.QWEN3VL_CONFIGS, {name: partial(replace, config)}),
        patch.dict(qwen3vl.QWEN3VL_VISION, {name: vision}),
        patch.dict(qwen3vl.QWEN3VL_VISION_COMMON, {"num_heads": 2}),
    ):
        clip = comfy.sd.CLIP(_target(qwen3vl.tokenizer(name), qwen3vl.te(model_type=name)), disable_dynamic=True)
    generator = torch.Generator().manual_seed(0)
    for weights in clip.cond_stage_model.parameters():
        torch.nn.init.normal_(weights, 0, 0.3, generator=generator)
    return clip


def _tekken():
    """A Mistral tokenizer of single bytes."""
    special = [{"rank": rank, "token_str": f"<s{rank}>", "is_control": True} for rank in range(20)]
    vocab = [{"rank": b, "token_bytes": base64.b64encode(bytes([b])).decode(), "token_str": None} for b in range(256)]
    config = {
        "pattern": comfy.text_encoders.bpe_tokenizer._LLAMA_PATTERN,
        "default_num_special_tokens": 20,
        "default_vocab_size": 276,
    }
    data = json.dumps({"config": config, "vocab": vocab, "special_tokens": special}).encode()
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
