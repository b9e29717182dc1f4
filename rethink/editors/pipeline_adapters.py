"""How a family's diffusers pipeline is called: what it takes, at which size, and where it keeps its latents."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

Size = tuple[int, int]  # (height, width)

# What is computed once for a picture and a text: methods of the pipeline, by their path from it.
ENCODERS = ("vae.encode", "encode_prompt")
VISION_TOWER = "text_encoder.model.visual.forward"  # of a vision-language model, so that a new text only costs the text


# ── where the latents are ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Seen:
    """What passed by in a step: the solver's latents, the denoiser's input, the source's VAE latents unscaled."""

    sample: Tensor
    model_input: Tensor
    encoded: Tensor
    vae_config: Any


@dataclass(frozen=True)
class Layout:
    """The picture in a pipeline's latents as a grid [1, c, h, w].

    target: (latents of the solver, (h, w)) → a view of those of the result.
    source: what passed by → the clean latents of the source in the same form.
    cell: pipeline → the side of one cell of the grid in pixels.
    """

    cell: Callable[[Any], int]
    target: Callable[[Tensor, Size], Tensor]
    source: Callable[[Seen, Size], Tensor]


def _latent(pipeline: Any) -> int:
    return pipeline.vae_scale_factor


def _patch(pipeline: Any) -> int:
    return pipeline.vae_scale_factor * 2


def _grid(tokens: Tensor, size: Size) -> Tensor:
    """The first h·w of tokens [1, n, …], row by row, as a view [1, c, h, w]."""
    return tokens[:, : size[0] * size[1]].unflatten(1, size).flatten(3).permute(0, 3, 1, 2)


def _scaled(seen: Seen) -> Tensor:
    shift = seen.vae_config.get("shift_factor") or 0.0
    return (seen.encoded - shift) * seen.vae_config.scaling_factor


# Latents as the VAE makes them.
CHANNELS = Layout(_latent, lambda latents, size: latents, lambda seen, size: _scaled(seen))
# Patches in a row; the denoiser sees the source's after those of the result.
TOKENS = Layout(_patch, _grid, lambda seen, size: _grid(seen.model_input[:1, size[0] * size[1] :], size))
# Patches of 2 × 2 in a row, begun from the source.
NOISED_TOKENS = Layout(_patch, _grid, lambda seen, size: F.pixel_unshuffle(_scaled(seen), 2))
# [1, pictures, c, 1, h, w], the source first, the result last.
SLOTS = Layout(
    lambda p: p.vae_scale_factor_spatial,
    lambda latents, size: latents[:, -1, :, 0],
    lambda seen, size: seen.sample[:, 0, :, 0],
)
# Patches in a row, those of the result first, then the source's.
PATCHES = Layout(
    lambda p: p.vae_scale_factor_spatial * p.transformer.config.patch_size[1],
    _grid,
    lambda seen, size: _grid(seen.sample[:, size[0] * size[1] :], size),
)


# ── how large it works ───────────────────────────────────────────────────────────────────────────────────────────────

# (pipeline, height, width of the source) → the size the pipeline works at for such a picture
SizeRule = Callable[[Any, int, int], Size]


def size_by_area(pipeline: Any, height: int, width: int) -> Size:
    """The aspect of the source at the area the model was trained on, rounded down to whole patches."""
    latents = pipeline.unet.config.sample_size if hasattr(pipeline, "unet") else pipeline.default_sample_size
    side = latents * pipeline.vae_scale_factor
    patch = pipeline.vae_scale_factor * 2
    return tuple(int(side * ratio**0.5) // patch * patch for ratio in (height / width, width / height))


def size_by_pipeline(pipeline: Any, height: int, width: int) -> Size:
    """The size that the pipeline itself would resize the source to, and would leave as it is."""
    rule = sys.modules[type(pipeline).__module__].calculate_dimensions
    size = height, width
    for _ in range(16):  # it rounds: its result may be resized once more before it stays
        new_width, new_height = rule(1024 * 1024, size[1] / size[0])[:2]
        if (new_height, new_width) == size:
            break
        size = new_height, new_width
    return size


def nearest_trained_size(pipeline: Any, height: int, width: int) -> Size:
    """Of the sizes that the model was trained on, the one whose aspect is nearest."""
    sizes = sys.modules[type(pipeline).__module__].PREFERRED_KONTEXT_RESOLUTIONS
    return min(((h, w) for w, h in sizes), key=lambda size: abs(size[1] / size[0] - width / height))


def size_by_bucket(processor: str) -> SizeRule:
    """The bucket that the image processor of that name puts such a picture into."""
    return lambda pipeline, height, width: getattr(pipeline, processor).get_default_height_width(None, height, width)


# ── what it is given ─────────────────────────────────────────────────────────────────────────────────────────────────

# (pictures, the source first; working size) → arguments
Pictures = Callable[[list["Image"], Size], Mapping[str, Any]]


def one_picture(pictures: list["Image"], size: Size) -> Mapping[str, Any]:
    return {"image": pictures[0]}


def one_picture_sized(pictures: list["Image"], size: Size) -> Mapping[str, Any]:
    return {"image": pictures[0], "height": size[0], "width": size[1]}


def all_pictures_sized(pictures: list["Image"], size: Size) -> Mapping[str, Any]:
    return {"image": pictures, "height": size[0], "width": size[1]}


def kontext_picture(pictures: list["Image"], size: Size) -> Mapping[str, Any]:
    return {**one_picture_sized(pictures, size), "max_area": size[0] * size[1]}


def joy_pictures(pictures: list["Image"], size: Size) -> Mapping[str, Any]:
    return {"images": [pictures], "height": size[0], "width": size[1]}


@dataclass(frozen=True)
class Call:
    """pictures, layout, size: see above.

    text_scale, image_scale: the arguments that the two guidances are; "" is none.
    negative: whether it takes a negative prompt; blank: what it wants for none.
    encoders: what need not be computed twice.
    """

    pictures: Pictures
    layout: Layout
    size: SizeRule
    text_scale: str = "guidance_scale"
    image_scale: str = ""
    negative: bool = False
    blank: str = ""
    encoders: tuple[str, ...] = ENCODERS
