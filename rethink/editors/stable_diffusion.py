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

from ..images import Fit, as_image, fit, plan_fit
from .common import (
    EditBatch,
    Remedies,
    SourceCache,
    check_area,
    latent_edit_mask,
    run_edit,
    run_with_oom_guard,
    settings_by_row,
)
from .families import DenoisingLoop, Family
from .lora import Lora, lora_applied, read_lora
from .protocol import LoraReport, OnStep, Prepared, check_references
from .samplers import Schedule
from .sampling import denoise, latents_to_rgb, make_cfg_predictor
from .settings import DEFAULT_SETTINGS, Settings

_VAE_PIXELS = 2**20  # at once in the VAE, whose activations determine peak memory
_MAX_TEXTS = 64


@dataclass(frozen=True, eq=False)
class Encoded:
    """A source as latents: the VAE's mode, unscaled [B, c, h, w], and how its pixels were fitted."""

    latents: Tensor
    plan: Fit


class StableDiffusionEditor:
    """See `protocol.Editor`. `pipeline` is an open diffusers pipeline, used for its modules and its offload hooks.

    device: where to compute when the pipeline is offloaded; None: where the weights are.
    """

    def __init__(
        self, pipeline: Any, family: Family, defaults: Settings, name: str, device: torch.device | None = None
    ):
        assert isinstance(family.engine, DenoisingLoop)
        self.name = name
        self.family = family
        self.defaults = defaults
        self._text_encoder, self._vae, self._unet = pipeline.text_encoder, pipeline.vae, pipeline.unet
        self.module = nn.ModuleDict({"text_encoder": self._text_encoder, "vae": self._vae, "unet": self._unet})
        self._loop = family.engine
        self._pipeline = pipeline
        self._offloaded_to = device
        self._last_source = SourceCache()
        self._area = 0  # pixels to work on; 0: those of its own size
        self._loras: tuple[Lora, ...] = ()
        self._texts: dict[str, Tensor] = {}
        self._vae_scale_factor = 2 ** (len(self._vae.config.block_out_channels) - 1)
        self._scaling = self._vae.config.scaling_factor

    @property
    def device(self) -> torch.device:
        return self._offloaded_to or self._unet.device

    @property
    def denoiser_name(self) -> str:
        return "unet"

    def prepare(self, images: Tensor, references: Sequence[Tensor] = ()) -> Prepared:
        check_references(references, self.family)
        source = as_image(images)
        return Prepared(source, self._last_source.get((images,), partial(self._encode_within_memory, source)))

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
        return run_edit(
            self,
            EditBatch(prepared, instructions, seeds, settings, mask, on_step),
            prepared.encoded.plan,
            self._sample,
            Remedies(
                out_of_memory="edit fewer images or variations at once, or load the editor with fp16 or with offload",
                nan=f" in {self._unet.dtype}; load it with another dtype (fp32)",
            ),
            self._pipeline.maybe_free_model_hooks,
        )

    def effective_settings(self, prepared: Prepared, seeds: Sequence[int], settings: Settings) -> list[Settings]:
        settings = settings.resolved(self.defaults)
        generators, _ = _draw_noise(seeds, prepared.encoded.latents.shape[1:])  # the noise is drawn before the scales
        return settings_by_row(settings, list(zip(*(scale.tolist() for scale in _draw_scales(settings, generators)))))

    def with_lora(self, path: str | PathLike, strength: float) -> tuple["StableDiffusionEditor", LoraReport]:
        lora, report = read_lora(path, strength, self.module, self.family.title)
        view = copy(self)
        view._loras = (*self._loras, lora)
        view._texts = {}  # the text encoder's results may change
        return view, report

    def with_area(self, area: int) -> "StableDiffusionEditor":
        """See `protocol.InspectableEditor`."""
        check_area(area, self._multiple)
        view = copy(self)
        view._area, view._last_source = area, SourceCache()
        return view

    @contextmanager
    def pipeline(self) -> Iterator[Any]:
        """The diffusers pipeline of these modules with the LoRAs, for callers that sample themselves."""
        with lora_applied(self.module, self._loras):
            yield self._pipeline

    def denoiser_inputs(self, prepared: Prepared, instruction: str) -> dict[str, Any]:
        """See `protocol.InspectableEditor`."""
        with torch.no_grad(), lora_applied(self.module, self._loras):
            source = prepared.encoded.latents[:1].to(self.device)
            inputs = {"sample": source, "timestep": 0, "encoder_hidden_states": self.embed_texts([instruction])}
        if self._loop.source_channels:
            inputs["sample"] = torch.cat([torch.zeros_like(source), source], 1)
        return inputs

    def _encode_within_memory(self, images: Tensor) -> Encoded:
        release = self._pipeline.maybe_free_model_hooks
        return run_with_oom_guard(lambda: self._encode(images), release, self, "use a smaller batch of images")

    def _encode(self, images: Tensor) -> Encoded:
        plan = self._plan(images)
        latents = []
        for part in fit(images, plan).split(_vae_batch_size(plan)):
            pixels = (part.movedim(-1, 1) * 2 - 1).to(self.device, self._vae.dtype)
            encoded = self._vae.encode(pixels)
            # AutoencoderTiny has no distribution, only latents.
            latents.append(encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents)
        return Encoded(torch.cat(latents).float(), plan)

    def _decode(self, latents: Tensor, plan: Fit) -> Tensor:
        images = []
        for part in (latents / self._scaling).to(self._vae.dtype).split(_vae_batch_size(plan)):
            pixels = self._vae.decode(part, return_dict=False)[0]
            images.append((pixels.float() / 2 + 0.5).movedim(1, -1).cpu())
        return torch.cat(images)

    def _plan(self, images: Tensor) -> Fit:
        size = self._unet.config.sample_size or 64  # Stable Diffusion 1's, if a folder does not say
        sizes = size if isinstance(size, (list, tuple)) else (size, size)
        area = self._area or sizes[0] * sizes[1] * self._vae_scale_factor**2
        return plan_fit(*images.shape[1:3], area=area, multiple=self._multiple)

    @property
    def _multiple(self) -> int:
        """The multiple that the sides of the working size must have, in pixels."""
        return self._vae_scale_factor * 2 ** (len(self._unet.config.down_block_types) - 1)

    def _sample(self, batch: EditBatch) -> Tensor:
        """Pixels [rows, h, w, 3] at the working size, on the CPU."""
        with lora_applied(self.module, self._loras):
            return self._decode(self._denoise(batch), batch.prepared.encoded.plan)

    def _denoise(self, batch: EditBatch) -> Tensor:
        """Clean latents [rows, c, h, w]."""
        settings, encoded = batch.settings, batch.prepared.encoded
        source = encoded.latents.to(self.device).repeat_interleave(batch.rows_per_image, 0)
        schedule = Schedule(settings.sampler, self._pipeline.scheduler, settings.steps)
        generators, noise = _draw_noise(batch.seeds, source.shape[1:])
        noise = noise.to(self.device)
        passes = self._loop.guidance(*_draw_scales(settings, generators))
        embeddings = self.embed_texts([*batch.instructions, *[settings.negative_prompt] * len(batch.seeds)])
        text, null = embeddings.chunk(2)

        if self._loop.source_channels:
            predict = make_cfg_predictor(self._unet, passes, text, null, source)
            latents, first = schedule.init_latents(noise)
        else:
            predict = make_cfg_predictor(self._unet, passes, text, null, None)
            latents, first = schedule.init_latents(noise, source * self._scaling, settings.strength)

        hooks: dict[str, Any] = {}
        if batch.mask is not None:
            editable = self._editable_latents(batch.mask, encoded.plan, batch.rows_per_image)
            hooks["constrain"] = lambda x, i: torch.where(
                editable, x, schedule.add_noise(source * self._scaling, noise, i)
            )
        if batch.on_step is not None:
            on_step, preview = batch.on_step, self._preview(batch.prepared)
            hooks["after_step"] = lambda step, total, clean: on_step(step, total, lambda: preview(clean()))
        return denoise(predict, schedule, latents, first, generators, **hooks)

    def _editable_latents(self, mask: Tensor, plan: Fit, rows_per_image: int) -> Tensor:
        """Mask [B, H, W] → bool [rows, 1, h, w]: the latents that touch a pixel that may change."""
        height, width = (side // self._vae_scale_factor for side in plan.padded)
        return latent_edit_mask(mask, plan, (height, width)).to(self.device).repeat_interleave(rows_per_image, 0)

    def _preview(self, prepared: Prepared) -> Callable[[Tensor], Tensor]:
        plan = prepared.encoded.plan
        if type(self._vae).__name__ == "AutoencoderTiny":  # made for previews: decoding costs almost nothing
            return lambda clean: self._decode(clean, plan)[:, : plan.scaled[0], : plan.scaled[1]].clamp(0, 1)
        height, width = (-(-side // self._vae_scale_factor) for side in plan.scaled)
        to_rgb = None

        def preview(clean: Tensor) -> Tensor:
            nonlocal to_rgb
            to_rgb = to_rgb or latents_to_rgb(prepared.encoded.latents * self._scaling, fit(prepared.images, plan))
            return to_rgb(clean)[:, :height, :width]

        return preview

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings [len(texts), tokens, width]; each text is computed once and then cached."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if missing:
            self._texts.update(zip(missing, self._encode_texts(missing)))
        embeddings = torch.stack([self._texts[text] for text in texts]).to(self.device)
        for text in list(self._texts)[:-_MAX_TEXTS]:
            del self._texts[text]
        return embeddings

    def _encode_texts(self, texts: list[str]) -> Tensor:
        tokenizer, encoder = self._pipeline.tokenizer, self._text_encoder
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


def _draw_noise(seeds: Sequence[int], shape: torch.Size) -> tuple[list[torch.Generator], Tensor]:
    """The generator of every row and the noise [rows, c, h, w] that was drawn from it first.

    On the CPU, where a seed gives the same noise on every machine.
    """
    generators = [torch.Generator().manual_seed(seed % 2**64) for seed in seeds]
    return generators, torch.cat([torch.randn((1, *shape), generator=g) for g in generators])


def _draw_scales(settings: Settings, generators: list[torch.Generator]) -> tuple[Tensor, Tensor]:
    """Text and image guidance of every row, each [rows]."""
    text, image = (torch.full((len(generators),), s) for s in (settings.text_guidance, settings.image_guidance))
    if settings.randomize_guidance:
        draws = torch.stack([torch.rand(2, generator=g) for g in generators], dim=1) * 0.4 + 0.8
        text, image = text * draws[0], image * draws[1]
    return text, image


def _vae_batch_size(plan: Fit) -> int:
    return max(1, _VAE_PIXELS // (plan.padded[0] * plan.padded[1]))


def _uses_attention_mask(encoder: nn.Module) -> bool:
    return getattr(encoder.config, "use_attention_mask", False)
