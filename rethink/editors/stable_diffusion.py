"""An Editor over a diffusers Stable Diffusion pipeline's own modules: text encoder, VAE, UNet, scheduler."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RethinkError
from ..images import Fit, as_edit_mask, as_image, fit, plan_fit, unfit
from .common import SourceCache, composite_masked, drawn_settings, latent_edit_mask, run_with_oom_guard
from .families import Family
from .lora import Lora, applied, read_lora
from .protocol import DEFAULT_SETTINGS, LoraReport, OnStep, Prepared, Settings, check_references, check_rows
from .samplers import Schedule
from .sampling import denoise, guided, latents_to_rgb

_PIXELS_AT_ONCE = 2**20  # of the VAE, whose activations are the peak of memory
_TEXTS_KEPT = 64


@dataclass(frozen=True, eq=False)
class Encoded:
    """A source in latents: the VAE's mode, unscaled [B, c, h, w], and how its pixels were fitted."""

    latents: Tensor
    plan: Fit


class StableDiffusionEditor:
    """See `protocol.Editor`. `pipeline` is an open diffusers pipeline, used for its modules and its offload hooks.

    device: where to compute when the pipeline is offloaded; None when the weights themselves say it.
    """

    def __init__(
        self, pipeline: Any, family: Family, defaults: Settings, name: str, device: torch.device | None = None
    ):
        self.name = name
        self.family = family
        self.defaults = defaults
        self.module = nn.ModuleDict({part: getattr(pipeline, part) for part in ("text_encoder", "vae", "unet")})
        self._pipeline = pipeline
        self._offloaded_to = device
        self._last_source = SourceCache()
        self._loras: tuple[Lora, ...] = ()
        self._texts: dict[str, Tensor] = {}
        self._shrinks = 2 ** (len(self.module["vae"].config.block_out_channels) - 1)
        self._scaling = self.module["vae"].config.scaling_factor

    @property
    def device(self) -> torch.device:
        return self._offloaded_to or self.module["unet"].device

    def prepare(self, images: Tensor, references: Sequence[Tensor] = ()) -> Prepared:
        check_references(references, self.family)
        source = as_image(images)
        encode = partial(self._within_memory, lambda: self._encode(source), "use a smaller batch of images")
        return Prepared(source, self._last_source.get((images,), encode))

    def edit(
        self,
        prepared: Prepared,
        instructions: Sequence[str],
        seeds: Sequence[int],
        settings: Settings = DEFAULT_SETTINGS,
        *,
        mask: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        per_image = check_rows(prepared, instructions, seeds)
        settings = settings.resolved(self.defaults)
        mask = as_edit_mask(mask, prepared.images)
        mask = None if mask is None else mask.cpu()
        with applied(self.module, self._loras):
            pixels = self._within_memory(
                lambda: self._sample(prepared, per_image, instructions, seeds, settings, mask, on_step),
                "edit fewer images or variations at once, or load the editor with fp16 or with offload",
            )
        if not torch.isfinite(pixels).all():
            raise RethinkError(
                f"editor: {self.name} produced NaN in {self.module['unet'].dtype}; load it with another dtype (fp32)."
            )
        return composite_masked(unfit(pixels.clamp(0, 1), prepared.encoded.plan), prepared.images, mask)

    def effective_settings(self, prepared: Prepared, seeds: Sequence[int], settings: Settings) -> list[Settings]:
        settings = settings.resolved(self.defaults)
        generators, _ = _noise(seeds, prepared.encoded.latents.shape[1:])  # the scales are drawn behind the noise
        return drawn_settings(settings, list(zip(*(scale.tolist() for scale in _scales(settings, generators)))))

    def with_lora(self, path: str | PathLike, strength: float) -> tuple["StableDiffusionEditor", LoraReport]:
        lora, report = read_lora(path, strength, self.module, self.family.title)
        view = copy(self)
        view._loras = (*self._loras, lora)
        view._texts = {}  # a LoRA may change what the text encoder says
        return view, report

    @contextmanager
    def pipeline(self) -> Iterator[Any]:
        """Within it: the diffusers pipeline whose modules these are, the LoRAs over them, for who draws with it himself."""
        with applied(self.module, self._loras):
            yield self._pipeline

    def _within_memory(self, work: Callable[[], Any], remedy: str) -> Any:
        complaint = f"editor: {self.name} ran out of memory on {self.device}; {remedy}."
        return run_with_oom_guard(work, self._pipeline.maybe_free_model_hooks, complaint)

    def _encode(self, images: Tensor) -> Encoded:
        plan = self._plan(images)
        latents = []
        for part in fit(images, plan).split(_rows_at_once(plan)):
            pixels = (part.movedim(-1, 1) * 2 - 1).to(self.device, self.module["vae"].dtype)
            encoded = self.module["vae"].encode(pixels)
            # AutoencoderTiny has no distribution, only latents.
            latents.append(encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents)
        return Encoded(torch.cat(latents).float(), plan)

    def _decode(self, latents: Tensor, plan: Fit) -> Tensor:
        pictures = []
        for part in (latents / self._scaling).to(self.module["vae"].dtype).split(_rows_at_once(plan)):
            pixels = self.module["vae"].decode(part, return_dict=False)[0]
            pictures.append((pixels.float() / 2 + 0.5).movedim(1, -1).cpu())
        return torch.cat(pictures)

    def _plan(self, images: Tensor) -> Fit:
        unet = self.module["unet"].config
        size = unet.sample_size or 64  # Stable Diffusion 1's, where a folder does not say
        sizes = size if isinstance(size, (list, tuple)) else (size, size)
        return plan_fit(
            *images.shape[1:3],
            area=sizes[0] * sizes[1] * self._shrinks**2,
            multiple=self._shrinks * 2 ** (len(unet.down_block_types) - 1),
        )

    def _sample(
        self,
        prepared: Prepared,
        per_image: int,
        instructions: Sequence[str],
        seeds: Sequence[int],
        settings: Settings,
        mask: Tensor | None,
        on_step: OnStep | None,
    ) -> Tensor:
        plan = prepared.encoded.plan
        source = prepared.encoded.latents.to(self.device).repeat_interleave(per_image, 0)
        schedule = Schedule(settings.sampler, self._pipeline.scheduler, settings.steps)
        generators, noise = _noise(seeds, source.shape[1:])
        noise = noise.to(self.device)
        passes = self.family.guidance(*_scales(settings, generators))
        embeddings = self._embed([*instructions, *[settings.negative] * len(seeds)])
        text, null = embeddings.chunk(2)

        if self.family.source_channels:
            predict = guided(self.module["unet"], passes, text, null, source)
            latents, first = schedule.begin(noise)
        else:
            predict = guided(self.module["unet"], passes, text, null, None)
            latents, first = schedule.begin(noise, source * self._scaling, settings.strength)

        hooks = {}
        if mask is not None:
            free = self._free_latents(mask, plan, len(prepared), per_image)
            hooks["keep"] = lambda x, i: torch.where(free, x, schedule.noised(source * self._scaling, noise, i))
        if on_step is not None:
            preview = self._preview(prepared)
            hooks["after_step"] = lambda step, total, clean: on_step(step, total, lambda: preview(clean()))
        return self._decode(denoise(predict, schedule, latents, first, generators, **hooks), plan)

    def _free_latents(self, mask: Tensor, plan: Fit, images: int, per_image: int) -> Tensor:
        """Mask [B or 1, H, W] → bool [rows, 1, h, w]: the latents that touch a pixel that may change."""
        touched = latent_edit_mask(mask, plan, tuple(side // self._shrinks for side in plan.padded))
        return touched.to(self.device).expand(images, -1, -1, -1).repeat_interleave(per_image, 0)

    def _preview(self, prepared: Prepared) -> Callable[[Tensor], Tensor]:
        plan = prepared.encoded.plan
        if type(self.module["vae"]).__name__ == "AutoencoderTiny":  # made for previews: decoding costs next to nothing
            return lambda clean: self._decode(clean, plan)[:, : plan.scaled[0], : plan.scaled[1]].clamp(0, 1)
        height, width = (-(-side // self._shrinks) for side in plan.scaled)
        to_rgb = None

        def preview(clean: Tensor) -> Tensor:
            nonlocal to_rgb
            to_rgb = to_rgb or latents_to_rgb(prepared.encoded.latents * self._scaling, fit(prepared.images, plan))
            return to_rgb(clean)[:, :height, :width]

        return preview

    def _embed(self, texts: Sequence[str]) -> Tensor:
        """Embeddings [len(texts), tokens, width], each text computed once, and not again while it is remembered."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if missing:
            self._texts.update(zip(missing, self._encode_texts(missing)))
        embeddings = torch.stack([self._texts[text] for text in texts]).to(self.device)
        for text in list(self._texts)[:-_TEXTS_KEPT]:
            del self._texts[text]
        return embeddings

    def _encode_texts(self, texts: list[str]) -> Tensor:
        tokenizer, encoder = self._pipeline.tokenizer, self.module["text_encoder"]
        limit = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
        for text in texts:
            length = len(tokenizer(text, verbose=False).input_ids)
            if length > limit:
                warnings.warn(
                    f"instruction: “{text[:40]}…” has {length - 2} tokens; {self.name} reads the first {limit - 2}.",
                    stacklevel=2,
                )
        tokens = tokenizer(texts, padding="max_length", max_length=limit, truncation=True, return_tensors="pt")
        attention = tokens.attention_mask.to(self.device) if _uses_attention_mask(encoder) else None
        return encoder(tokens.input_ids.to(self.device), attention_mask=attention)[0]


def _noise(seeds: Sequence[int], shape: torch.Size) -> tuple[list[torch.Generator], Tensor]:
    """The generator of every row and the noise [rows, c, h, w] that was drawn from it first.

    On the CPU, where a seed means the same noise on every machine.
    """
    generators = [torch.Generator().manual_seed(seed % 2**64) for seed in seeds]
    return generators, torch.cat([torch.randn((1, *shape), generator=g) for g in generators])


def _scales(settings: Settings, generators: list[torch.Generator]) -> tuple[Tensor, Tensor]:
    """Text and image guidance of every row, each [rows]."""
    text, image = (torch.full((len(generators),), s) for s in (settings.text_guidance, settings.image_guidance))
    if settings.randomize_guidance:
        draws = torch.stack([torch.rand(2, generator=g) for g in generators], dim=1) * 0.4 + 0.8
        text, image = text * draws[0], image * draws[1]
    return text, image


def _rows_at_once(plan: Fit) -> int:
    return max(1, _PIXELS_AT_ONCE // (plan.padded[0] * plan.padded[1]))


def _uses_attention_mask(encoder: nn.Module) -> bool:
    return getattr(encoder.config, "use_attention_mask", False)
