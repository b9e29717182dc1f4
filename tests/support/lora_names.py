"""What the layers of models of full width are called that learn, with few blocks of each kind, and without their weights."""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import nn

from rethink.editors.families import FAMILIES
from rethink.training.edit_model import EditModel
from rethink.training.lora_families import TRAINED, name_weights

_FEW = {"num_layers": 2, "num_single_layers": 2}
_XL = {
    "in_channels": 8,
    "cross_attention_dim": 2048,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
}


def stems(family: str, choice: str) -> list[str]:
    """The names in a file of a LoRA for a family that diffusers runs, of the layers of choice."""
    row, targets = TRAINED[family], next(each.lora_targets for each in FAMILIES if each.id == family)
    with torch.device("meta"):
        denoiser = _denoisers()[family]()
    layers = EditModel.layers(SimpleNamespace(row=row, lora_targets=targets, denoiser=denoiser, text=None), choice, 1)
    factors = {name: (torch.zeros(1, 1), torch.zeros(1, 1)) for name in layers}
    names = name_weights(row.names, factors, torch.float32)
    return sorted({name.rsplit(".lora_", 1)[0] for name in names if ".lora_" in name})


def _denoisers() -> dict[str, Callable[[], nn.Module]]:
    import diffusers

    return {
        "instruct_pix2pix": lambda: diffusers.UNet2DConditionModel(in_channels=8, cross_attention_dim=768),
        "instruct_pix2pix_xl": lambda: diffusers.UNet2DConditionModel(**_XL),
        "flux_kontext": lambda: diffusers.FluxTransformer2DModel(**_FEW, guidance_embeds=True),
        "qwen_image_edit": lambda: diffusers.QwenImageTransformer2DModel(num_layers=2),
        "flux2": lambda: diffusers.Flux2Transformer2DModel(**_FEW),
        "flux2_klein": lambda: diffusers.Flux2Transformer2DModel(**_FEW, guidance_embeds=False),
        "longcat_image_edit": lambda: diffusers.LongCatImageTransformer2DModel(**_FEW),
    }
