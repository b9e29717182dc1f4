"""How to call a family's diffusers pipeline: its arguments, its sizes, and the layout of its latents."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

from ..errors import RethinkError

if TYPE_CHECKING:
    from PIL.Image import Image

Size = tuple[int, int]  # (height, width)

# Methods of the pipeline, by attribute path, whose results are computed once for an image and a text.
ENCODERS = ("vae.encode", "encode_prompt")
VISION_TOWER = "text_encoder.model.visual.forward"  # of a VLM, so that a new text only costs the text


# ── where the latents are ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class StepInputs:
    """What a step worked on: the solver's latents, the denoiser's input, and the source's VAE latents, unscaled, if the
    pipeline's VAE encoded it."""

    sample: Tensor
    model_input: Tensor
    encoded: Tensor | None
    vae_config: Any


@dataclass(frozen=True)
class Layout:
    """Where the image is in a pipeline's latents as a grid [1, c, h, w].

    target: (latents of the solver, (h, w)) → a view of the result's latents.
    source: what the step worked on → the clean latents of the source in the same form.
    patch_size: pipeline → the side of one grid cell in pixels.
    """

    patch_size: Callable[[Any], int]
    target: Callable[[Tensor, Size], Tensor]
    source: Callable[[StepInputs, Size], Tensor]


def _latent(pipeline: Any) -> int:
    return pipeline.vae_scale_factor


def _patch(pipeline: Any) -> int:
    return pipeline.vae_scale_factor * 2


def _grid(tokens: Tensor, size: Size) -> Tensor:
    """The first h·w of tokens [1, n, …], row by row, as a view [1, c, h, w]."""
    return tokens[:, : size[0] * size[1]].unflatten(1, size).flatten(3).permute(0, 3, 1, 2)


def _scaled(inputs: StepInputs) -> Tensor:
    assert inputs.encoded is not None, "pipelines of this layout encode the source with their VAE"
    shift = inputs.vae_config.get("shift_factor") or 0.0
    return (inputs.encoded - shift) * inputs.vae_config.scaling_factor


# Latents as they come from the VAE.
CHANNELS = Layout(_latent, lambda latents, size: latents, lambda inputs, size: _scaled(inputs))
# Patches in a row; the denoiser sees the source's after the result's.
TOKENS = Layout(_patch, _grid, lambda inputs, size: _grid(inputs.model_input[:1, size[0] * size[1] :], size))
# Patches of 2 × 2 in a row, which start from the source.
NOISED_TOKENS = Layout(_patch, _grid, lambda inputs, size: F.pixel_unshuffle(_scaled(inputs), 2))
# [1, images, c, 1, h, w], the source first, the result last.
SLOTS = Layout(
    lambda p: p.vae_scale_factor_spatial,
    lambda latents, size: latents[:, -1, :, 0],
    lambda inputs, size: inputs.sample[:, 0, :, 0],
)
# Patches in a row, those of the result first, then the source's.
PATCHES = Layout(
    lambda p: p.vae_scale_factor_spatial * p.transformer.config.patch_size[1],
    _grid,
    lambda inputs, size: _grid(inputs.sample[:, size[0] * size[1] :], size),
)


# ── how large it works ───────────────────────────────────────────────────────────────────────────────────────────────

MEGAPIXEL = 1024 * 1024
_KONTEXT = "diffusers.pipelines.flux.pipeline_flux_kontext"
# Modules whose pipelines resize their images themselves: the function that decides the size, and its largest rounding.
_RESIZING_RULE = "calculate_dimensions"
_RESIZING_MULTIPLE = 32
# (pipeline, height, width of the source, pixels to work on or 0) → the pipeline's working size for such an image
SizeRule = Callable[[Any, int, int, int], Size]


