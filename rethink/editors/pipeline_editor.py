"""An Editor over any diffusers editing pipeline: its own sampling, row by row, observed and controlled through hooks."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..images import Fit, as_image, fit, from_pil, plan_within, to_pil
from .common import (
    EditBatch,
    Remedies,
    SourceCache,
    check_area,
    guidance_scales,
    latent_edit_mask,
    run_edit,
    settings_by_row,
)
from .encoder_cache import EncoderCache, cached_encoders
from .families import Family
from .lora import Lora, lora_applied, read_lora
from .pipeline_adapters import PipelineAdapter, StepInputs, resizing_to
from .protocol import LoraReport, OnStep, Prepared, check_references
from .samplers import make_scheduler
from .sampling import latents_to_rgb
from .settings import DEFAULT_SETTINGS, Settings

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDEST = 4  # aspect ratio of a working size: no model was trained on ribbons, so they are padded

# (latents after a step, the clean latents they lead to, index of the step among the solver's timesteps), both
# [1, c, h, w]; the first may be written to
OnSolverStep = Callable[[Tensor, Tensor, int], None]


class _InputsSeen(Exception):
    """Ends a pipeline's call once the denoiser's inputs are known."""


@dataclass(frozen=True, eq=False)
class FittedImages:
    """Sources fitted to the working size, each followed by the references. Their latents are cached by content."""

    images: list[list["Image"]]
    plan: Fit


@dataclass(eq=False)
class EditState:
    """One edit in progress and what was captured from it: the encoded source, the denoiser's input, the source's
    latents.

    noise_seed: of the noise for the source outside a mask.
    """

    noise_seed: int
    encoded: Tensor | None = None
    model_input: Tensor | None = None
    source: Tensor | None = None
    to_rgb: Callable[[Tensor], Tensor] | None = None
    step: int = 0
    steps: int = 0

    @property
    def source_latents(self) -> Tensor:
        """The source's latents [1, c, h, w], known since the first step."""
        assert self.source is not None, "no step has been taken"
        return self.source

    @cached_property
    def noise(self) -> Tensor:
        return torch.randn(self.source_latents.shape, generator=_generator(self.noise_seed))


