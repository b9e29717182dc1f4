"""An editor as training sees it: pairs in its latents, and its denoiser's predictions for them.

The denoiser's inputs come from the sampling code itself, so that training matches sampling in size, padding, template and token
positions. A pair's target is encoded as if it were a source; the same code brings its latents into the form of a result's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..editors.protocol import InspectableEditor, Prepared
from ..editors.samplers import Schedule
from ..errors import RethinkError
from .example import TEXT, TEXT_MASK, Example, choose_rows, map_tensors
from .full_precision import can_be_raised, in_full_precision
from .lora_families import TrainedFamily, trained_family
from .lora_pairs import as_large_as
from .noising import FEW_STEPS, DiffusionNoise, Noise
from .text_learning import TextLearning
from .trainable_lora import ALL_LAYERS, target_layers
from .weight_fingerprints import fingerprint_weights


class EditModel:
    """An editor's denoiser with everything that training needs; this class is for editors run by diffusers.

    Raises RethinkError for an editor that cannot be trained: one of another family, or one that does not expose its denoiser.
    """

    _area = 0  # pixels per training image; 0: the editor's own size
    _zeros_for_empty = False  # whether the diffusers pipeline uses zeros for an empty instruction
    text: TextLearning | None = None  # if the text encoder learns too
    # what to change when memory runs out
    memory_advice = "load the editor quantized (nf4, then int8), or with offload model; megapixels (0.5, then 0.25)"

    def __init__(self, editor: Any):
        self.row: TrainedFamily = trained_family(editor.family.id, editor.family.title)
        if not hasattr(editor, "denoiser_inputs"):
            raise RethinkError(f"editor: {editor.name} cannot be trained yet; load it from a diffusers folder.")
        self.editor = cast(InspectableEditor, editor)
        self.lora_targets: tuple[str, ...] = editor.family.lora_targets
        self.denoiser: Any = editor.module[self.editor.denoiser_name]
        self._raised = self.denoiser.dtype == torch.float16  # where gradients vanish
        if self._raised and not can_be_raised(self.denoiser):
            raise RethinkError(
                f"editor: {editor.name} is in fp16, where gradients vanish; choose bf16 or fp32 as the dtype of Load Editor, or with "
                "--dtype."
            )
        self._main = "sample" if self.row.layout == "channels" else "hidden_states"
        with editor.pipeline() as pipeline:
            _refuse_special(editor, pipeline)
            self.noise: Noise = self.row.noise or self._diffusion(pipeline.scheduler)
            self._scaling = 1.0 if self.row.layout == "tokens" else pipeline.vae.config.scaling_factor
            self._zeros_for_empty = bool(getattr(pipeline.config, "force_zeros_for_empty_prompt", False))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the denoiser computes in and files are written in."""
        return torch.float32 if self._raised else self.denoiser.dtype

    @property
    def identity(self) -> str:
        """A string that is the same for models that training gives the same LoRA, whatever the device and offload."""
        return f"{self.editor.name} {fingerprint_weights(self.denoiser)} {self.encoders}"

    @property
    def encoders(self) -> str:
        """A digest that is the same for editors that encode alike: of the family, the working size, the weights of every part except
        the denoiser, and LoRAs."""
        null = " zeros" if self.drops and self._zeros_for_empty else ""
        null += " tokens" if self.text else ""
        size = getattr(self.denoiser.config, "sample_size", "")  # which determines the working size
        loras = getattr(self.editor, "lora_files", ())
        over = f" {self.editor.name} {loras}" if loras else ""  # the name includes the strengths
        over += f" area {self._area}" if self._area else ""
        over += f" encoding {self.row.encoding}" if self.row.encoding > 1 else ""
        digest = hashlib.blake2b(f"{self.editor.family.id} {self.drops}{null} {size!r}{over}".encode(), digest_size=16)
        for name, part in cast(nn.ModuleDict, self.editor.module).items():
            if name != self.editor.denoiser_name:
                digest.update(f"{name} {fingerprint_weights(part)}".encode())
        return digest.hexdigest()

    def work_at(self, area: int) -> None:
        """Encode and train at about `area` pixels per image from now on. Raises RethinkError for too few."""
        self.editor, self._area = self.editor.with_area(area), area

    def learn_text(self) -> None:
        """Train the text encoder too from now on. Raises RethinkError for an editor whose text encoder cannot be trained."""
        if not self.row.text_encoder or not hasattr(self.editor, "embed_texts"):
            raise RethinkError(
                f"text_encoder: that of {self.editor.name} cannot be trained; leave it off, or choose an InstructPix2Pix editor from "
                "a diffusers folder."
            )
        with self.editor.pipeline() as pipeline:
            self.text = TextLearning(pipeline)

    def layers(self, choice: str, rank: int) -> dict[str, nn.Module]:
        """The layers that learn, by their names in files: in the denoiser those of the "family", "all" that are at least as large as
        the rank, or "none"; in a text encoder that learns, all.

        Raises RethinkError for a rank that is larger than one of the family's layers, or than every layer.
        """
        learning = self.text.layers(rank) if self.text else {}
        if choice == "none":
            return learning
        found = target_layers(self.denoiser, self.lora_targets if choice == "family" else ALL_LAYERS, rank)
        return {name: layer for name, layer in found.items() if not name.startswith(self.row.nameless)} | learning

    def layers_too_small(self, choice: str, rank: int) -> list[str]:
        """The layers of `choice` that do not learn because they are smaller than the rank."""
        learning = self.layers(choice, rank)
        return [name for name in self.layers(choice, 1) if name not in learning]

    @contextmanager
    def computing(self, rows: int, references: int = 0) -> Iterator[None]:
        """Within this context, the denoiser computes as in edits, with room for `rows` with `references` each, and gradients flow."""
        parts = [self.denoiser, *([self.text.encoder] if self.text else [])]
        with ExitStack() as stack:
            stack.enter_context(self.editor.pipeline())
            for part in parts if self._raised else ():
                stack.enter_context(in_full_precision(part))
            yield

    @property
    def drops(self) -> bool:
        """Whether some samples lose their text or source: this only needs training if the editor uses it for guidance."""
        guided = self.editor.defaults.text_guidance > 1 or self.editor.defaults.image_guidance > 1
        return guided and bool(self.row.drop_text or self.row.drop_image)

    @torch.no_grad()
    def encode(
        self, source: Tensor, target: Tensor, instruction: str, references: Sequence[Tensor] = (), prompt: str = ""
    ) -> Example:
        """Encode a pair of IMAGEs [1, H, W, 3], with references of any size, to a batch of one on the CPU. prompt: the prompt that made
        the target, if known, for a text encoder that learns. Raises RethinkError if source and target differ in aspect ratio, and
        for more references than the family takes."""
        target = as_large_as(source, target)
        prepared = self.editor.prepare(source, references)
        latents, inputs = self._inputs(prepared, instruction)
        null = self._null(prepared) if self.drops else {}
        if self.text:
            inputs, null = self.text.inputs(instruction, prompt), self.text.inputs("") if self.drops else {}
        clean = self._clean(self.editor.prepare(target), instruction)
        here, *others = self._sources(latents, clean.shape[1], bool(references))
        if clean.shape != here.shape:
            raise RethinkError(f"the target's latents are {list(clean.shape)}, but the input's are {list(here.shape)}.")
        example = Example(clean, here, inputs, null, tuple(others))
        return Example(
            *(map_tensors(value, lambda tensor: tensor.detach().cpu().clone()) for value in vars(example).values())
        )

    def predict(self, noisy: Tensor, times: Tensor, example: Example) -> Tensor:
        """The denoiser's prediction for noisy latents [B, …] at timesteps [B], in float32."""
        dtype = self.denoiser.dtype
        joined = torch.cat([each.to(dtype) for each in (noisy, example.source, *example.references)], 1)
        inputs = {**self.encoded(example.inputs, noisy), self._main: joined, "timestep": times.to(noisy.device)}
        output = self.denoiser(**inputs, return_dict=False)[0]
        return (output if self.row.layout == "channels" else output[:, : noisy.shape[1]]).float()

    def encoded(self, inputs: dict[str, Any], latents: Tensor) -> dict[str, Any]:
        """The inputs of an example, with hidden states instead of tokens for the text if the text encoder learns."""
        return self.text.encoded(inputs, latents) if self.text else inputs

    def drop_conditions(self, example: Example, generator: torch.Generator) -> Example:
        """A batch with the text, the source or both dropped from some rows, by one draw per row.

        InstructPix2Pix, section 3.2.1. Text is dropped from individual rows if the empty text is as long.
        """
        if not self.drops:
            return example
        draw = torch.rand(len(example.target), generator=generator)
        text, image = self.row.drop_text, self.row.drop_image
        lost_text = (draw < text) | ((draw >= text + image) & (draw < text + 2 * image))
        lost_image = (draw >= text) & (draw < text + 2 * image)
        return self._without(example, lost_text, lost_image)

    @contextmanager
    def less_memory(self) -> Iterator[None]:
        """Within this context, activations are recomputed in the backward pass instead of kept (gradient checkpointing, arXiv
        1604.06174), if the denoiser supports it: slower, in less memory."""
        if not getattr(self.denoiser, "_supports_gradient_checkpointing", False):
            yield
            return
        self.denoiser.enable_gradient_checkpointing()
        try:
            yield
        finally:
            self.denoiser.disable_gradient_checkpointing()

    def denoiser_alone(self) -> AbstractContextManager[None]:
        """Within this context, the encoders, which are no longer needed, leave the GPU to the denoiser."""
        learning = (self.denoiser, self.text and self.text.encoder)
        return self._in_main_memory([part for part in self.editor.module.children() if part not in learning])

    def waiting(self) -> AbstractContextManager[None]:
        """Within this context, the GPU is left to another model."""
        return self._in_main_memory(list(self.editor.module.children()))

    def release(self) -> None:
        """Move an offloaded editor off the GPU, where the part that ran last would stay until another one runs."""
        with self.editor.pipeline() as pipeline:
            pipeline.maybe_free_model_hooks()

    @contextmanager
    def _in_main_memory(self, parts: Sequence[nn.Module]) -> Iterator[None]:
        device = self.editor.device
        moved = [part for part in parts if device.type != "cpu" and _is_movable(part, device)]
        for part in moved:
            part.to("cpu")
        try:
            yield
        finally:
            for part in moved:
                part.to(device)

    def _without(self, example: Example, lost_text: Tensor, lost_image: Tensor) -> Example:
        """A batch with text or source dropped from rows, as guidance drops them. lost_text, lost_image: bool [B]."""
        keep = (~lost_image).to(example.source).view(-1, *(1,) * (example.source.ndim - 1))
        inputs = choose_rows(lost_text, example.null, example.inputs)
        references = tuple(each * keep for each in example.references)
        return replace(example, source=example.source * keep, inputs=inputs, references=references)

    def _diffusion(self, scheduler: Any) -> DiffusionNoise:
        steps = self.editor.defaults.steps
        visited = Schedule("default", scheduler, steps).timesteps.tolist() if steps <= FEW_STEPS else ()
        return DiffusionNoise.of(scheduler, [round(time) for time in visited])

    def _sources(self, latents: Any, places: int, has_references: bool) -> tuple[Tensor, ...]:
        """(the source's latents, those of all references as one) from the latents [1, n, …] of `_inputs`: first come `places` for the
        result, then as many for the source, then the references'."""
        sources = latents[:, places:]
        return (sources[:, :places], sources[:, places:]) if has_references else (sources,)

    def _inputs(self, prepared: Prepared, instruction: str) -> tuple[Any, dict[str, Any]]:
        """(the denoiser's latents: noise, then those of every image it sees; its other inputs)."""
        inputs = self.editor.denoiser_inputs(prepared, instruction)
        others = {name: value for name, value in inputs.items() if name not in (self._main, "timestep")}
        if TEXT_MASK in others and others[TEXT_MASK] is None:
            others[TEXT_MASK] = torch.ones(others[TEXT].shape[:2], dtype=torch.bool, device=others[TEXT].device)
        return inputs[self._main], {name: value for name, value in others.items() if value is not None}

    def _null(self, prepared: Prepared) -> dict[str, Any]:
        """The other inputs where guidance drops the text: those of the empty instruction, or zeros if the pipeline uses those
        instead."""
        inputs = self._inputs(prepared, "")[1]
        if not self._zeros_for_empty:
            return inputs
        added = inputs.get("added_cond_kwargs", {})
        pooled = {"text_embeds": torch.zeros_like(added["text_embeds"])} if "text_embeds" in added else {}
        return {**inputs, TEXT: torch.zeros_like(inputs[TEXT]), "added_cond_kwargs": added | pooled}

    def _clean(self, prepared: Prepared, instruction: str) -> Tensor:
        """The latents of a target that was prepared as if it were a source, in the form of a result's."""
        latents = self.editor.denoiser_inputs(prepared, instruction)[self._main]
        return latents[:, latents.shape[1] // 2 :].float() * self._scaling  # the other half is noise


def open_edit_model(editor: Any) -> EditModel:
    """An editor as training sees it; editors that are not run by diffusers provide this themselves."""
    return editor.edit_model() if hasattr(editor, "edit_model") else EditModel(editor)


def _refuse_special(editor: Any, pipeline: Any) -> None:
    """Raise RethinkError for a member of a family that cannot be trained like the others."""
    if getattr(pipeline, "is_cosxl_edit", False):
        raise RethinkError("editor: there is no trainer for CosXL-Edit yet; choose another InstructPix2Pix.")
    if pipeline.config.get("is_distilled", False):  # training it would make it forget how to edit in few steps
        raise RethinkError(
            f"editor: {editor.name} is distilled, and a LoRA is trained on the base model; load the base of "
            f"{editor.family.title}. The LoRA works with the distilled model too, which can make the previews "
            "(preview_editor)."
        )


def _is_movable(part: nn.Module, device: torch.device) -> bool:
    """Whether a part is entirely on the device, and nothing else moves it."""
    first = next(part.parameters(), None)
    hooked = hasattr(part, "_hf_hook") or getattr(part, "is_quantized", False)
    return first is not None and first.device == device and not hooked
