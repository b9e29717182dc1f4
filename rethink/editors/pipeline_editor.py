"""An Editor over any diffusers editing pipeline: its own sampling, row by row, watched and steered from outside."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import RethinkError
from ..images import Fit, as_edit_mask, as_image, fit, from_pil, plan_within, to_pil, unfit
from .common import SourceCache, composite_masked, drawn_settings, guidances, latent_edit_mask, run_with_oom_guard
from .encoder_cache import Memory, cached_encoders
from .families import Family
from .lora import Lora, applied, read_lora
from .pipeline_adapters import Call, Seen
from .protocol import DEFAULT_SETTINGS, LoraReport, OnStep, Prepared, Settings, check_references, check_rows
from .samplers import scheduler_like
from .sampling import latents_to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDEST = 4  # aspect of a working size: no model knows ribbons, they are padded

# (latents after a step, the clean ones they lead to, index of the step among the solver's timesteps), both
# [1, c, h, w], the first to be written to
AfterStep = Callable[[Tensor, Tensor, int], None]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Sources fitted to the working size, each with the references after it. Their latents are found by content."""

    pictures: list[list["Image"]]
    plan: Fit


@dataclass(eq=False)
class EditState:
    """One edit under way and what passed by so far: the source encoded, the denoiser's input, the source's latents."""

    generator: torch.Generator
    encoded: Tensor | None = None
    model_input: Tensor | None = None
    source: Tensor | None = None
    to_rgb: Callable[[Tensor], Tensor] | None = None
    step: int = 0
    steps: int = 0

    @cached_property
    def noise(self) -> Tensor:
        """What the source is held with outside a mask."""
        return torch.randn(self.source.shape, generator=self.generator)


