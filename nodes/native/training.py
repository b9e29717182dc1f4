"""ComfyUI's own models as training sees them: a pair in their latents, and the denoiser's prediction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...rethink.editors.protocol import Prepared
from ...rethink.errors import RethinkError
from ...rethink.training.edit_model import EditModel
from ...rethink.training.example import Example
from ...rethink.training.lora_families import TrainedFamily, trained_family
from ...rethink.training.noising import DiffusionNoise, FlowNoise, Noise
from ...rethink.training.trainable_parts import make_trainable
from ..comfy.modules import comfy_module
from .families import NativeFamily
from .gradients import checkpointed_blocks, gradients_through, without_fast_attention

PASSES = 4  # times the memory that ComfyUI estimates for sampling, for what is kept for the backward pass
_REFERENCES = "ref_latents"  # ComfyUI's name for latents of further images among a denoiser's inputs

# How files name the layers if ComfyUI's own names are not those of diffusers.
_NAMES = {"flux_kontext": "kohya", "longcat_image_edit": "kohya", "flux2": "comfyui", "flux2_klein": "comfyui"}
_OMNIGEN2 = TrainedFamily(
    "tokens", FlowNoise(), "comfyui", "omnigen2", "omnigen2/lora", drop_text=0.05, drop_image=0.05
)


class NativeEditModel(EditModel):
    """See `EditModel`. Latents and conditions are those that ComfyUI's samplers give the model."""

    memory_advice = "megapixels (0.5, then 0.25), or load smaller weights"

    def __init__(self, editor: Any):
        self.editor = editor
        self.row = _row(editor.family)
        self.lora_targets = editor.family.lora_targets
        model, self._clip, self._vae = editor.parts
        self._patcher = _in_a_format_to_train(model)
        self._base = model.model
        self.denoiser = self._base.diffusion_model
        self.noise = self._noise()

    @property
    def dtype(self) -> torch.dtype:
        return self._patcher.object_patches.get("manual_cast_dtype") or self._base.get_dtype_inference()

    @property
    def identity(self) -> str:
        return f"{self.editor.name} {_fingerprint(self._patcher)}"

    @property
    def encoders(self) -> str:
        parts = (self._clip.patcher, self._vae.patcher)
        encoding = f" encoding {self.row.encoding}" if self.row.encoding > 1 else ""
        return f"{self.editor.family.id} {self.drops} {self.editor.area} {' '.join(map(_fingerprint, parts))}{encoding}"

    def layers(self, choice: str, rank: int) -> dict[str, nn.Module]:
        found = super().layers(choice, rank)
        if self.row.layout != "channels":
            return found
        known = comfy_module("comfy.utils").unet_to_diffusers(self._base.model_config.unet_config)
        names = {own.removesuffix(".weight"): name.removesuffix(".weight") for name, own in known.items()}
        return {names.get(name, name): layer for name, layer in found.items()}

    def predict(self, noisy: Tensor, times: Tensor, example: Example) -> Tensor:
        """What the model itself predicts: ComfyUI gives samplers the clean latents, which it computes from that."""
        sampling = self._base.model_sampling
        sigmas = self._sigmas(times).to(noisy.device)
        if isinstance(self.noise, DiffusionNoise):  # ComfyUI's noisy latents are clean + σ · noise
            noisy = noisy * (1 + sigmas.view(-1, *(1,) * (noisy.ndim - 1)) ** 2).sqrt()
        options = {"optimized_attention_override": without_fast_attention}
        clean = self._base.apply_model(noisy, sigmas, transformer_options=options, **self._conditions(example))
        nothing, ones = torch.zeros_like(noisy), torch.ones_like(noisy)
        answer = clean - sampling.calculate_denoised(sigmas, nothing, noisy)
        return answer / sampling.calculate_denoised(sigmas, ones, nothing)

    @contextmanager
    def computing(self, rows: int, references: int = 0) -> Iterator[None]:
        """Have ComfyUI load the model, with room for `rows`; it may leave a part of the model offloaded."""
        places = self.editor.area // self._base.latent_format.spacial_downscale_ratio**2
        images = (2 + references) * rows  # with their sources
        room = self._base.memory_required([images, self._base.latent_format.latent_channels, places])
        comfy_module("comfy.model_management").load_models_gpu([self._patcher], memory_required=room * PASSES)
        make_trainable(self._base)  # what has been loaded just now
        with gradients_through(self.denoiser, self.dtype, self._patcher.load_device):
            yield

    def denoiser_alone(self) -> AbstractContextManager[None]:
        return nullcontext()  # ComfyUI makes room when it loads the model

    def waiting(self) -> AbstractContextManager[None]:
        return nullcontext()

    def release(self) -> None:
        """Do nothing: ComfyUI takes back the memory that it needs."""

    def less_memory(self) -> AbstractContextManager[None]:
        return checkpointed_blocks(self.denoiser)

    def _inputs(self, prepared: Prepared, instruction: str) -> tuple[list[Tensor], dict[str, Any]]:
        inputs = self.editor.denoiser_inputs(prepared, instruction)
        if self.row.layout == "channels":
            return [inputs.pop("c_concat")], inputs
        return inputs.pop(_REFERENCES), inputs

    def _sources(self, latents: list[Tensor], places: int, has_references: bool) -> tuple[Tensor, ...]:
        return tuple(latents)

    def _clean(self, prepared: Prepared, instruction: str) -> Tensor:
        return self._base.process_latent_in(prepared.encoded[0].latents.float())

    def _conditions(self, example: Example) -> dict[str, Any]:
        if self.row.layout == "channels":
            return {**example.inputs, "c_concat": example.source}
        seen = {_REFERENCES: [example.source, *example.references]} if len(example.source) else {}
        return {**example.inputs, **seen}

    def _without(self, example: Example, lost_text: Tensor, lost_image: Tensor) -> Example:
        if self.row.layout == "channels":
            return super()._without(example, lost_text, lost_image)
        # Rows with a shorter text, or without a source, would need another call: the first row's draw is the batch's.
        example = replace(example, inputs=example.null if lost_text[0] else example.inputs)
        return replace(example, source=example.source[:0], references=()) if lost_image[0] else example

    def _noise(self) -> Noise:
        samplings, sampling = comfy_module("comfy.model_sampling"), self._patcher.get_model_object("model_sampling")
        if isinstance(self.row.noise, FlowNoise):
            patch = self._base.model_config.unet_config.get("patch_size", 2)
            return replace(self.row.noise, places=patch**2)
        if not isinstance(sampling, samplings.ModelSamplingDiscrete):
            raise RethinkError("editor: there is no trainer for CosXL-Edit yet; choose another InstructPix2Pix.")
        prediction = "v_prediction" if isinstance(sampling, samplings.V_PREDICTION) else "epsilon"
        return DiffusionNoise(1 / (1 + sampling.sigmas.float().cpu() ** 2), prediction)

    def _sigmas(self, times: Tensor) -> Tensor:
        if isinstance(self.noise, FlowNoise):
            return times
        return self._base.model_sampling.sigmas[times.to(self._base.model_sampling.sigmas.device)]


