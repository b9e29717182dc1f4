"""Which families of editors a LoRA can be trained for, as rows of data: how they are noised, what their files are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import RethinkError
from .noising import FlowNoise

Names = Literal["kohya", "diffusers", "comfyui"]
TEXT_PART = "text_encoder."  # how the names of a text encoder's layers begin; others are the denoiser's


@dataclass(frozen=True)
class TrainedFamily:
    """How a family of editors is trained.

    Attributes:
        layout: Where the source is in the denoiser's input: in further "channels", or as "tokens" after those of the result.
        noise: A flow, or None: diffusion, by the editor's own scheduler.
        names: How a file calls the layers: as "kohya" does for U-Nets, or by "diffusers" names. ComfyUI and diffusers both
            match all of them, each in this spelling only. "comfyui": by the names that ComfyUI's own model has.
        base: What files say they were trained on (ss_base_model_version).
        architecture: The same for the fields of modelspec.
        nameless: How the names of layers begin for which ComfyUI has none; they do not learn.
        drop_text, drop_image: The shares of samples that lose the text alone, the source alone, and as many both, where the
            editor guides by comparing with none; whole batches do, where texts differ in length and a source is further tokens.
        learning_rate, rank, batch, accumulate: What suits it, where nothing else is asked for.
        encoding: Raised whenever pairs are encoded in another way than before, by another size or another template, so that no
            latents of before are found.
        text_encoder: Whether its text encoder can learn too.
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
    """The row of an editor's family. Raises RethinkError where there is no trainer for it."""
    if family not in TRAINED:
        known = ", ".join(TRAINED)
        raise RethinkError(f"editor: there is no trainer for {title} yet; choose an editor of one of {known}.")
    return TRAINED[family]


def _kohya_name(layer: str) -> str:
    """In its spelling, the names of a text encoder's layers begin as they do in transformers 4; 5 leaves that away."""
    if layer.startswith(TEXT_PART):
        return "lora_te_text_model_" + layer.removeprefix(TEXT_PART).removeprefix("text_model.").replace(".", "_")
    return "lora_unet_" + layer.replace(".", "_")


def name_weights(names: Names, factors: Mapping[str, tuple[Tensor, Tensor]], dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of a file: {layer of the denoiser, or of the text encoder: (down [rank, in, …], up [out, rank])} by the names of
    its family.

    Without alpha but in kohya's spelling, as its loaders disagree about one; a rank that is the alpha needs none.
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