class PipelineEditor:
    """See `protocol.Editor`. `pipeline` is an open diffusers pipeline, whose own `__call__` samples.

    Rows run one after another: for models of this size a batch is no faster and needs more memory, and several of the
    pipelines do not support it. So a row's result is bit for bit the same whatever else is in the batch.
    device: where to compute when the pipeline is offloaded; None: where the weights are.
    """

    def __init__(
        self, pipeline: Any, family: Family, defaults: Settings, name: str, device: torch.device | None = None
    ):
        assert isinstance(family.engine, PipelineAdapter)
        self.name = name
        self.family = family
        self.defaults = defaults
        self.module = nn.ModuleDict({k: part for k, part in pipeline.components.items() if isinstance(part, nn.Module)})
        self._adapter = family.engine
        self._pipeline = pipeline
        self._denoiser = "transformer" if "transformer" in self.module else "unet"
        self._offloaded_to = device
        self._last_source = SourceCache()
        self._encoder_cache = EncoderCache()
        self._area = 0  # pixels to work on; 0: those of its own size
        self._loras: tuple[Lora, ...] = ()

    @property
    def device(self) -> torch.device:
        return self._offloaded_to or torch.device(self._pipeline.components[self._denoiser].device)

    @property
    def denoiser_name(self) -> str:
        return self._denoiser

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
        return run_edit(
            self,
            EditBatch(prepared, instructions, seeds, settings, mask, on_step),
            prepared.encoded.plan,
            self._sample,
            Remedies(
                out_of_memory="load it with offload or quantization",
                nan=f" in {self.module[self._denoiser].dtype}; load it with another dtype",
            ),
            self._pipeline.maybe_free_model_hooks,
        )

    def effective_settings(self, prepared: Prepared, seeds: Sequence[int], settings: Settings) -> list[Settings]:
        settings = settings.resolved(self.defaults)
        return settings_by_row(settings, [guidance_scales(settings, seed) for seed in seeds])

    def with_lora(self, path: str | PathLike, strength: float) -> tuple["PipelineEditor", LoraReport]:
        lora, report = read_lora(path, strength, self.module, self.family.title)
        view = copy(self)
        view._loras = (*self._loras, lora)
        if any(not layer.startswith(f"{self._denoiser}.") for layer in lora.layers):
            view._encoder_cache = EncoderCache()  # the encoders' results change
        return view, report

    def with_area(self, area: int) -> "PipelineEditor":
        """See `protocol.InspectableEditor`."""
        check_area(area, self._adapter.multiple(self._pipeline))
        self._adapter.size(self._pipeline, 1024, 1024, area)  # not every family supports it
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
        denoiser, encoded, found = self.module[self._denoiser], prepared.encoded, {}
        signature = inspect.signature(denoiser.forward)
        whole = {"strength": 1.0} if self.family.defaults.strength else {}  # lower, a single step is skipped

        def keep_inputs(module: nn.Module, args: tuple, options: dict) -> None:
            found.update(signature.bind(*args, **options).arguments)
            raise _InputsSeen

        hook = denoiser.register_forward_pre_hook(keep_inputs, with_kwargs=True)
        try:
            with (
                torch.no_grad(),
                lora_applied(self.module, self._loras),
                resizing_to(self._pipeline, self._area),
                cached_encoders(self._pipeline, self._adapter.encoders, self._encoder_cache, lambda *_: None),
                suppress(_InputsSeen),
            ):
                self._pipeline(
                    prompt=instruction,
                    num_inference_steps=1,
                    generator=_generator(0),
                    output_type="pt",
                    return_dict=False,
                    **self._adapter.image_arguments(encoded.images[0], encoded.plan.padded),
                    **{name: 1.0 for name in (self._adapter.text_scale, self._adapter.image_scale) if name},
                    **whole,
                )
        finally:
            hook.remove()
            self._pipeline.maybe_free_model_hooks()
        found.pop("return_dict", None)
        return found

    def _fit(self, source: Tensor, references: Sequence[Tensor]) -> FittedImages:
        plan = self._plan(source)
        others = [to_pil(fit(image, self._plan(image)))[0] for image in references]
        return FittedImages([[image, *others] for image in to_pil(fit(source, plan))], plan)

    def _plan(self, image: Tensor) -> Fit:
        height, width = image.shape[1:3]
        sides = max(height, width // _WIDEST), max(width, height // _WIDEST)
        size = self._adapter.size(self._pipeline, *sides, self._area)
        return plan_within(height, width, size)

    def _sample(self, batch: EditBatch) -> Tensor:
        """Pixels [rows, h, w, 3] at the working size, on the CPU."""
        with self._scheduler(batch.settings.sampler), lora_applied(self.module, self._loras):
            return torch.cat([self._edit_row(batch, row) for row in range(len(batch.seeds))])

    def _edit_row(self, batch: EditBatch, row: int) -> Tensor:
        image, encoded = batch.image_of(row), batch.prepared.encoded
        state = EditState(batch.seeds[row])

        def on_solver_step(latents: Tensor, clean: Tensor, index: int) -> None:
            if batch.mask is not None:
                self._restore_unmasked(state, latents, batch.mask[image], encoded.plan, index)
            if batch.on_step is not None:
                state.step += 1
                step, total = row * state.steps + state.step, len(batch.seeds) * state.steps
                batch.on_step(step, total, lambda: self._preview(state, clean, encoded, image))

        def on_encoder_result(path: str, result: Any) -> None:
            if path == "vae.encode" and state.encoded is None:  # the source is encoded before the references
                state.encoded = result.latent_dist.mode() if hasattr(result, "latent_dist") else result.latents

        seed = batch.seeds[row]
        with (
            resizing_to(self._pipeline, self._area),
            cached_encoders(self._pipeline, self._adapter.encoders, self._encoder_cache, on_encoder_result),
            self._hooked_scheduler(state, encoded.plan, on_solver_step),
            torch.random.fork_rng(devices=[]),  # some pipelines draw from the global generator too
        ):
            torch.manual_seed(seed % 2**64)
            result = self._pipeline(
                prompt=batch.instructions[row],
                num_inference_steps=batch.settings.steps,
                generator=_generator(seed),
                output_type="pt",
                return_dict=False,
                **self._adapter.image_arguments(encoded.images[image], encoded.plan.padded),
                **self._arguments(batch.settings, seed),
            )
        return result[0].float().movedim(1, -1).cpu()

    def _arguments(self, settings: Settings, seed: int) -> dict[str, Any]:
        """The settings of a row under the names of the pipeline's arguments."""
        adapter = self._adapter
        names = (adapter.text_scale, adapter.image_scale)
        arguments: dict[str, Any] = {name: scale for name, scale in zip(names, guidance_scales(settings, seed)) if name}
        if self.family.defaults.strength:
            arguments["strength"] = max(settings.strength, 1 / settings.steps)  # at least one step
        negative = settings.negative_prompt or adapter.empty_negative
        if adapter.takes_negative_prompt and negative:
            arguments["negative_prompt"] = negative
        return arguments

    @contextmanager
    def _scheduler(self, name: str) -> Iterator[None]:
        model_scheduler = self._pipeline.scheduler
        self._pipeline.scheduler = make_scheduler(name, model_scheduler)
        try:
            yield
        finally:
            self._pipeline.scheduler = model_scheduler

    @contextmanager
    def _hooked_scheduler(self, state: EditState, plan: Fit, on_solver_step: OnSolverStep) -> Iterator[None]:
        """Have every step of the solver call `on_solver_step`, and fill `state`.

        The pipelines' own callbacks differ, and some have none, but all of them call their solver's `step`.
        """
        scheduler, layout = self._pipeline.scheduler, self._adapter.layout
        original = scheduler.step
        patch_size = layout.patch_size(self._pipeline)
        grid = plan.padded[0] // patch_size, plan.padded[1] // patch_size
        indices: Iterator[int] | None = None

        def step(output: Tensor, timestep: Tensor, sample: Tensor, *args: Any, **options: Any) -> tuple[Tensor]:
            nonlocal indices
            if indices is None:
                first = int((scheduler.timesteps == timestep).nonzero()[0])
                indices = iter(range(first, len(scheduler.timesteps)))
                state.steps = len(scheduler.timesteps) - first
                assert state.model_input is not None, "the denoiser runs before the solver"
                inputs = StepInputs(sample, state.model_input, state.encoded, self._pipeline.vae.config)
                state.source = layout.source(inputs, grid).float()
            index = next(indices)
            solved = original(output, timestep, sample, *args, **{**options, "return_dict": True})
            clean = layout.target(_predict_x0(scheduler, solved, sample, output, index), grid)
            on_solver_step(layout.target(solved.prev_sample, grid), clean, index)
            return (solved.prev_sample,)

        def keep_input(module: nn.Module, args: tuple, options: dict) -> None:
            if state.model_input is None:
                state.model_input = options["hidden_states"] if "hidden_states" in options else args[0]

        hook = self.module[self._denoiser].register_forward_pre_hook(keep_input, with_kwargs=True)
        scheduler.step = step
        try:
            yield
        finally:
            del scheduler.step
            hook.remove()

    def _restore_unmasked(self, state: EditState, latents: Tensor, mask: Tensor, plan: Fit, index: int) -> None:
        """Outside the mask [H, W], replace the latents with the source's, at the noise level after step `index`."""
        editable = latent_edit_mask(mask[None], plan, (latents.shape[-2], latents.shape[-1])).to(latents.device)
        source = state.source_latents
        noisy = _add_noise(self._pipeline.scheduler, source, state.noise.to(source.device), index + 1)
        latents.copy_(torch.where(editable, latents, noisy.to(latents.dtype)))

    def _preview(self, state: EditState, clean: Tensor, encoded: FittedImages, image: int) -> Tensor:
        if state.to_rgb is None:
            state.to_rgb = latents_to_rgb(state.source_latents, from_pil(encoded.images[image][:1]))
        colors = state.to_rgb(clean)
        height, width = (
            max(1, side * cells // padded)
            for side, cells, padded in zip(encoded.plan.scaled, colors.shape[1:3], encoded.plan.padded)
        )
        return colors[:, :height, :width]


def _generator(seed: int) -> torch.Generator:
    """A generator on the CPU, where a seed gives the same noise on every machine."""
    return torch.Generator().manual_seed(seed % 2**64)


def _is_flow(scheduler: Any) -> bool:
    return scheduler.config.get("prediction_type", "flow_prediction") == "flow_prediction"


def _predict_x0(scheduler: Any, solved: Any, sample: Tensor, output: Tensor, index: int) -> Tensor:
    """The solver's estimate of the clean latents; if it gives none, the one that follows from the flow's velocity."""
    if getattr(solved, "pred_original_sample", None) is not None:
        return solved.pred_original_sample
    if not _is_flow(scheduler):
        return solved.prev_sample
    return sample - scheduler.sigmas[index].to(sample.device) * output


def _add_noise(scheduler: Any, source: Tensor, noise: Tensor, index: int) -> Tensor:
    """Clean latents noised to the timestep `index`; past the last one they are clean."""
    if index >= len(scheduler.timesteps):
        return source
    if _is_flow(scheduler):
        return torch.lerp(source, noise, float(scheduler.sigmas[index]))
    return scheduler.add_noise(source, noise, scheduler.timesteps[index : index + 1])
