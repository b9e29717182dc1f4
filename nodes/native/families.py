"""The editors that ComfyUI runs itself, as rows of data, and detection of the one that a MODEL, CLIP and VAE make.

Every conditioning, guider and schedule is made by one of ComfyUI's own nodes, imported when it is first needed.
A “conditioning” here is ComfyUI's CONDITIONING: a list of [embedding [1, tokens, width], values].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import Tensor

from ...rethink.editors.settings import Settings
from ...rethink.errors import RethinkError
from ..comfy.modules import comfy_extra, comfy_module

AUTO = "auto"
_EMPTY = [[None, {}]]  # a conditioning for a node to write its values into


# How an instruction is encoded: (CLIP, text, images that the encoder may look at) → conditioning


def encode_text(clip: Any, text: str, images: Sequence[Tensor]) -> list:
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def encode_text_with_image(clip: Any, text: str, images: Sequence[Tensor]) -> list:
    # No VAE: the node would scale the image once more, to a size that is not the result's.
    return comfy_extra("qwen").TextEncodeQwenImageEdit.execute(clip, text, None, images[0])[0]


def encode_text_with_images(clip: Any, text: str, images: Sequence[Tensor]) -> list:
    return comfy_extra("qwen").TextEncodeQwenImageEditPlus.execute(clip, text, None, *images)[0]


# How the model sees the images: (VAE, images [1, h, w, 3]) → (latents of the first, values for conditionings)

EncodedImages = tuple[Tensor, dict[str, Any]]


def as_input_channels(vae: Any, images: Sequence[Tensor]) -> EncodedImages:
    values = comfy_extra("ip2p").InstructPixToPixConditioning.execute(_EMPTY, [], pixels=images[0], vae=vae)[0][0][1]
    return values["concat_latent_image"], values


def as_references(vae: Any, images: Sequence[Tensor], method: str = "") -> EncodedImages:
    """method: where the model was trained to see the images, if not where ComfyUI puts them by default."""
    conditioning = _EMPTY
    for image in images:
        latent = {"samples": vae.encode(image)}
        conditioning = comfy_extra("edit_model").ReferenceLatent.execute(conditioning, latent)[0]
    if method:
        conditioning = comfy_extra("flux").FluxKontextMultiReferenceLatentMethod.execute(conditioning, method)[0]
    values = conditioning[0][1]
    return values["reference_latents"][0], values


# The guiders, which weigh the passes of a step


@dataclass(frozen=True, eq=False)
class Conditionings:
    """What the passes of one edit may see: the instruction or an empty one, each with the source or without.

    The two without an instruction are functions: not every kind of guidance needs them.
    """

    edit: list
    source_only: Callable[[], list]
    nothing: Callable[[], list]


def dual_cfg_guider(model: Any, conditionings: Conditionings, text: float, image: float) -> Any:
    """InstructPix2Pix (arXiv 2211.09800), section 3.2.1, equation 3; OmniGen2 (arXiv 2506.18871) has the same."""
    guider = comfy_extra("custom_sampler").DualCFGGuider
    return guider.execute(
        model, conditionings.edit, conditionings.source_only(), conditionings.nothing(), text, image, "regular"
    )[0]


def cfg_guider(model: Any, conditionings: Conditionings, text: float, image: float) -> Any:
    """Classifier-free guidance (arXiv 2207.12598); the source is in both passes."""
    if text == 1:  # the other pass would have no weight
        return comfy_extra("custom_sampler").BasicGuider.execute(model, conditionings.edit)[0]
    return comfy_extra("custom_sampler").CFGGuider.execute(
        model, conditionings.edit, conditionings.source_only(), text
    )[0]


def distilled_guider(model: Any, conditionings: Conditionings, text: float, image: float) -> Any:
    """One pass: the model was distilled with the scale as an input."""
    guided = comfy_extra("flux").FluxGuidance.execute(conditionings.edit, text)[0]
    return comfy_extra("custom_sampler").BasicGuider.execute(model, guided)[0]


# What is patched onto the MODEL before anything else


def identity(model: Any) -> Any:
    return model


def patch_qwen(model: Any) -> Any:
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

    model: the class of comfy.supported_models; config: keys of its unet_config → allowed values.
    tokenizers: the classes that its text encoder may come with; text_encoder: the same as text for users.
    text_width: the key of unet_config with the width of the embeddings.
    encode_text, encode_images, make_guider, patch_model, schedule: see above; text_sees_images: `encode_text` looks at the
        images.
    lora_targets: the ends of the names of the layers that an edit LoRA adapts.
    takes_negative_prompt: it takes a negative prompt; references: how many additional images it can look at.
    area: the number of pixels it works on; multiple: of its sides.
    """

    id: str
    title: str
    model: str
    tokenizers: tuple[str, ...]
    text_encoder: str
    defaults: Settings
    make_guider: Callable[[Any, Conditionings, float, float], Any]
    lora_targets: tuple[str, ...]
    encode_images: Callable[[Any, Sequence[Tensor]], EncodedImages] = as_references
    encode_text: Callable[[Any, str, Sequence[Tensor]], list] = encode_text
    text_sees_images: bool = False
    takes_negative_prompt: bool = True
    references: int = 0
    config: Mapping[str, tuple] = field(default_factory=dict)
    text_width: str = "context_in_dim"
    patch_model: Callable[[Any], Any] = identity
    sampler: str = "euler"
    schedule: Schedule = SIMPLE
    area: int = 1024 * 1024
    multiple: int = 16

    @property
    def guides_by_image(self) -> bool:
        """Whether it uses image guidance."""
        return self.make_guider is dual_cfg_guider