class PipelineEditor:
    """See `protocol.Editor`. `pipeline` is an open diffusers pipeline, whose own `__call__` samples.

    Rows run one after the other: at the sizes of these models a batch is no faster, needs more memory, and several of
    the pipelines take none. So a row's result is bit for bit the same whatever is edited beside it.
    device: where to compute when the pipeline is offloaded; None when the weights themselves say it.
    """

    def __init__(
        self, pipeline: Any, family: Family, defaults: Settings, name: str, device: torch.device | None = None
    ):
        self.name = name
        self.family = family
        self.defaults = defaults
        self.module = nn.ModuleDict({k: part for k, part in pipeline.components.items() if isinstance(part, nn.Module)})
        self._pipeline = pipeline
        self._denoiser = "transformer" if "transformer" in self.module else "unet"
        self._offloaded_to = device
        self._last_source = SourceCache()
        self._memory = Memory()
        self._loras: tuple[Lora, ...] = ()

    @property
    def device(self) -> torch.device:
        return self._offloaded_to or self.module[self._denoiser].device

    def prepare(self, images: Tensor, references: Sequence[Tensor] = ()) -> Prepared:
        others = check_references(references, self.family)
        source = as_image(images)
        return Prepared(source, self._last_source.get((images, *references), lambda: self._fit(source, others)))

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
        if settings.negative and not self.family.call.negative:
            raise RethinkError(f"negative: {self.family.title} takes no negative prompt; leave it empty.")
        mask = as_edit_mask(mask, prepared.images)
        mask = None if mask is None else mask.cpu()
        complaint = f"editor: {self.name} ran out of memory on {self.device}; load it with offload or quantized."
        with self._solver(settings.sampler), applied(self.module, self._loras):
            pixels = run_with_oom_guard(
                lambda: self._rows(prepared, per_image, instructions, seeds, settings, mask, on_step),
                self._pipeline.maybe_free_model_hooks,
                complaint,
            )
        if not torch.isfinite(pixels).all():
            raise RethinkError(
                f"editor: {self.name} produced NaN in {self.module[self._denoiser].dtype}; load it with another dtype."
            )
        return composite_masked(unfit(pixels.clamp(0, 1), prepared.encoded.plan), prepared.images, mask)

    def effective_settings(self, prepared: Prepared, seeds: Sequence[int], settings: Settings) -> list[Settings]:
        settings = settings.resolved(self.defaults)
        return drawn_settings(settings, [guidances(settings, seed) for seed in seeds])

    def with_lora(self, path: str | PathLike, strength: float) -> tuple["PipelineEditor", LoraReport]:
        lora, report = read_lora(path, strength, self.module, self.family.title)
        view = copy(self)
        view._loras = (*self._loras, lora)
        if any(not layer.startswith(f"{self._denoiser}.") for layer in lora.layers):
            view._memory = Memory()  # what the encoders said without it
        return view, report

    @contextmanager
    def pipeline(self) -> Iterator[Any]:
        """Within it: the diffusers pipeline whose modules these are, the LoRAs over them, for who draws with it himself."""
        with applied(self.module, self._loras):
            yield self._pipeline

    def _fit(self, source: Tensor, references: Sequence[Tensor]) -> Pictures:
        plan = self._plan(source)
        others = [to_pil(fit(picture, self._plan(picture)))[0] for picture in references]
        return Pictures([[picture, *others] for picture in to_pil(fit(source, plan))], plan)

    def _plan(self, image: Tensor) -> Fit:
        height, width = image.shape[1:3]
        size = self.family.call.size(self._pipeline, max(height, width // _WIDEST), max(width, height // _WIDEST))
        return plan_within(height, width, size)

    def _rows(
        self,
        prepared: Prepared,
        per_image: int,
        instructions: Sequence[str],
        seeds: Sequence[int],
        settings: Settings,
        mask: Tensor | None,
        on_step: OnStep | None,
    ) -> Tensor:
        done: list[Tensor] = []
        for index, (instruction, seed) in enumerate(zip(instructions, seeds)):
            image = index // per_image
            row = EditState(torch.Generator().manual_seed(seed % 2**64))
            free = None if mask is None else mask[min(image, len(mask) - 1)]

            def after(latents: Tensor, clean: Tensor, index: int, row=row, free=free, image=image) -> None:
                if free is not None:
                    self._restore_unmasked(row, latents, free, prepared.encoded.plan, index)
                if on_step is not None:
                    row.step += 1
                    now, total = len(done) * row.steps + row.step, len(seeds) * row.steps
                    on_step(now, total, lambda: self._preview(row, clean, prepared.encoded, image))

            pictures = prepared.encoded.pictures[image]
            done.append(self._row(row, pictures, prepared.encoded.plan, instruction, seed, settings, after))
        return torch.cat(done)

    def _row(
        self,
        row: EditState,
        pictures: list["Image"],
        plan: Fit,
        instruction: str,
        seed: int,
        settings: Settings,
        after: AfterStep,
    ) -> Tensor:
        """One edit by the pipeline's own call → pixels [1, h, w, 3] at the working size, on the CPU."""
        call = self.family.call
        generator = torch.Generator().manual_seed(seed % 2**64)  # on the CPU: the same noise on every machine
        arguments = {**call.pictures(pictures, plan.padded), **_guidances(call, settings, seed)}
        if self.family.defaults.strength:
            arguments["strength"] = max(settings.strength, 1 / settings.steps)  # of the steps one at least
        if call.negative and (settings.negative or call.blank):
            arguments["negative_prompt"] = settings.negative or call.blank

        def on_encoded(path: str, result: Any) -> None:
            if path == "vae.encode" and row.encoded is None:  # the source comes before the references
                row.encoded = result.latent_dist.mode() if hasattr(result, "latent_dist") else result.latents

        with (
            cached_encoders(self._pipeline, call.encoders, self._memory, on_encoded),
            self._hooked_scheduler(row, plan, after),
            torch.random.fork_rng(devices=[]),  # some pipelines draw from the global generator too
        ):
            torch.manual_seed(seed % 2**64)
            result = self._pipeline(
                prompt=instruction,
                num_inference_steps=settings.steps,
                generator=generator,
                output_type="pt",
                return_dict=False,
                **arguments,
            )
        return result[0].float().movedim(1, -1).cpu()

    @contextmanager
    def _solver(self, name: str) -> Iterator[None]:
        own = self._pipeline.scheduler
        self._pipeline.scheduler = scheduler_like(name, own)
        try:
            yield
        finally:
            self._pipeline.scheduler = own

    @contextmanager
    def _hooked_scheduler(self, row: EditState, plan: Fit, after: AfterStep) -> Iterator[None]:
        """Within it every step of the solver calls `after`, and `row` learns what passes by.

        The pipelines' own callbacks differ, and not all of them have one; all of them call their solver's `step`.
        """
        scheduler, layout = self._pipeline.scheduler, self.family.call.layout
        original = scheduler.step
        cell = layout.cell(self._pipeline)
        grid = plan.padded[0] // cell, plan.padded[1] // cell
        indices = None

        def step(output: Tensor, timestep: Tensor, sample: Tensor, *args: Any, **options: Any) -> tuple[Tensor]:
            nonlocal indices
            if indices is None:
                indices = iter(range(int((scheduler.timesteps == timestep).nonzero()[0]), len(scheduler.timesteps)))
                row.steps = indices.__length_hint__()
                seen = Seen(sample, row.model_input, row.encoded, self._pipeline.vae.config)
                row.source = layout.source(seen, grid).float()
            index = next(indices)
            solved = original(output, timestep, sample, *args, **{**options, "return_dict": True})
            clean = layout.target(_clean(scheduler, solved, sample, output, index), grid)
            after(layout.target(solved.prev_sample, grid), clean, index)
            return (solved.prev_sample,)

        def see(module: nn.Module, args: tuple, options: dict) -> None:
            if row.model_input is None:
                row.model_input = options["hidden_states"] if "hidden_states" in options else args[0]

        hook = self.module[self._denoiser].register_forward_pre_hook(see, with_kwargs=True)
        scheduler.step = step
        try:
            yield
        finally:
            del scheduler.step
            hook.remove()

    def _restore_unmasked(self, row: EditState, latents: Tensor, free: Tensor, plan: Fit, index: int) -> None:
        """Outside the mask [H, W] the latents become the source's again, as noisy as they are after step `index`."""
        touched = latent_edit_mask(free[None], plan, latents.shape[-2:]).to(latents.device)
        held = _noised(self._pipeline.scheduler, row.source, row.noise.to(row.source.device), index + 1)
        latents.copy_(torch.where(touched, latents, held.to(latents.dtype)))

    def _preview(self, row: EditState, clean: Tensor, encoded: Pictures, image: int) -> Tensor:
        if row.to_rgb is None:
            row.to_rgb = latents_to_rgb(row.source, from_pil(encoded.pictures[image][:1]))
        colours = row.to_rgb(clean)
        height, width = (
            max(1, side * cells // padded)
            for side, cells, padded in zip(encoded.plan.scaled, colours.shape[1:3], encoded.plan.padded)
        )
        return colours[:, :height, :width]


def _guidances(call: Call, settings: Settings, seed: int) -> dict[str, float]:
    """The two scales by the names of the pipeline's arguments."""
    names = (call.text_scale, call.image_scale)
    return {name: scale for name, scale in zip(names, guidances(settings, seed)) if name}


def _is_flow(scheduler: Any) -> bool:
    return scheduler.config.get("prediction_type", "flow_prediction") == "flow_prediction"


def _clean(scheduler: Any, solved: Any, sample: Tensor, output: Tensor, index: int) -> Tensor:
    """What the solver takes for the clean latents; where it does not say, what the velocity of the flow points at."""
    if getattr(solved, "pred_original_sample", None) is not None:
        return solved.pred_original_sample
    if not _is_flow(scheduler):
        return solved.prev_sample
    return sample - scheduler.sigmas[index].to(sample.device) * output


def _noised(scheduler: Any, source: Tensor, noise: Tensor, index: int) -> Tensor:
    """Clean latents as they are at the timestep `index`; past the last one they are clean."""
    if index >= len(scheduler.timesteps):
        return source
    if _is_flow(scheduler):
        return torch.lerp(source, noise, float(scheduler.sigmas[index]))
    return scheduler.add_noise(source, noise, scheduler.timesteps[index : index + 1])
