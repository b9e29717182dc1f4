"""The editors that ComfyUI runs itself, as rows of data, and which of them a MODEL, CLIP and VAE are.

Every conditioning, guider and schedule is made by one of ComfyUI's own nodes, imported when it is first needed.
A “conditioning” here is ComfyUI's CONDITIONING: a list of [embedding [1, tokens, width], values].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import Tensor

from ...rethink.editors.protocol import Settings
from ...rethink.errors import RethinkError
from ..comfy.modules import comfy_extra, comfy_module

AUTO = "auto"
_BLANK = [[None, {}]]  # a conditioning for a node to write its values into


# What an instruction becomes: (CLIP, text, pictures that the encoder may look at) → conditioning


def read(clip: Any, text: str, pictures: Sequence[Tensor]) -> list:
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def encode_text_with_image(clip: Any, text: str, pictures: Sequence[Tensor]) -> list:
    # No VAE: the node would scale the picture once more, to a size that is not the result's.
    return comfy_extra("qwen").TextEncodeQwenImageEdit.execute(clip, text, None, pictures[0])[0]


def encode_text_with_images(clip: Any, text: str, pictures: Sequence[Tensor]) -> list:
    return comfy_extra("qwen").TextEncodeQwenImageEditPlus.execute(clip, text, None, *pictures)[0]


# How the model is shown the pictures: (VAE, pictures [1, h, w, 3]) → (latents of the first, values for conditionings)

Shown = tuple[Tensor, dict[str, Any]]


def as_input_channels(vae: Any, pictures: Sequence[Tensor]) -> Shown:
    values = comfy_extra("ip2p").InstructPixToPixConditioning.execute(_BLANK, [], pixels=pictures[0], vae=vae)[0][0][1]
    return values["concat_latent_image"], values


def as_references(vae: Any, pictures: Sequence[Tensor], method: str = "") -> Shown:
    """method: where the model was taught to see the pictures, if not where ComfyUI by itself puts them."""
    conditioning = _BLANK
    for picture in pictures:
        latent = {"samples": vae.encode(picture)}
        conditioning = comfy_extra("edit_model").ReferenceLatent.execute(conditioning, latent)[0]
    if method:
        conditioning = comfy_extra("flux").FluxKontextMultiReferenceLatentMethod.execute(conditioning, method)[0]
    values = conditioning[0][1]
    return values["reference_latents"][0], values


# How the passes are weighed


@dataclass(frozen=True, eq=False)
class Conditionings:
    """What the passes of one edit may be shown: the instruction, or what stands for none, each with the source or not.

    The two without an instruction are functions: not every kind of guidance needs them.
    """

    edit: list
    source_only: Callable[[], list]
    nothing: Callable[[], list]


def dual_cfg_guider(model: Any, shown: Conditionings, text: float, image: float) -> Any:
    """InstructPix2Pix (arXiv 2211.09800), section 3.2.1, equation 3; OmniGen2 (arXiv 2506.18871) has the same."""
    guider = comfy_extra("custom_sampler").DualCFGGuider
    return guider.execute(model, shown.edit, shown.source_only(), shown.nothing(), text, image, "regular")[0]


def cfg_guider(model: Any, shown: Conditionings, text: float, image: float) -> Any:
    """Classifier-free guidance (arXiv 2207.12598); the source is in both passes."""
    if text == 1:  # the other pass would weigh nothing
        return comfy_extra("custom_sampler").BasicGuider.execute(model, shown.edit)[0]
    return comfy_extra("custom_sampler").CFGGuider.execute(model, shown.edit, shown.source_only(), text)[0]


def distilled_guider(model: Any, shown: Conditionings, text: float, image: float) -> Any:
    """One pass: the model was distilled with the scale as an input."""
    told = comfy_extra("flux").FluxGuidance.execute(shown.edit, text)[0]
    return comfy_extra("custom_sampler").BasicGuider.execute(model, told)[0]


# What is patched onto the MODEL before anything else


def identity(model: Any) -> Any:
    return model


def tuned_for_qwen(model: Any) -> Any:
    """As ComfyUI's templates for Qwen-Image-Edit do, unless the user has patched the sampling: that choice stays."""
    if "model_sampling" in model.object_patches:
        return model
    (shifted,) = comfy_extra("model_advanced").ModelSamplingAuraFlow().patch_aura(model, 3.1)
    return comfy_extra("cfg").CFGNorm.execute(shifted, 1.0)[0]


# The noise levels: (MODEL, sampler's name, steps, (height, width) in pixels) → sigmas [steps + 1]

Schedule = Callable[[Any, str, int, tuple[int, int]], Tensor]


def named_schedule(scheduler: str) -> Schedule:
    def sigmas(model: Any, sampler: str, steps: int, size: tuple[int, int]) -> Tensor:
        make = comfy_module("comfy.samplers").KSampler
        return make(model, steps=steps, device=model.load_device, sampler=sampler, scheduler=scheduler).sigmas

    return sigmas