_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_FLUX_LAYERS = tuple(
    f"{part}_{layer}" for part in ("img", "txt") for layer in ("attn.qkv", "attn.proj", "mlp.0", "mlp.2")
)
_FLUX_LAYERS += ("linear1", "linear2")
_QWEN_LAYERS = tuple(f"{part}_mlp.{layer}" for part in ("img", "txt") for layer in ("net.0.proj", "net.2"))
_QWEN_LAYERS += (*_ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")

_QWEN = {"use_additional_t_cond": (None, False)}  # models with it split images into layers
_QWEN_ENCODER = "Qwen2.5-VL 7B, from Load CLIP with type qwen_image"
_QWEN_PLUS = NativeFamily(
    id="qwen_image_edit_plus",
    title="Qwen-Image-Edit-Plus",
    model="QwenImage",
    config={**_QWEN, "default_ref_method": (None, "index", "index_timestep_zero")},
    tokenizers=("QwenImageTokenizer",),
    text_encoder=_QWEN_ENCODER,
    text_width="joint_attention_dim",
    defaults=Settings(steps=40, text_guidance=4.0),
    make_guider=cfg_guider,
    lora_targets=_QWEN_LAYERS,
    patch_model=patch_qwen,
    encode_text=encode_text_with_images,
    text_sees_images=True,
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
        make_guider=dual_cfg_guider,
        lora_targets=_ATTENTION,
        encode_images=as_input_channels,
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
        make_guider=dual_cfg_guider,
        lora_targets=_ATTENTION,
        encode_images=as_input_channels,
        schedule=named_schedule("normal"),
        multiple=32,
    ),
    NativeFamily(
        id="flux_kontext",
        title="FLUX.1 Kontext",
        model="Flux",
        config={"in_channels": (16,), "guidance_embed": (True,)},
        tokenizers=("FluxTokenizer",),
        text_encoder="CLIP-L and T5-XXL, from DualCLIPLoader with type flux",
        defaults=Settings(steps=20, text_guidance=2.5),
        make_guider=distilled_guider,
        lora_targets=_FLUX_LAYERS,
        takes_negative_prompt=False,
        references=3,
    ),
    _QWEN_PLUS,
    replace(
        _QWEN_PLUS,
        id="qwen_image_edit_2511",
        title="Qwen-Image-Edit-Plus 2511",
        encode_images=partial(as_references, method="index_timestep_zero"),
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
        make_guider=cfg_guider,
        lora_targets=_QWEN_LAYERS,
        patch_model=patch_qwen,
        encode_text=encode_text_with_image,
        text_sees_images=True,
    ),
    NativeFamily(
        id="flux2",
        title="FLUX.2 dev",
        model="Flux2",
        config={"guidance_embed": (True,)},
        tokenizers=("Flux2Tokenizer",),
        text_encoder="Mistral Small 3, from Load CLIP with type flux2",
        defaults=Settings(steps=20, text_guidance=4.0),
        make_guider=distilled_guider,
        lora_targets=_FLUX_LAYERS,
        takes_negative_prompt=False,
        schedule=flux2_schedule,
        references=9,
    ),
    NativeFamily(
        id="flux2_klein",
        title="FLUX.2 Klein",
        model="Flux2",
        config={"guidance_embed": (False,)},
        tokenizers=("KleinTokenizer", "KleinTokenizer8B"),
        text_encoder="Qwen3 of the model's size, from Load CLIP with type flux2",
        defaults=Settings(steps=4, text_guidance=1.0),
        make_guider=cfg_guider,
        lora_targets=_FLUX_LAYERS,
        schedule=flux2_schedule,
        references=9,
    ),
    NativeFamily(
        id="longcat_image_edit",
        title="LongCat-Image-Edit",
        model="LongCatImage",
        tokenizers=("LongCatImageTokenizer",),
        text_encoder="Qwen2.5-VL 7B, from Load CLIP with type longcat_image",
        defaults=Settings(steps=50, text_guidance=4.5),
        make_guider=cfg_guider,
        lora_targets=_FLUX_LAYERS,
        encode_images=partial(as_references, method="index"),
        encode_text=encode_text_with_image,
        text_sees_images=True,
    ),
    NativeFamily(
        id="omnigen2",
        title="OmniGen2",
        model="Omnigen2",
        tokenizers=("Omnigen2Tokenizer",),
        text_encoder="Qwen2.5-VL 3B, from Load CLIP with type omnigen2",
        text_width="text_feat_dim",
        defaults=Settings(steps=20, text_guidance=5.0, image_guidance=2.0),
        make_guider=dual_cfg_guider,
        lora_targets=_ATTENTION,
        references=4,
    ),
)