def size_by_area(pipeline: Any, height: int, width: int, area: int) -> Size:
    """The aspect of the source at the area the model was trained on, rounded down to whole patches."""
    latents = pipeline.unet.config.sample_size if hasattr(pipeline, "unet") else pipeline.default_sample_size
    side = area**0.5 or latents * pipeline.vae_scale_factor
    patch = pipeline.vae_scale_factor * 2
    return tuple(int(side * ratio**0.5) // patch * patch for ratio in (height / width, width / height))


def size_by_pipeline(pipeline: Any, height: int, width: int, area: int) -> Size:
    """The size to which the pipeline itself would resize the source, and which it would leave as is.

    See `resizing_to`.
    """
    rule = sys.modules[type(pipeline).__module__].calculate_dimensions
    size = height, width
    for _ in range(16):  # it rounds: its result may be resized once more before it stays
        new_width, new_height = rule(area or MEGAPIXEL, size[1] / size[0])[:2]
        if (new_height, new_width) == size:
            break
        size = new_height, new_width
    return size


def nearest_trained_size(pipeline: Any, height: int, width: int, area: int) -> Size:
    """The training size of the model with the nearest aspect ratio, scaled to another area if one is given."""
    size = min(_trained_sizes(), key=lambda size: abs(size[1] / size[0] - width / height))
    if not area:
        return size
    scale, patch = (area / (size[0] * size[1])) ** 0.5, _patch(pipeline)
    return max(1, round(size[0] * scale / patch)) * patch, max(1, round(size[1] * scale / patch)) * patch


def _trained_sizes() -> list[Size]:
    return [(height, width) for width, height in sys.modules[_KONTEXT].PREFERRED_KONTEXT_RESOLUTIONS]


def size_by_bucket(processor: str) -> SizeRule:
    """A rule that picks the bucket that the image processor of that name uses for an image."""

    def size(pipeline: Any, height: int, width: int, area: int) -> Size:
        if area:
            raise RethinkError("megapixels: this editor has fixed working sizes; leave it at 0.")
        return getattr(pipeline, processor).get_default_height_width(None, height, width)

    return size


@contextmanager
def resizing_to(pipeline: Any, area: int) -> Iterator[None]:
    """Within it, a pipeline that resizes its images to a megapixel by itself resizes them to `area` pixels; 0: no
    change.

    Such pipelines have no argument for that: the size is in the code that calls their rule. Images for the text encoder
    alone are resized to another size, which stays the same.
    """
    module = sys.modules[type(pipeline).__module__]
    rule = getattr(module, _RESIZING_RULE, None)
    if not area or rule is None:
        yield
        return
    setattr(module, _RESIZING_RULE, lambda pixels, ratio: rule(area if pixels == MEGAPIXEL else pixels, ratio))
    try:
        yield
    finally:
        setattr(module, _RESIZING_RULE, rule)


# ── what it is called with ───────────────────────────────────────────────────────────────────────────────────────────

# (images, the source first; working size) → arguments
ImageArguments = Callable[[list["Image"], Size], Mapping[str, Any]]


def one_image(images: list["Image"], size: Size) -> Mapping[str, Any]:
    return {"image": images[0]}


def one_image_sized(images: list["Image"], size: Size) -> Mapping[str, Any]:
    return {"image": images[0], "height": size[0], "width": size[1]}


def all_images_sized(images: list["Image"], size: Size) -> Mapping[str, Any]:
    return {"image": images, "height": size[0], "width": size[1]}


def kontext_image(images: list["Image"], size: Size) -> Mapping[str, Any]:
    own_size = size in _trained_sizes()  # the pipeline would resize any other to one of these
    return {**one_image_sized(images, size), "max_area": size[0] * size[1], "_auto_resize": own_size}


def joy_images(images: list["Image"], size: Size) -> Mapping[str, Any]:
    return {"images": [images], "height": size[0], "width": size[1]}


@dataclass(frozen=True)
class PipelineAdapter:
    """How a diffusers pipeline is driven from outside.

    Attributes:
        image_arguments, layout, size: See above.
        text_scale, image_scale: The argument names of the two guidance scales; "" for none.
        takes_negative_prompt: Whether it takes a negative prompt.
        empty_negative: Passed in place of an empty negative prompt.
        encoders: Methods whose results are cached.
    """

    image_arguments: ImageArguments
    layout: Layout
    size: SizeRule
    text_scale: str = "guidance_scale"
    image_scale: str = ""
    takes_negative_prompt: bool = False
    empty_negative: str = ""
    encoders: tuple[str, ...] = ENCODERS

    @property
    def guides_by_image(self) -> bool:
        return bool(self.image_scale)

    def multiple(self, pipeline: Any) -> int:
        """The multiple that the sides of the working size must have, in pixels."""
        return _RESIZING_MULTIPLE if self.size is size_by_pipeline else self.layout.patch_size(pipeline)