SIMPLE = named_schedule("simple")


def flux2_schedule(model: Any, sampler: str, steps: int, size: tuple[int, int]) -> Tensor:
    return comfy_extra("flux").Flux2Scheduler.execute(steps, size[1], size[0])[0]


@dataclass(frozen=True)
class NativeFamily:
    """A kind of editor that ComfyUI runs.

    model: the class of comfy.supported_models; config: what its unet_config must say, as the values that may stand.
    tokenizers: the classes that its text encoder may come with; text_encoder: the same in words.
    text_width: where unet_config says how wide the embeddings must be.
    read, show, weigh, tune, schedule: see above; looks: `read` looks at the pictures.
    negative: it takes a negative prompt; references: how many further pictures it can look at.
    area: pixels it works on; multiple: of its sides.
    """

    id: str
    title: str
    model: str
    tokenizers: tuple[str, ...]
    text_encoder: str
    defaults: Settings
    weigh: Callable[[Any, Conditionings, float, float], Any]
    show: Callable[[Any, Sequence[Tensor]], Shown] = as_references
    read: Callable[[Any, str, Sequence[Tensor]], list] = read
    looks: bool = False
    negative: bool = True
    references: int = 0
    config: Mapping[str, tuple] = field(default_factory=dict)
    text_width: str = "context_in_dim"
    tune: Callable[[Any], Any] = identity
    sampler: str = "euler"
    schedule: Schedule = SIMPLE
    area: int = 1024 * 1024
    multiple: int = 16

    @property
    def guides_by_image(self) -> bool:
        """Whether image guidance plays a part."""
        return self.weigh is dual_cfg_guider


_QWEN = {"use_additional_t_cond": (None, False)}  # those with it take pictures apart into layers
_QWEN_ENCODER = "Qwen2.5-VL 7B, by Load CLIP with type qwen_image"
_QWEN_PLUS = NativeFamily(
    id="qwen_image_edit_plus",
    title="Qwen-Image-Edit-Plus",
    model="QwenImage",
    config={**_QWEN, "default_ref_method": (None, "index", "index_timestep_zero")},
    tokenizers=("QwenImageTokenizer",),
    text_encoder=_QWEN_ENCODER,
    text_width="joint_attention_dim",
    defaults=Settings(steps=40, text_guidance=4.0),
    weigh=cfg_guider,
    tune=tuned_for_qwen,
    read=encode_text_with_images,
    looks=True,
    references=2,
)

# Where two rows fit a model equally well, the upper one is taken.
NATIVE_FAMILIES = (
    NativeFamily(
        id="instruct_pix2pix",
        title="InstructPix2Pix",
        model="SD15_instructpix2pix",
        tokenizers=("SD1Tokenizer",),
        text_encoder="CLIP-L, from the same checkpoint",
        text_width="context_dim",
        defaults=Settings(steps=20, text_guidance=7.5, image_guidance=1.5),
        weigh=dual_cfg_guider,
        show=as_input_channels,
        schedule=named_schedule("normal"),
        area=512 * 512,
        multiple=64,
    ),
    NativeFamily(
        id="instruct_pix2pix_xl",
        title="SDXL InstructPix2Pix / CosXL-Edit",
        model="SDXL_instructpix2pix",
        tokenizers=("SDXLTokenizer",),
        text_encoder="CLIP-L and CLIP-G, from the same checkpoint",
        text_width="context_dim",
        defaults=Settings(steps=20, text_guidance=7.0, image_guidance=1.5),
        weigh=dual_cfg_guider,
        show=as_input_channels,
        schedule=named_schedule("normal"),
        multiple=32,
    ),
    NativeFamily(
        id="flux_kontext",
        title="FLUX.1 Kontext",
        model="Flux",
        config={"in_channels": (16,), "guidance_embed": (True,)},
        tokenizers=("FluxTokenizer",),
        text_encoder="CLIP-L and T5-XXL, by DualCLIPLoader with type flux",
        defaults=Settings(steps=20, text_guidance=2.5),
        weigh=distilled_guider,
        negative=False,
        references=3,
    ),
    _QWEN_PLUS,
    replace(
        _QWEN_PLUS,
        id="qwen_image_edit_2511",
        title="Qwen-Image-Edit-Plus 2511",
        show=partial(as_references, method="index_timestep_zero"),
    ),
    NativeFamily(
        id="qwen_image_edit",
        title="Qwen-Image-Edit",
        model="QwenImage",
        config={**_QWEN, "default_ref_method": (None, "index")},
        tokenizers=("QwenImageTokenizer",),
        text_encoder=_QWEN_ENCODER,
        text_width="joint_attention_dim",
        defaults=Settings(steps=40, text_guidance=4.0),
        weigh=cfg_guider,
        tune=tuned_for_qwen,
        read=encode_text_with_image,
        looks=True,
    ),
    NativeFamily(
        id="flux2",
        title="FLUX.2 dev",
        model="Flux2",
        config={"guidance_embed": (True,)},
        tokenizers=("Flux2Tokenizer",),
        text_encoder="Mistral Small 3, by Load CLIP with type flux2",
        defaults=Settings(steps=20, text_guidance=4.0),
        weigh=distilled_guider,
        negative=False,
        schedule=flux2_schedule,
        references=9,
    ),
    NativeFamily(
        id="flux2_klein",
        title="FLUX.2 Klein",
        model="Flux2",
        config={"guidance_embed": (False,)},
        tokenizers=("KleinTokenizer", "KleinTokenizer8B"),
        text_encoder="Qwen3 of the model's size, by Load CLIP with type flux2",
        defaults=Settings(steps=4, text_guidance=1.0),
        weigh=cfg_guider,
        schedule=flux2_schedule,
        references=9,
    ),
    NativeFamily(
        id="longcat_image_edit",
        title="LongCat-Image-Edit",
        model="LongCatImage",
        tokenizers=("LongCatImageTokenizer",),
        text_encoder="Qwen2.5-VL 7B, by Load CLIP with type longcat_image",
        defaults=Settings(steps=50, text_guidance=4.5),
        weigh=cfg_guider,
        show=partial(as_references, method="index"),
        read=encode_text_with_image,
        looks=True,
    ),
    NativeFamily(
        id="omnigen2",
        title="OmniGen2",
        model="Omnigen2",
        tokenizers=("Omnigen2Tokenizer",),
        text_encoder="Qwen2.5-VL 3B, by Load CLIP with type omnigen2",
        text_width="text_feat_dim",
        defaults=Settings(steps=20, text_guidance=5.0, image_guidance=2.0),
        weigh=dual_cfg_guider,
        references=4,
    ),
)


