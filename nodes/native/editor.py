"""ComfyUI's own MODEL, CLIP and VAE as an Editor, sampled and kept in memory by ComfyUI itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from os import PathLike
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io
from torch import Tensor, nn

from ...rethink.editors.common import (
    EditBatch,
    Remedies,
    SourceCache,
    check_area,
    guidance_scales,
    latent_edit_mask,
    run_edit,
    run_with_oom_guard,
    settings_by_row,
)
from ...rethink.editors.protocol import LoraReport, OnStep, Prepared, check_references
from ...rethink.editors.settings import DEFAULT_SETTINGS, Settings
from ...rethink.errors import RethinkError
from ...rethink.images import Fit, as_image, fit, plan_fit
from .. import sockets
from ..comfy.modules import comfy_extra, comfy_module
from .families import AUTO, NATIVE_FAMILIES, Conditionings, NativeFamily, check_width, detect, named_schedule

if TYPE_CHECKING:
    from ...rethink.training.edit_model import EditModel

DEFAULT = "default"
_MAX_TEXTS = 64
_SAMPLERS = {"unipc": "uni_pc"}  # those that the sampling nodes call differently
_LESS_MEMORY = "lower megapixels, or load smaller weights"


@dataclass(frozen=True)
class Sampling:
    """How to sample if neither the sampling node nor the user says: ComfyUI's names, and the pixels to work on.

    "default" and 0 mean the family's own choice.
    """

    sampler: str = DEFAULT
    scheduler: str = DEFAULT
    area: int = 0


@dataclass(frozen=True, eq=False)
class Source:
    """One image as the model sees it.

    images: the source, then the references, each [1, h, w, 3] at a working size; plan: how the source was fitted to its size.
    latents: the source's, as the VAE gives them; values: what a conditioning needs for the model to see the images.
    texts: instruction → conditioning, without `values`.
    """

    images: tuple[Tensor, ...]
    plan: Fit
    latents: Tensor
    values: dict[str, Any]
    texts: dict[str, list]


class NativeEditor:
    """See `rethink.editors.protocol.Editor`. Rows are sampled one by one, each as ComfyUI's KSampler would with its
    seed, so no row depends on another in any sampler, and instructions of any length can be combined.
    """

    moves_itself = True  # ComfyUI's loaders put each model where it computes, when it does
    denoiser_name = "model"

    def __init__(self, model: Any, clip: Any, vae: Any, family: NativeFamily, sampling: Sampling = Sampling()):
        self.name = family.title
        self.family = family
        self.defaults = family.defaults
        self.module = nn.ModuleDict({"model": model.model, "clip": clip.cond_stage_model, "vae": vae.first_stage_model})
        self._model, self._clip, self._vae = model, clip, vae
        self._sampling = sampling
        self._last_source = SourceCache()
        self._texts: dict[str, list] = {}

    @property
    def device(self) -> torch.device:
        return self._model.load_device

    @property
    def parts(self) -> tuple[Any, Any, Any]:
        """(MODEL, CLIP, VAE), as ComfyUI patches and moves them."""
        return self._model, self._clip, self._vae

    @property
    def area(self) -> int:
        """The number of pixels that it works on."""
        return self._sampling.area or self.family.area

    def prepare(self, images: Tensor, references: Sequence[Tensor] = ()) -> Prepared:
        others = check_references(references, self.family)
        batch = as_image(images)
        return Prepared(batch, self._last_source.get((images, *references), partial(self._encode, batch, others)))

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
            prepared.encoded[0].plan,
            self._sample,
            Remedies(out_of_memory=_LESS_MEMORY, nan="; load the model with another weight_dtype"),
            _release_nothing,
        )

    def effective_settings(self, prepared: Prepared, seeds: Sequence[int], settings: Settings) -> list[Settings]:
        settings = settings.resolved(self.defaults)
        settings = replace(settings, sampler=self._sampler_name(settings.sampler))
        return settings_by_row(settings, [guidance_scales(settings, seed) for seed in seeds])

    def with_lora(self, path: str | PathLike, strength: float) -> tuple["NativeEditor", LoraReport]:
        """See the protocol. The weights are shared: ComfyUI patches them when it loads a model, and removes the patches
        again for the one without."""
        from .lora import apply_lora

        model, clip, report = apply_lora(self._model, self._clip, path, strength, self.family.title)
        return NativeEditor(model, clip, self._vae, self.family, self._sampling), report

    def denoiser_inputs(self, prepared: Prepared, instruction: str) -> dict[str, Any]:
        """Return what ComfyUI's model is called with in an edit of the first image, besides latents and their noise
        level, as samplers make it from a conditioning: {parameter: value}. Models distilled with guidance get none (a
        scale of 1)."""
        source = prepared.encoded[0]
        text = self._conditioning(source, instruction, source.values)
        conditioning = comfy_extra("flux").FluxGuidance.execute(text, 1.0)[0]
        conds = {"positive": comfy_module("comfy.sampler_helpers").convert_cond(conditioning)}
        process = comfy_module("comfy.samplers").process_conds
        [processed] = process(self._model.model, self._empty_latents(source), conds, self.device)["positive"]
        found = {name: value.process_cond(batch_size=1, area=None) for name, value in processed["model_conds"].items()}
        return {name: value.cond for name, value in found.items()}

    def with_area(self, area: int) -> "NativeEditor":
        """See `protocol.InspectableEditor`."""
        check_area(area, self.family.multiple)
        sampling = replace(self._sampling, area=area)
        view = NativeEditor(self._model, self._clip, self._vae, self.family, sampling)
        view.name = self.name  # it includes the names of its LoRAs
        return view

    def edit_model(self) -> "EditModel":
        """This editor as training sees it."""
        from .training import NativeEditModel

        return NativeEditModel(self)

    def _encode(self, batch: Tensor, references: Sequence[Tensor]) -> list[Source]:
        return run_with_oom_guard(lambda: self._encode_images(batch, references), _release_nothing, self, _LESS_MEMORY)

    def _encode_images(self, batch: Tensor, references: Sequence[Tensor]) -> list[Source]:
        once = SimpleNamespace(
            encode=cache(self._vae.encode)
        )  # tensors are cached by identity: each reference is encoded once
        plan = self._plan(batch)
        others = [fit(reference, self._plan(reference)) for reference in references]
        sources = []
        for image in batch:
            images = (fit(image[None], plan), *others)
            latents, values = self.family.encode_images(once, images)
            texts = {} if self.family.text_sees_images else self._texts
            sources.append(Source(images, plan, latents, values, texts))
        return sources

    def _plan(self, image: Tensor) -> Fit:
        return plan_fit(*image.shape[1:3], area=self.area, multiple=self.family.multiple)

    def _sample(self, batch: EditBatch) -> Tensor:
        """Edits [rows, h, w, 3] at the working size. All texts are encoded, then all rows sampled, then all decoded, so
        that each of the three models is moved to where it computes only once."""
        sources = [batch.prepared.encoded[batch.image_of(row)] for row in range(len(batch.seeds))]
        guiders = [self._guider(*row, batch.settings) for row in zip(sources, batch.instructions, batch.seeds)]
        previews = _PreviewGrid(sources, self._model)
        latents = []
        for row, (source, guider) in enumerate(zip(sources, guiders)):
            callback = None if batch.on_step is None else previews.callback(row, batch.on_step)
            editable = self._editable_latents(batch, row, source)
            latents.append(self._denoise(guider, source, batch.seeds[row], batch.settings, editable, callback))
        pixels = [self._vae.decode(each) for each in latents]
        return torch.cat([image.reshape(-1, *image.shape[-3:]).float().cpu() for image in pixels])

    def _editable_latents(self, batch: EditBatch, row: int, source: Source) -> Tensor | None:
        """[1, 1, h, w]: 1 where the latents of a row may differ from the source's; None: everywhere."""
        if batch.mask is None:
            return None
        height, width = source.latents.shape[-2:]
        return latent_edit_mask(batch.mask[batch.image_of(row)][None], source.plan, (height, width)).float()

    def _guider(self, source: Source, instruction: str, seed: int, settings: Settings) -> Any:
        conditionings = Conditionings(
            edit=self._conditioning(source, instruction, source.values),
            source_only=lambda: self._conditioning(source, settings.negative_prompt, source.values),
            nothing=lambda: self._conditioning(source, settings.negative_prompt, {}),
        )
        return self.family.make_guider(self._model, conditionings, *guidance_scales(settings, seed))

    def _denoise(
        self, guider: Any, source: Source, seed: int, settings: Settings, editable: Tensor | None, callback: Any
    ) -> Tensor:
        """The latents of one edit, from noise. editable: see `_editable_latents`."""
        name = self._sampler_name(settings.sampler)
        empty = self._empty_latents(source)
        latents = guider.sample(
            comfy_module("comfy.sample").prepare_noise(empty, seed),
            empty if editable is None else source.latents,
            comfy_module("comfy.samplers").sampler_object(name),
            self._schedule()(self._model, name, settings.steps, source.plan.padded),
            denoise_mask=editable,
            callback=callback,
            disable_pbar=not comfy_module("comfy.utils").PROGRESS_BAR_ENABLED,
            seed=seed,
        )
        return latents.to(comfy_module("comfy.model_management").intermediate_device())

    def _empty_latents(self, source: Source) -> Tensor:
        return comfy_module("comfy.sample").fix_empty_latent_channels(self._model, torch.zeros_like(source.latents))

    def _conditioning(self, source: Source, text: str, values: dict[str, Any]) -> list:
        """The text's conditioning with `values` added; the text is encoded once for all that the encoder sees with it."""
        if text not in source.texts:
            conditioning = self.family.encode_text(self._clip, text, source.images)
            check_width(conditioning, self._model, self.family)
            source.texts[text] = conditioning
            for old in list(source.texts)[:-_MAX_TEXTS]:
                del source.texts[old]
        return comfy_module("node_helpers").conditioning_set_values(source.texts[text], values)

    def _sampler_name(self, name: str) -> str:
        """The sampling node's choice comes before this editor's own, and that before the family's."""
        known = comfy_module("comfy.samplers").SAMPLER_NAMES
        name = next(n for n in (name, self._sampling.sampler, self.family.sampler) if n != DEFAULT)
        name = _SAMPLERS.get(name, name)
        if name not in known:
            raise RethinkError(f"sampler: ComfyUI has no “{name}”; choose one of {', '.join(known)}.")
        return name

    def _schedule(self) -> Callable:
        scheduler = self._sampling.scheduler
        return self.family.schedule if scheduler == DEFAULT else named_schedule(scheduler)


