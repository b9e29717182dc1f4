"""An editor as training sees it: a pair in its latents, and its denoiser's answer to them.

What its denoiser is called with comes from the sampling code itself, so that what is trained is what is sampled: size,
padding, template, the places of tokens. A pair's target is encoded as if it were a source, whose latents the same code brings
into the form of the result's.
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
    """The denoiser of an editor with all that training needs of it; here, of one that diffusers runs.

    Raises RethinkError for an editor of which there is none: another family, or one that does not show its denoiser.
    """

    _area = 0  # pixels of an image to work on; 0: the editor's own
    _zeros_for_empty = False  # whether zeros take the place of an empty instruction, in a pipeline of diffusers
    text: TextLearning | None = None  # where the text encoder learns too
    # where memory runs out
    memory_advice = "load the editor quantized (nf4, then int8), or with offload model; megapixels (0.5, then 0.25)"

    def __init__(self, editor: Any):
        self.row: TrainedFamily = trained_family(editor.family.id, editor.family.title)
        if not hasattr(editor, "denoiser_inputs"):
            raise RethinkError(f"editor: {editor.name} cannot be trained yet; load it from a diffusers folder.")
        self.editor = cast(InspectableEditor, editor)
        self.lora_targets: tuple[str, ...] = editor.family.lora_targets
        self.denoiser: Any = editor.module[self.editor.denoiser_name]
        self._raised = self.denoiser.dtype == torch.float16  # in which gradients vanish
        if self._raised and not can_be_raised(self.denoiser):
            raise RethinkError(
                f"editor: {editor.name} is in fp16, in which gradients vanish; choose bf16 or fp32 as the dtype of Load Editor, or "
                "with --dtype."
            )
        self._main = "sample" if self.row.layout == "channels" else "hidden_states"
        with editor.pipeline() as pipeline:
            _refuse_special(editor, pipeline)
            self.noise: Noise = self.row.noise or self._diffusion(pipeline.scheduler)
            self._scaling = 1.0 if self.row.layout == "tokens" else pipeline.vae.config.scaling_factor
            self._zeros_for_empty = bool(getattr(pipeline.config, "force_zeros_for_empty_prompt", False))

    @property
    def dtype(self) -> torch.dtype:
        """In which the denoiser computes, and files are written."""
        return torch.float32 if self._raised else self.denoiser.dtype

    @property
    def identity(self) -> str:
        """The same for models that training leads to the same LoRA, on whatever device and with whatever offload."""
        return f"{self.editor.name} {fingerprint_weights(self.denoiser)} {self.encoders}"

    @property
    def encoders(self) -> str:
        """The same for editors that encode alike: their family, the size they work at, the weights of every part beside the
        denoiser, and LoRAs."""
        null = " zeros" if self.drops and self._zeros_for_empty else ""
        null += " tokens" if self.text else ""
        size = getattr(self.denoiser.config, "sample_size", "")  # of which the working size follows
        loras = getattr(self.editor, "lora_files", ())
        over = f" {self.editor.name} {loras}" if loras else ""  # the name has the strengths
        over += f" area {self._area}" if self._area else ""
        over += f" encoding {self.row.encoding}" if self.row.encoding > 1 else ""
        digest = hashlib.blake2b(f"{self.editor.family.id} {self.drops}{null} {size!r}{over}".encode(), digest_size=16)
        for name, part in cast(nn.ModuleDict, self.editor.module).items():
            if name != self.editor.denoiser_name:
                digest.update(f"{name} {fingerprint_weights(part)}".encode())
        return digest.hexdigest()

    def work_at(self, area: int) -> None:
        """Encode and train at about so many pixels an image from now on. Raises RethinkError for too few."""
        self.editor, self._area = self.editor.with_area(area), area

    def learn_text(self) -> None:
        """The text encoder learns too from now on. Raises RethinkError for an editor whose text encoder cannot."""
        if not self.row.text_encoder or not hasattr(self.editor, "embed_texts"):
            raise RethinkError(
                f"text_encoder: that of {self.editor.name} does not learn; leave it off, or choose an InstructPix2Pix from a "
                "diffusers folder."
            )
        with self.editor.pipeline() as pipeline:
            self.text = TextLearning(pipeline)

    def layers(self, choice: str, rank: int) -> dict[str, nn.Module]:
        """The layers that learn, by the names that files call them: of the denoiser those of the "family", "all" that are as large as
        the rank, or "none"; of a text encoder that learns, all.

        Raises RethinkError for a rank that is larger than one of the family's, or than all.
        """
        learning = self.text.layers(rank) if self.text else {}
        if choice == "none":
            return learning
        found = target_layers(self.denoiser, self.lora_targets if choice == "family" else ALL_LAYERS, rank)
        return {name: layer for name, layer in found.items() if not name.startswith(self.row.nameless)} | learning

    def layers_too_small(self, choice: str, rank: int) -> list[str]:
        """Those of the layers of `choice` that do not learn, as they are smaller than the rank."""
        learning = self.layers(choice, rank)
        return [name for name in self.layers(choice, 1) if name not in learning]

    @contextmanager
    def computing(self, rows: int, references: int = 0) -> Iterator[None]:
        """Within it the denoiser computes as it does in edits, with room for `rows` of so many references, and gradients flow."""
        parts = [self.denoiser, *([self.text.encoder] if self.text else [])]
        with ExitStack() as stack:
            stack.enter_context(self.editor.pipeline())
            for part in parts if self._raised else ():
                stack.enter_context(in_full_precision(part))
            yield

    @property
    def drops(self) -> bool:
        """Whether samples lose their text or source now and then: only what the editor compares with is worth training."""
        guided = self.editor.defaults.text_guidance > 1 or self.editor.defaults.image_guidance > 1
        return guided and bool(self.row.drop_text or self.row.drop_image)

    @torch.no_grad()
    def encode(
        self, source: Tensor, target: Tensor, instruction: str, references: Sequence[Tensor] = (), prompt: str = ""
    ) -> Example:
        """A pair of IMAGEs [1, H, W, 3], with references of any sizes, as a batch of one, on the CPU. prompt: the words that have made
        the target, where they are known, for a text encoder that learns. Raises RethinkError where source and target differ in
        shape, and for more references than the family takes."""
        target = as_large_as(source, target)
        prepared = self.editor.prepare(source, references)
        latents, inputs = self._inputs(prepared, instruction)
        null = self._null(prepared) if self.drops else {}
        if self.text:
            inputs, null = self.text.inputs(instruction, prompt), self.text.inputs("") if self.drops else {}
        clean = self._clean(self.editor.prepare(target), instruction)
        here, *others = self._sources(latents, clean.shape[1], bool(references))
        if clean.shape != here.shape:
            raise RethinkError(f"the target comes out at {list(clean.shape)}, the input at {list(here.shape)}.")
        example = Example(clean, here, inputs, null, tuple(others))
        return Example(
            *(map_tensors(value, lambda tensor: tensor.detach().cpu().clone()) for value in vars(example).values())
        )

    def predict(self, noisy: Tensor, times: Tensor, example: Example) -> Tensor:
        """What the denoiser says of noisy latents [B, …] at times [B], in float32."""
        dtype = self.denoiser.dtype
        joined = torch.cat([each.to(dtype) for each in (noisy, example.source, *example.references)], 1)
        inputs = {**self.encoded(example.inputs, noisy), self._main: joined, "timestep": times.to(noisy.device)}
        output = self.denoiser(**inputs, return_dict=False)[0]
        return (output if self.row.layout == "channels" else output[:, : noisy.shape[1]]).float()

    def encoded(self, inputs: dict[str, Any], latents: Tensor) -> dict[str, Any]:
        """The inputs of an example with the text's states in place of its tokens, where the text encoder learns."""
        return self.text.encoded(inputs, latents) if self.text else inputs

    def drop_conditions(self, example: Example, generator: torch.Generator) -> Example:
        """A batch of which some rows have lost their text, their source or both; one draw a row decides.

        InstructPix2Pix, section 3.2.1. The rows of a batch lose their text one by one, where the empty one is as long.
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
        """Within it activations are computed again on the way back instead of kept (arXiv 1604.06174), where the denoiser can:
        slower, in less memory."""
        if not getattr(self.denoiser, "_supports_gradient_checkpointing", False):
            yield
            return
        self.denoiser.enable_gradient_checkpointing()
        try:
            yield
        finally:
            self.denoiser.disable_gradient_checkpointing()

    def denoiser_alone(self) -> AbstractContextManager[None]:
        """Within it the encoders, whose work is done, leave the card to the denoiser."""
        learning = (self.denoiser, self.text and self.text.encoder)
        return self._in_main_memory([part for part in self.editor.module.children() if part not in learning])

    def waiting(self) -> AbstractContextManager[None]:
        """Within it the card is left to another model."""
        return self._in_main_memory(list(self.editor.module.children()))

    def release(self) -> None:
        """Have an offloaded editor leave the card, where what has computed last stays until something else computes."""
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
        """A batch whose rows have lost their text or source, as guidance leaves them away; bool [B] each."""
        keep = (~lost_image).to(example.source).view(-1, *(1,) * (example.source.ndim - 1))
        inputs = choose_rows(lost_text, example.null, example.inputs)
        references = tuple(each * keep for each in example.references)
        return replace(example, source=example.source * keep, inputs=inputs, references=references)

    def _diffusion(self, scheduler: Any) -> DiffusionNoise:
        steps = self.editor.defaults.steps
        visited = Schedule("default", scheduler, steps).timesteps.tolist() if steps <= FEW_STEPS else ()
        return DiffusionNoise.of(scheduler, [round(time) for time in visited])

    def _sources(self, latents: Any, places: int, has_references: bool) -> tuple[Tensor, ...]:
        """(the source's, those of all references as one) of the latents [1, n, …] that `_inputs` gives: after the result's `places`
        come as many of the source, then the references'."""
        sources = latents[:, places:]
        return (sources[:, :places], sources[:, places:]) if has_references else (sources,)

    def _inputs(self, prepared: Prepared, instruction: str) -> tuple[Any, dict[str, Any]]:
        """(the denoiser's latents: noise, then those of all that it sees; what else it takes)."""
        inputs = self.editor.denoiser_inputs(prepared, instruction)
        others = {name: value for name, value in inputs.items() if name not in (self._main, "timestep")}
        if TEXT_MASK in others and others[TEXT_MASK] is None:
            others[TEXT_MASK] = torch.ones(others[TEXT].shape[:2], dtype=torch.bool, device=others[TEXT].device)
        return inputs[self._main], {name: value for name, value in others.items() if value is not None}

    def _null(self, prepared: Prepared) -> dict[str, Any]:
        """What else it takes where guidance leaves the text away: that of the empty instruction, or zeros where the pipeline puts
        those in its place."""
        inputs = self._inputs(prepared, "")[1]
        if not self._zeros_for_empty:
            return inputs
        added = inputs.get("added_cond_kwargs", {})
        pooled = {"text_embeds": torch.zeros_like(added["text_embeds"])} if "text_embeds" in added else {}
        return {**inputs, TEXT: torch.zeros_like(inputs[TEXT]), "added_cond_kwargs": added | pooled}

    def _clean(self, prepared: Prepared, instruction: str) -> Tensor:
        """Latents of a target, which was prepared as if it were a source, in the form of the result's."""
        latents = self.editor.denoiser_inputs(prepared, instruction)[self._main]
        return latents[:, latents.shape[1] // 2 :].float() * self._scaling  # the other half is noise


def open_edit_model(editor: Any) -> EditModel:
    """An editor as training sees it: as it says itself, where it is not run by diffusers."""
    return editor.edit_model() if hasattr(editor, "edit_model") else EditModel(editor)


def _refuse_special(editor: Any, pipeline: Any) -> None:
    """Raise RethinkError for a member of a family that is not trained as the others are."""
    if getattr(pipeline, "is_cosxl_edit", False):
        raise RethinkError("editor: there is no trainer for CosXL-Edit yet; choose another InstructPix2Pix.")
    if pipeline.config.get("is_distilled", False):  # trained itself, it forgets how to do with few steps
        raise RethinkError(
            f"editor: {editor.name} is distilled, and a LoRA is trained on the base model; load the base of "
            f"{editor.family.title}. What is learned on it is used with the distilled one too, which can make "
            "the previews (preview_editor)."
        )


def _is_movable(part: nn.Module, device: torch.device) -> bool:
    """Whether it lies on the device as a whole, and nothing else moves it."""
    first = next(part.parameters(), None)
    hooked = hasattr(part, "_hf_hook") or getattr(part, "is_quantized", False)
    return first is not None and first.device == device and not hooked