def _row(family: NativeFamily) -> TrainedFamily:
    if family.id == "omnigen2":  # which diffusers does not have
        return _OMNIGEN2
    id = "qwen_image_edit_plus" if family.id == "qwen_image_edit_2511" else family.id
    row = trained_family(id, family.title)
    return replace(row, names=_NAMES.get(id, row.names), nameless=())


def _in_a_format_to_train(patcher: Any) -> Any:
    """Return the MODEL, computing in a format other than fp16, in which gradients vanish."""
    if patcher.model.get_dtype_inference() != torch.float16:
        return patcher
    patcher = patcher.clone()
    bf16 = comfy_module("comfy.model_management").should_use_bf16(patcher.load_device)
    patcher.set_model_compute_dtype(torch.bfloat16 if bf16 else torch.float32)
    return patcher


def _fingerprint(patcher: Any) -> str:
    """A digest that stays the same for the same weights with the same patches, also after a restart."""
    digest = hashlib.blake2b(digest_size=8)
    weights = list(patcher.model.named_parameters())
    for name, weight in weights[:: max(1, len(weights) // 16)]:
        backup = patcher.backup.get(name)
        _update(digest, weight if backup is None else backup.weight)
    for name in sorted(patcher.patches):
        digest.update(name.encode())
        _update(digest, patcher.patches[name])
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    """Add some numbers of every tensor in a weight or a patch to the digest, in whatever form ComfyUI keeps it."""
    if isinstance(value, Tensor):
        some = value.detach().flatten()[:32]
        digest.update(getattr(some, "dequantize", lambda: some)().float().cpu().numpy().tobytes())
    elif isinstance(value, (list, tuple)):
        for each in value:
            _update(digest, each)
    elif hasattr(value, "weights"):  # an adapter
        _update(digest, value.weights)
    elif isinstance(value, (str, int, float)):
        digest.update(repr(value).encode())
