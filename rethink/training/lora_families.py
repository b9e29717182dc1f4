"""The families of editors that a LoRA can be trained for, as rows of data: their noise, the names in their files, defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import RethinkError
from .noising import FlowNoise

Names = Literal["kohya", "diffusers", "comfyui"]
TEXT_PART = "text_encoder."  # prefix of the names of a text encoder's layers; all others are the denoiser's


@dataclass(frozen=True)
class TrainedFamily:
    """How a family of editors is trained.

    Attributes:
        layout: Where the source is in the denoiser's input: in additional "channels", or as "tokens" after those of the result.
        noise: A flow, or None for diffusion with the editor's own scheduler.
        names: How files name the layers: like "kohya" for U-Nets, or by "diffusers" names. ComfyUI and diffusers both match all
            layers, but only in this spelling. "comfyui": by the names in ComfyUI's own model.
        base: The base model that files name (ss_base_model_version).
        architecture: The same for the modelspec fields.
        nameless: Prefixes of the layers for which ComfyUI has no names; they do not learn.
        drop_text, drop_image: The shares of samples that lose only the text, or only the source (as many lose both), if the editor
            uses guidance; whole batches lose them if texts differ in length and the source is additional tokens.
        learning_rate, rank, batch, accumulate: Defaults for settings that are left open.
        encoding: Increased whenever pairs are encoded differently, such as at another size or with another template, so that older
            latents are not reused.
        text_encoder: Whether its text encoder can be trained too.
    """

    layout: Literal["channels", "tokens"]
    noise: FlowNoise | None
    names: Names
    base: str
    architecture: str
    nameless: tuple[str, ...] = ()
    drop_text: float = 0.0
    drop_image: float = 0.0
    learning_rate: float = 1e-4
    rank: int = 16
    batch: int = 1
    accumulate: int = 4
    encoding: int = 1
    text_encoder: bool = False


_FLUX2_SHARED = ("time_guidance_embed.", "double_stream_modulation", "single_stream_modulation")
_FLUX_FLOW, _QWEN_FLOW = FlowNoise(), FlowNoise(most=8192, high=0.9)

# By the id of the editor's family.
TRAINED: dict[str, TrainedFamily] = {
    "instruct_pix2pix": TrainedFamily(
        "channels",
        None,
        "kohya",
        "sd_1.5",
        "stable-diffusion-v1/lora",
        drop_text=0.05,
        drop_image=0.05,
        text_encoder=True,
    ),
    "instruct_pix2pix_xl": TrainedFamily(
        "channels", None, "kohya", "sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora", drop_text=0.05, drop_image=0.05
    ),
    "flux_kontext": TrainedFamily("tokens", _FLUX_FLOW, "diffusers", "flux.1_kontext", "flux-1-kontext/lora"),
    "qwen_image_edit": TrainedFamily(
        "tokens", _QWEN_FLOW, "diffusers", "qwen_image", "qwen-image-edit/lora", learning_rate=5e-5
    ),
    "qwen_image_edit_plus": TrainedFamily(
        "tokens", _QWEN_FLOW, "diffusers", "qwen_image", "qwen-image-edit-plus/lora", learning_rate=5e-5
    ),
    "flux2": TrainedFamily("tokens", _FLUX_FLOW, "diffusers", "flux2", "flux-2/lora", _FLUX2_SHARED),
    "flux2_klein": TrainedFamily("tokens", _FLUX_FLOW, "diffusers", "flux2_klein", "flux-2-klein/lora", _FLUX2_SHARED),
    "longcat_image_edit": TrainedFamily(
        "tokens", _FLUX_FLOW, "diffusers", "longcat_image", "longcat-image-edit/lora", ("time_embed.",)
    ),
}


def trained_family(family: str, title: str) -> TrainedFamily:
    """The row of an editor's family. Raises RethinkError if there is no trainer for it."""
    if family not in TRAINED:
        known = ", ".join(TRAINED)
        raise RethinkError(
            f"editor: there is no trainer for {title} yet; choose an editor of one of these families: {known}."
        )
    return TRAINED[family]


def _kohya_name(layer: str) -> str:
    """The name in kohya's spelling, where a text encoder's layers have the prefix of transformers 4, which 5 drops."""
    if layer.startswith(TEXT_PART):
        return "lora_te_text_model_" + layer.removeprefix(TEXT_PART).removeprefix("text_model.").replace(".", "_")
    return "lora_unet_" + layer.replace(".", "_")


def name_weights(names: Names, factors: Mapping[str, tuple[Tensor, Tensor]], dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of a file with its family's names. factors: {layer of the denoiser or the text encoder: (down [rank, in, …],
    up [out, rank])}.

    Only kohya's spelling has an alpha, since loaders of the others disagree about it; where the rank is the alpha, it is not
    needed.
    """
    weights = {}
    for name, (down, up) in factors.items():
        up = up.reshape(*up.shape, *(1,) * (down.ndim - 2))  # of a convolution: 1 × 1
        down, up = down.to(dtype).contiguous(), up.to(dtype).contiguous()
        if names == "kohya":
            stem = _kohya_name(name)
            alpha = torch.tensor(float(len(down)))
            weights |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": alpha}
        else:
            stem = f"{'transformer' if names == 'diffusers' else 'diffusion_model'}.{name}"
            weights |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
    return weights