def detect(model: Any, clip: Any, vae: Any, title: str = AUTO) -> NativeFamily:
    """The row that ComfyUI's MODEL, CLIP and VAE belong to; `title` names one, or leaves it to the model.

    Raises RethinkError that says what was found, where the three do not make an editor.
    """
    config = model.model.model_config
    fitting = [row for row in NATIVE_FAMILIES if _fits(row, config)]
    if not fitting:
        raise RethinkError(
            f"model: found {_described(config)}, which was not made for editing by instruction; "
            f"wire one of {', '.join(row.title for row in NATIVE_FAMILIES)}."
        )
    family = next((row for row in fitting if title in (AUTO, row.title)), None)
    if family is None:
        raise RethinkError(f"kind: is {title}, but the model is {fitting[0].title}; choose that, or auto.")
    _check_text_encoder(clip, family)
    _check_vae(vae, model.get_model_object("latent_format"), family)
    return family


def check_width(conditioning: list, model: Any, family: NativeFamily) -> None:
    """Raises RethinkError where the embeddings do not fit into the model: a text encoder of another size."""
    found, wanted = conditioning[0][0].shape[-1], model.model.model_config.unet_config.get(family.text_width)
    if wanted is not None and found != wanted:
        raise RethinkError(
            f"clip: its embeddings are {found} wide, but this {family.title} takes {wanted}; wire {family.text_encoder}."
        )


def _fits(row: NativeFamily, config: Any) -> bool:
    return type(config).__name__ == row.model and all(
        config.unet_config.get(key) in allowed for key, allowed in row.config.items()
    )


def _described(config: Any) -> str:
    kind = config.unet_config.get("image_model")
    channels = config.unet_config.get("in_channels")
    details = [f"of kind {kind}"] * bool(kind) + [f"with {channels} input channels"] * bool(channels)
    return " ".join([f"a {type(config).__name__} model", *details])


def _check_text_encoder(clip: Any, family: NativeFamily) -> None:
    if clip is None:
        raise RethinkError(f"clip: the loader found no text encoder; {family.title} needs {family.text_encoder}.")
    found = type(clip.tokenizer).__name__
    if found not in family.tokenizers:
        raise RethinkError(
            f"clip: found {found.removesuffix('Tokenizer')}, the text encoder of another model; "
            f"{family.title} needs {family.text_encoder}."
        )


def _check_vae(vae: Any, latent_format: Any, family: NativeFamily) -> None:
    if getattr(vae, "first_stage_model", None) is None:
        raise RethinkError(f"vae: the loader found none; wire {family.title}'s own with Load VAE.")
    found, wanted = (
        (vae.latent_channels, vae.latent_dim),
        (latent_format.latent_channels, latent_format.latent_dimensions),
    )
    if found != wanted:
        raise RethinkError(
            f"vae: makes latents of {_latents(found)}, but {family.title} takes {_latents(wanted)}; it belongs to another "
            "model, so wire this one's own."
        )


def _latents(kind: tuple[int, int]) -> str:
    channels, dimensions = kind
    return f"{channels} channels" + " over time" * (dimensions == 3)