def detect(model: Any, clip: Any, vae: Any, title: str = AUTO) -> NativeFamily:
    """Return the row that ComfyUI's MODEL, CLIP and VAE belong to; `title` names one, or AUTO leaves it to the model.

    Raises RethinkError, saying what was found, if the three do not make an editor.
    """
    config = model.model.model_config
    fitting = [row for row in NATIVE_FAMILIES if _fits(row, config)]
    if not fitting:
        raise RethinkError(
            f"model: found {_described(config)}, which was not made for editing by instruction; "
            f"connect one of {', '.join(row.title for row in NATIVE_FAMILIES)}."
        )
    family = next((row for row in fitting if title in (AUTO, row.title)), None)
    if family is None:
        raise RethinkError(f"kind: is {title}, but the model is {fitting[0].title}; choose that, or auto.")
    _check_text_encoder(clip, family)
    _check_vae(vae, model.get_model_object("latent_format"), family)
    return family


def check_width(conditioning: list, model: Any, family: NativeFamily) -> None:
    """Raise RethinkError if the embeddings do not fit the model: the text encoder has another size."""
    width, expected = conditioning[0][0].shape[-1], model.model.model_config.unet_config.get(family.text_width)
    if expected is not None and width != expected:
        raise RethinkError(
            f"clip: its embeddings are {width} wide, but this {family.title} takes {expected}; "
            f"connect {family.text_encoder}."
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
        raise RethinkError(f"vae: the loader found none; connect {family.title}'s own from Load VAE.")
    found, expected = (
        (vae.latent_channels, vae.latent_dim),
        (latent_format.latent_channels, latent_format.latent_dimensions),
    )
    if found != expected:
        raise RethinkError(
            f"vae: makes latents of {_latents(found)}, but {family.title} takes {_latents(expected)}; it belongs to another "
            "model, so connect this one's own."
        )


def _latents(kind: tuple[int, int]) -> str:
    channels, dimensions = kind
    return f"{channels} channels" + " over time" * (dimensions == 3)
