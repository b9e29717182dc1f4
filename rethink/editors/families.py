"""The kinds of editor as rows of data. A new kind is a new row and, if need be, a small function."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

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
class Family:
    """A kind of editor.

    pipelines: the diffusers classes whose folders hold it.
    source_channels: the model takes the source's latents as further input channels; otherwise it starts from them.
    lora_targets: the names of the layers that an edit LoRA adapts.
    """

    id: str
    title: str
    pipelines: tuple[str, ...]
    defaults: Settings
    guidance: Guidance
    source_channels: bool
    lora_targets: tuple[str, ...]


_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")

FAMILIES = (
    Family(
        id="instruct_pix2pix",
        title="InstructPix2Pix",
        pipelines=("StableDiffusionInstructPix2PixPipeline",),
        defaults=Settings(steps=20, text_guidance=7.5, image_guidance=1.5),
        guidance=dual_guidance,
        source_channels=True,
        lora_targets=_ATTENTION,
    ),
    Family(
        id="sdedit",
        title="SDEdit",
        pipelines=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"),
        defaults=Settings(steps=30, text_guidance=7.5, image_guidance=1.0, strength=0.6),
        guidance=text_guidance,
        source_channels=False,
        lora_targets=_ATTENTION,
    ),
)
