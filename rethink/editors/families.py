"""The editor families as rows of data. To add a family, add a row and, if necessary, a small function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from . import pipeline_adapters as adapters
from .pipeline_adapters import PipelineAdapter
from .settings import Settings


@dataclass(frozen=True, eq=False)
class Pass:
    """One forward pass of the model in a step: its weight for each row [rows], and what it sees."""

    weight: Tensor
    sees_image: bool
    sees_text: bool


# (text guidance [rows], image guidance [rows]) → the passes, whose weights sum to 1 for every row.
Guidance = Callable[[Tensor, Tensor], tuple[Pass, ...]]


def dual_cfg_passes(text: Tensor, image: Tensor) -> tuple[Pass, ...]:
    """InstructPix2Pix (arXiv 2211.09800), section 3.2.1, equation 3, sorted by pass.

    ε(∅,∅) + s_I [ε(I,∅) − ε(∅,∅)] + s_T [ε(I,T) − ε(I,∅)] = (1 − s_I) ε(∅,∅) + (s_I − s_T) ε(I,∅) + s_T ε(I,T).
    Written this way, it shows which passes are unnecessary for a choice of scales.
    """
    return (
        Pass(1 - image, sees_image=False, sees_text=False),
        Pass(image - text, sees_image=True, sees_text=False),
        Pass(text, sees_image=True, sees_text=True),
    )


def cfg_passes(text: Tensor, image: Tensor) -> tuple[Pass, ...]:
    """Classifier-free guidance (arXiv 2207.12598): (1 − s_T) ε(∅) + s_T ε(T). There is no image scale."""
    return (Pass(1 - text, sees_image=False, sees_text=False), Pass(text, sees_image=False, sees_text=True))


@dataclass(frozen=True)
class DenoisingLoop:
    """The engine of Stable Diffusion: our own loop over its modules (sampling.py).

    Attributes:
        guidance: The passes of a step.
        source_channels: The model takes the source's latents as extra input channels; otherwise it starts from them.
    """

    guidance: Guidance
    source_channels: bool = False
    takes_negative_prompt: bool = True

    @property
    def guides_by_image(self) -> bool:
        return self.guidance is dual_cfg_passes

    def input_channels(self, latent_channels: int) -> int:
        """The number of input channels of the UNet."""
        return latent_channels * (2 if self.source_channels else 1)


@dataclass(frozen=True)
class Variant:
    """Folders whose model_index.json has `value` for `entry`: their defaults and loading options."""

    entry: str
    value: Any
    defaults: Settings
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """A kind of editor.

    Attributes:
        id: Its name in records.
        title: Its display name.
        pipelines: The diffusers classes whose folders hold it.
        defaults: The recommended settings.
        engine: What runs it: our own loop, or its diffusers pipeline, called as the adapter says.
        lora_targets: The names of the layers that an edit LoRA adapts.
        references: How many more images it can look at.
        half: The half-precision format that it was trained in and does not overflow in.
        variants: Special folders of the family.
        opened_as: The pipeline that edits, if it is not the folder's own class but works with the same parts.
    """

    id: str
    title: str
    pipelines: tuple[str, ...]
    defaults: Settings
    engine: DenoisingLoop | PipelineAdapter
    lora_targets: tuple[str, ...]
    references: int = 0
    half: Literal["fp16", "bf16"] = "bf16"
    variants: tuple[Variant, ...] = ()
    opened_as: str = ""

    @property
    def takes_negative_prompt(self) -> bool:
        return self.engine.takes_negative_prompt

    @property
    def guides_by_image(self) -> bool:
        """Whether the family uses image guidance."""
        return self.engine.guides_by_image


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
        engine=DenoisingLoop(dual_cfg_passes, source_channels=True),
        lora_targets=_ATTENTION,
        half="fp16",
    ),
    Family(
        id="sdedit",
        title="SDEdit",
        pipelines=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"),
        defaults=Settings(steps=30, text_guidance=7.5, image_guidance=1.0, strength=0.6),
        engine=DenoisingLoop(cfg_passes),
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
        engine=PipelineAdapter(
            adapters.one_image_sized,
            adapters.CHANNELS,
            adapters.size_by_area,
            image_scale="image_guidance_scale",
            takes_negative_prompt=True,
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
        engine=PipelineAdapter(
            adapters.one_image, adapters.CHANNELS, adapters.size_by_area, takes_negative_prompt=True
        ),
    ),
    Family(
        id="sdedit_flux",
        title="SDEdit FLUX",
        pipelines=("FluxPipeline", "FluxImg2ImgPipeline"),
        opened_as="FluxImg2ImgPipeline",
        defaults=Settings(steps=28, text_guidance=3.5, image_guidance=1.0, strength=0.8),
        lora_targets=_FLUX_LAYERS,
        engine=PipelineAdapter(adapters.one_image_sized, adapters.NOISED_TOKENS, adapters.size_by_area),
    ),
    Family(
        id="flux_kontext",
        title="FLUX.1 Kontext",
        pipelines=("FluxKontextPipeline",),
        defaults=Settings(steps=28, text_guidance=2.5, image_guidance=1.0),
        lora_targets=_FLUX_LAYERS,
        engine=PipelineAdapter(adapters.kontext_image, adapters.TOKENS, adapters.nearest_trained_size),
    ),
    Family(
        id="qwen_image_edit",
        title="Qwen-Image-Edit",
        pipelines=("QwenImageEditPipeline",),
        defaults=Settings(steps=50, text_guidance=4.0, image_guidance=1.0),
        lora_targets=_QWEN_LAYERS,
        engine=PipelineAdapter(
            adapters.one_image_sized,
            adapters.TOKENS,
            adapters.size_by_pipeline,
            text_scale="true_cfg_scale",
            takes_negative_prompt=True,
            empty_negative=" ",
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
        engine=PipelineAdapter(
            adapters.all_images_sized,
            adapters.TOKENS,
            adapters.size_by_pipeline,
            text_scale="true_cfg_scale",
            takes_negative_prompt=True,
            empty_negative=" ",
            encoders=(*adapters.ENCODERS, adapters.VISION_TOWER),
        ),
    ),
    Family(
        id="longcat_image_edit",
        title="LongCat-Image-Edit",
        pipelines=("LongCatImageEditPipeline",),
        defaults=Settings(steps=50, text_guidance=4.5, image_guidance=1.0),
        lora_targets=_FLUX_LAYERS,
        engine=PipelineAdapter(
            adapters.one_image,
            adapters.TOKENS,
            adapters.size_by_pipeline,
            takes_negative_prompt=True,
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
        engine=PipelineAdapter(adapters.all_images_sized, adapters.TOKENS, adapters.size_by_area),
    ),
    Family(
        id="flux2_klein",
        title="FLUX.2 Klein",
        pipelines=("Flux2KleinPipeline",),
        defaults=Settings(steps=50, text_guidance=4.0, image_guidance=1.0),
        variants=(Variant("is_distilled", True, Settings(steps=4, text_guidance=1.0, image_guidance=1.0)),),
        lora_targets=_FLUX2_LAYERS,
        references=3,
        engine=PipelineAdapter(adapters.all_images_sized, adapters.TOKENS, adapters.size_by_area),
    ),
    Family(
        id="joyimage_edit",
        title="JoyImage-Edit",
        pipelines=("JoyImageEditPipeline",),
        defaults=Settings(steps=40, text_guidance=4.0, image_guidance=1.0),
        lora_targets=_JOY_LAYERS,
        engine=PipelineAdapter(
            adapters.one_image,
            adapters.SLOTS,
            adapters.size_by_bucket("vae_image_processor"),
            takes_negative_prompt=True,
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
        engine=PipelineAdapter(
            adapters.joy_images,
            adapters.PATCHES,
            adapters.size_by_bucket("image_processor"),
            takes_negative_prompt=True,
            encoders=("vae.encode", "encode_prompt_multiple_images", adapters.VISION_TOWER),
        ),
    ),
)
