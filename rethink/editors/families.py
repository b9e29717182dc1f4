"""The kinds of editor as rows of data. A new kind is a new row and, if need be, a small function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from . import pipeline_adapters as adapters
from .pipeline_adapters import Call
from .protocol import Settings


@dataclass(frozen=True, eq=False)
class Pass:
    """One run of the model in a step: its weight for each row [rows], and what it is shown."""

    weight: Tensor
    sees_image: bool
    sees_text: bool


# (text guidance [rows], image guidance [rows]) → the passes, whose weights sum to 1 for every row.
Guidance = Callable[[Tensor, Tensor], tuple[Pass, ...]]


def dual_guidance(text: Tensor, image: Tensor) -> tuple[Pass, ...]:
    """InstructPix2Pix (arXiv 2211.09800), section 3.2.1, equation 3, sorted by pass.

    ε(∅,∅) + s_I [ε(I,∅) − ε(∅,∅)] + s_T [ε(I,T) − ε(I,∅)] = (1 − s_I) ε(∅,∅) + (s_I − s_T) ε(I,∅) + s_T ε(I,T):
    written so, it shows which passes a choice of scales does without.
    """
    return (
        Pass(1 - image, sees_image=False, sees_text=False),
        Pass(image - text, sees_image=True, sees_text=False),
        Pass(text, sees_image=True, sees_text=True),
    )


def text_guidance(text: Tensor, image: Tensor) -> tuple[Pass, ...]:
    """Classifier-free guidance (arXiv 2207.12598): (1 − s_T) ε(∅) + s_T ε(T). There is no image scale."""
    return (Pass(1 - text, sees_image=False, sees_text=False), Pass(text, sees_image=False, sees_text=True))


@dataclass(frozen=True)
class Variant:
    """Folders whose model_index.json has `value` for `entry`: their defaults, and options to open them with."""

    entry: str
    value: Any
    defaults: Settings
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """A kind of editor.

    pipelines: the diffusers classes whose folders hold it.
    lora_targets: the names of the layers that an edit LoRA adapts.
    references: how many further pictures it can look at.
    half: the half-precision format it was trained in, which it does not overflow.
    variants: folders of the family that are special.
    opened_as: the pipeline that edits, where it is not the folder's own class but works with the same parts.

    Stable Diffusion is sampled by our own loop (samplers.py), which these two describe:
    guidance: the passes of a step. source_channels: the model takes the source's latents as further input channels;
        otherwise it starts from them.
    All others are run by their diffusers pipeline, called as `call` says.
    """

    id: str
    title: str
    pipelines: tuple[str, ...]
    defaults: Settings
    lora_targets: tuple[str, ...]
    references: int = 0
    half: str = "bf16"
    variants: tuple[Variant, ...] = ()
    opened_as: str = ""
    guidance: Guidance | None = None
    source_channels: bool = False
    call: Call | None = None

    @property
    def guides_by_image(self) -> bool:
        """Whether image guidance plays a part."""
        return self.guidance is dual_guidance or bool(self.call and self.call.image_scale)


_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_JOINT_ATTENTION = (*_ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
_FLUX_LAYERS = (*_JOINT_ATTENTION, "ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2", "proj_mlp")
_QWEN_LAYERS = (*_JOINT_ATTENTION, "img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2")
_FLUX2_LAYERS = (*_JOINT_ATTENTION, "linear_in", "linear_out", "to_qkv_mlp_proj", "attn.to_out")
_JOY_LAYERS = ("img_attn_qkv", "img_attn_proj", "txt_attn_qkv", "txt_attn_proj")

FAMILIES = (
    Family(
        id="instruct_pix2pix",
        title="InstructPix2Pix",
        pipelines=("StableDiffusionInstructPix2PixPipeline",),
        defaults=Settings(steps=20, text_guidance=7.5, image_guidance=1.5),
        guidance=dual_guidance,
        source_channels=True,
        lora_targets=_ATTENTION,
        half="fp16",
    ),
    Family(
        id="sdedit",
        title="SDEdit",
        pipelines=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"),
        defaults=Settings(steps=30, text_guidance=7.5, image_guidance=1.0, strength=0.6),
        guidance=text_guidance,
        lora_targets=_ATTENTION,
        half="fp16",
    ),
    Family(
        id="instruct_pix2pix_xl",
        title="InstructPix2Pix XL",
        pipelines=("StableDiffusionXLInstructPix2PixPipeline",),
        defaults=Settings(steps=30, text_guidance=5.0, image_guidance=1.5),
        variants=(
            Variant(  # CosXL-Edit: its latents of the source are scaled
                "scheduler",
                ["diffusers", "EDMEulerScheduler"],
                Settings(steps=20, text_guidance=7.0, image_guidance=1.5),
                {"is_cosxl_edit": True},
            ),
        ),
        lora_targets=_ATTENTION,
        half="fp16",
        call=Call(
            adapters.one_picture_sized,
            adapters.CHANNELS,
            adapters.size_by_area,
            image_scale="image_guidance_scale",
            negative=True,
        ),
    ),
    Family(
        id="sdedit_xl",
        title="SDEdit XL",
        pipelines=("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"),
        opened_as="StableDiffusionXLImg2ImgPipeline",
        defaults=Settings(steps=30, text_guidance=6.0, image_guidance=1.0, strength=0.6),
        lora_targets=_ATTENTION,
        half="fp16",
        call=Call(adapters.one_picture, adapters.CHANNELS, adapters.size_by_area, negative=True),
    ),
    Family(
        id="sdedit_flux",
        title="SDEdit FLUX",
        pipelines=("FluxPipeline", "FluxImg2ImgPipeline"),
        opened_as="FluxImg2ImgPipeline",
        defaults=Settings(steps=28, text_guidance=3.5, image_guidance=1.0, strength=0.8),
        lora_targets=_FLUX_LAYERS,
        call=Call(adapters.one_picture_sized, adapters.NOISED_TOKENS, adapters.size_by_area),
    ),
    Family(
        id="flux_kontext",
        title="FLUX.1 Kontext",
        pipelines=("FluxKontextPipeline",),
        defaults=Settings(steps=28, text_guidance=2.5, image_guidance=1.0),
        lora_targets=_FLUX_LAYERS,
        call=Call(adapters.kontext_picture, adapters.TOKENS, adapters.nearest_trained_size),
    ),
    Family(
        id="qwen_image_edit",
        title="Qwen-Image-Edit",
        pipelines=("QwenImageEditPipeline",),
        defaults=Settings(steps=50, text_guidance=4.0, image_guidance=1.0),
        lora_targets=_QWEN_LAYERS,
        call=Call(
            adapters.one_picture_sized,
            adapters.TOKENS,
            adapters.size_by_pipeline,
            text_scale="true_cfg_scale",
            negative=True,
            blank=" ",
            encoders=(*adapters.ENCODERS, adapters.VISION_TOWER),
        ),
    ),
    Family(
        id="qwen_image_edit_plus",
        title="Qwen-Image-Edit-Plus",
        pipelines=("QwenImageEditPlusPipeline",),
        defaults=Settings(steps=40, text_guidance=4.0, image_guidance=1.0),
        lora_targets=_QWEN_LAYERS,
        references=2,
        call=Call(
            adapters.all_pictures_sized,
            adapters.TOKENS,
            adapters.size_by_pipeline,
            text_scale="true_cfg_scale",
            negative=True,
            blank=" ",
            encoders=(*adapters.ENCODERS, adapters.VISION_TOWER),
        ),
    ),
    Family(
        id="longcat_image_edit",
        title="LongCat-Image-Edit",
        pipelines=("LongCatImageEditPipeline",),
        defaults=Settings(steps=50, text_guidance=4.5, image_guidance=1.0),
        lora_targets=_FLUX_LAYERS,
        call=Call(
            adapters.one_picture,
            adapters.TOKENS,
            adapters.size_by_pipeline,
            negative=True,
            encoders=(*adapters.ENCODERS, adapters.VISION_TOWER),
        ),
    ),
    Family(
        id="flux2",
        title="FLUX.2",
        pipelines=("Flux2Pipeline",),
        defaults=Settings(steps=28, text_guidance=4.0, image_guidance=1.0),
        lora_targets=_FLUX2_LAYERS,
        references=9,
        call=Call(adapters.all_pictures_sized, adapters.TOKENS, adapters.size_by_area),
    ),
    Family(
        id="flux2_klein",
        title="FLUX.2 Klein",
        pipelines=("Flux2KleinPipeline",),
        defaults=Settings(steps=50, text_guidance=4.0, image_guidance=1.0),
        variants=(Variant("is_distilled", True, Settings(steps=4, text_guidance=1.0, image_guidance=1.0)),),
        lora_targets=_FLUX2_LAYERS,
        references=3,
        call=Call(adapters.all_pictures_sized, adapters.TOKENS, adapters.size_by_area),
    ),
    Family(
        id="joyimage_edit",
        title="JoyImage-Edit",
        pipelines=("JoyImageEditPipeline",),
        defaults=Settings(steps=40, text_guidance=4.0, image_guidance=1.0),
        lora_targets=_JOY_LAYERS,
        call=Call(
            adapters.one_picture,
            adapters.SLOTS,
            adapters.size_by_bucket("vae_image_processor"),
            negative=True,
            encoders=("vae.encode", "encode_prompt_multiple_images", adapters.VISION_TOWER),
        ),
    ),
    Family(
        id="joyimage_edit_plus",
        title="JoyImage-Edit-Plus",
        pipelines=("JoyImageEditPlusPipeline",),
        defaults=Settings(steps=30, text_guidance=4.0, image_guidance=1.0),
        lora_targets=_JOY_LAYERS,
        references=5,
        call=Call(
            adapters.joy_pictures,
            adapters.PATCHES,
            adapters.size_by_bucket("image_processor"),
            negative=True,
            encoders=("vae.encode", "encode_prompt_multiple_images", adapters.VISION_TOWER),
        ),
    ),
)