def _release_nothing() -> None:
    """Do nothing: ComfyUI's guider frees what a run took."""


class _PreviewGrid:
    """The previews of all rows side by side. Rows that have not started show their source."""

    def __init__(self, sources: list[Source], model: Any):
        self._sources = sources
        self._model = model
        self._to_rgb: dict[Source, Callable[[Tensor], Tensor]] = {}
        self._latest: dict[int, Tensor] = {}

    def callback(self, row: int, on_step: OnStep) -> Callable[[int, Tensor, Tensor, int], None]:
        rows = len(self._sources)

        def after_step(index: int, clean: Tensor, noisy: Tensor, steps: int) -> None:
            self._latest[row] = clean
            on_step(row * steps + min(index + 1, steps), rows * steps, self._preview)

        return after_step

    def _preview(self) -> Tensor:
        return torch.cat([self._row(row, source) for row, source in enumerate(self._sources)])

    def _row(self, row: int, source: Source) -> Tensor:
        from ...rethink.editors.sampling import latents_to_rgb

        latents = _flat(self._model.model.process_latent_in(source.latents.float().cpu()))
        if source not in self._to_rgb:
            self._to_rgb[source] = latents_to_rgb(latents, source.images[0].cpu())
        preview = self._to_rgb[source](_flat(self._latest[row]) if row in self._latest else latents)
        height, width = (
            -(-scaled * side // padded)
            for scaled, side, padded in zip(source.plan.scaled, latents.shape[-2:], source.plan.padded)
        )
        return preview[:, :height, :width]


def _flat(latents: Tensor) -> Tensor:
    """Latents [1, c, h, w], or of one frame [1, c, 1, h, w], as [1, c, h, w]."""
    return latents[:, :, 0] if latents.ndim == 5 else latents


class EditorFromModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        samplers, schedulers = _names()
        return io.Schema(
            node_id="RethinkEditorFromModel",
            display_name="Editor From Model",
            category="Rethink/Edit",
            description="Makes an editor from ComfyUI's own MODEL, CLIP and VAE, with any patches on them.",
            search_aliases=[
                "kontext",
                "qwen image edit",
                "omnigen2",
                "flux2",
                "longcat",
                "cosxl",
                "gguf",
                "native editor",
                "kontext edit",
                "image edit",
            ],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="From Load Checkpoint, Load Diffusion Model or a GGUF loader: "
                    + ", ".join(family.title for family in NATIVE_FAMILIES)
                    + ". Patches on it (sampling shift, LoRAs, attention) are kept.",
                ),
                io.Clip.Input("clip", tooltip="The model's own text encoder, from Load CLIP or the checkpoint."),
                io.Vae.Input("vae", tooltip="The model's own VAE, from Load VAE or the checkpoint."),
                io.Combo.Input(
                    "sampler",
                    options=[DEFAULT, *samplers],
                    default=DEFAULT,
                    tooltip="The sampler, unless the sampling node chooses one. default: the usual one for this model.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=[DEFAULT, *schedulers],
                    default=DEFAULT,
                    tooltip="The noise schedule. default: the usual one for this model.",
                ),
                io.Float.Input(
                    "megapixels",
                    default=0.0,
                    min=0.0,
                    max=16.0,
                    step=0.05,
                    round=0.001,
                    tooltip="The size at which the model works; the result has the source's size. 0: the size that "
                    "the model was made for. Lower it to save time and memory.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "kind",
                    options=[AUTO, *(family.title for family in NATIVE_FAMILIES)],
                    default=AUTO,
                    tooltip="auto: detected from the model. Choose manually for Qwen-Image-Edit (the first one), "
                    "whose weights look like those of Plus (2509), and for Plus 2511, whose images drift under auto.",
                    advanced=True,
                ),
            ],
            outputs=[sockets.Editor.Output("editor", tooltip="For the editing nodes.")],
        )

    @classmethod
    def execute(
        cls, model: Any, clip: Any, vae: Any, sampler: str, scheduler: str, megapixels: float, kind: str
    ) -> io.NodeOutput:
        comfy_module("comfy.sample")
        family = detect(model, clip, vae, kind)
        sampling = Sampling(sampler, scheduler, round(megapixels * 2**20))
        return io.NodeOutput(NativeEditor(family.patch_model(model), clip, vae, family, sampling))


def _names() -> tuple[list[str], list[str]]:
    """ComfyUI's samplers and schedulers, including those of other packs."""
    try:
        samplers = comfy_module("comfy.samplers")
    except RethinkError:  # not in ComfyUI
        return [], []
    return samplers.SAMPLER_NAMES, samplers.SCHEDULER_NAMES
