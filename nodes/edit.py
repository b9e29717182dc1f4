"""The nodes that edit: load an editor, sample with it, chain edits, and a sample image to try them on."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..rethink.edit_job import EditJob
from ..rethink.editors.protocol import Editor, OnStep
from ..rethink.editors.quantization import QuantizerName
from ..rethink.editors.settings import LoadSettings, Offload, Settings, summarize_settings, used_settings
from ..rethink.errors import RethinkError
from ..rethink.images import as_edit_mask, as_image
from ..rethink.options import Dtype
from ..rethink.tiny import LEVELS, render, sample_task
from . import feedback, sockets
from .comfy import memory, model_folders, progress
from .inputs import (
    MAX_SEED,
    broadcast,
    field_input,
    masks_for,
    seed_input,
    settings_inputs,
    single_values,
    validate_with,
)


class LoadEditor(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkLoadEditor",
            display_name="Load Editor",
            category="Rethink/Edit",
            description="Loads a model that edits images by instruction, from ComfyUI's model folders.",
            search_aliases=[
                "instructpix2pix",
                "ip2p",
                "pix2pix",
                "sdedit",
                "diffusers",
                "load edit model",
                "kontext",
                "qwen image edit",
                "flux 2",
                "klein",
                "longcat",
                "joyimage",
                "cosxl",
                "kontext edit",
                "image edit",
            ],
            inputs=[
                io.Combo.Input(
                    "editor",
                    options=model_folders.editor_names(),
                    default=model_folders.BUILT_IN,
                    tooltip="The built-in editor (a small one, for the images of Built-in Scene), a diffusers folder "
                    "in models/diffusers, or a .safetensors file in models/checkpoints. Stable Diffusion and FLUX "
                    "models not made for editing also work, by SDEdit.",
                ),
                field_input(LoadSettings, "dtype"),
                field_input(
                    LoadSettings,
                    "offload",
                    tooltip="none: ComfyUI loads and unloads the whole model like its own. model: only the part that "
                    "is computing is in video memory. sequential: only the layer that is computing; slow, but needs "
                    "the least memory.",
                ),
                field_input(LoadSettings, "quantize", optional=True),
            ],
            outputs=[sockets.Editor.Output("editor_out", display_name="editor", tooltip="For the editing nodes.")],
        )

    @classmethod
    def validate_inputs(cls, editor: str | None = None) -> str | bool:
        return validate_with(model_folders.editor_path, editor)

    @classmethod
    def fingerprint_inputs(cls, editor: str, **_: Any) -> Any:
        return model_folders.files_fingerprint(model_folders.editor_path(editor))  # a replaced file is loaded again

    @classmethod
    def execute(cls, editor: str, dtype: Dtype, offload: Offload, quantize: QuantizerName = "none") -> io.NodeOutput:
        return io.NodeOutput(memory.load_editor(editor, dtype, offload, quantize))


class SampleEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkSampleEdit",
            display_name="Instruction Editor Sampler",
            category="Rethink/Edit",
            description="Edits an image by instruction. Lists of images or instructions give lists.",
            search_aliases=[
                "edit image",
                "image edit",
                "kontext edit",
                "instruct",
                "instructpix2pix",
                "edit by text",
                "variations",
                "image edit sampler",
                "inpaint by instruction",
            ],
            is_input_list=True,
            has_intermediate_output=True,
            hidden=feedback.METADATA_INPUTS,
            inputs=[
                sockets.Editor.Input("editor", tooltip="From Load Editor or Editor From Model."),
                io.Image.Input("image", tooltip="What to edit: an image, a batch, or a list."),
                io.String.Input(
                    "instruction",
                    multiline=True,
                    placeholder="make it snow",
                    default="",
                    tooltip="What to change, as you would tell a person. A list of instructions edits the same image "
                    "once for each, all in one batch.",
                ),
                seed_input("The same seed gives the same edit, a different seed a different one."),
                field_input(EditJob, "variations", optional=True),
                *settings_inputs(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the image may change. Everything outside stays exactly as it is.",
                ),
                io.Image.Input(
                    "references",
                    optional=True,
                    tooltip="Additional images that the instruction can refer to, a batch or a list, for editors "
                    "that take several: Qwen-Image-Edit-Plus, FLUX.2, JoyImage-Edit-Plus; with Editor From Model "
                    "also FLUX.1 Kontext and OmniGen2.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "edited",
                    display_name="image",
                    is_output_list=True,
                    tooltip="The edits at the size of the source, ordered by image, then by seed. Lists give a list.",
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        editor: list[Editor],
        image: list[Tensor],
        instruction: list[str],
        seed: list[int],
        variations: Sequence[int] = (1,),
        mask: Sequence[Tensor | None] = (None,),
        references: Sequence[Tensor] = (),
        **settings: list,
    ) -> io.NodeOutput:
        model, first_seed, count, chosen = _single(editor=editor, seed=seed, variations=variations, **settings)
        images = [as_image(batch) for batch in image]
        runs = _runs(images, instruction, list(mask))
        others = [one for batch in references for one in as_image(batch, "references").split(1)]
        edited, seeds = [], []
        for index, (source, instructions, area) in enumerate(runs):
            job = EditJob(tuple(instructions), first_seed, count, settings=chosen)
            on_edit = partial(_progress_of, index, len(runs))
            edited += job.run(memory.ManagedEditor(model), source, on_edit, mask=area, references=others)
            seeds = job.seeds()
        used = used_settings(model, chosen)
        note = {"editor": model.name, **used, "instructions": list(instruction), "seeds": seeds}
        feedback.annotate_images(cls.hidden, note)
        warnings = (feedback.warn_if_unfamiliar("editor", model.name, batch) for batch in images)
        warning = next(filter(None, warnings), "")
        return io.NodeOutput(edited, ui=feedback.show_text(warning, summarize_settings(used)))


class EditChain(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkEditChain",
            display_name="Edit Chain",
            category="Rethink/Edit",
            description="Applies several edits in a row: every instruction edits the result of the one before it.",
            search_aliases=["edit sequence", "several edits", "composed edits", "multi turn edit"],
            is_output_node=True,
            hidden=feedback.METADATA_INPUTS,
            inputs=[
                sockets.Editor.Input("editor", tooltip="From Load Editor or Editor From Model."),
                io.Image.Input("image", tooltip="The image, or batch of images, to start from."),
                io.String.Input(
                    "instructions",
                    multiline=True,
                    placeholder="make it snow\nadd a red scarf",
                    default="",
                    tooltip="One instruction per line. Empty lines are skipped.",
                ),
                seed_input("Instruction number i (from 0) uses seed + i."),
                *settings_inputs(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the image may change, for all instructions. Everything outside stays as it is.",
                ),
            ],
            outputs=[
                io.Image.Output("image_out", display_name="image", tooltip="The image after the last instruction."),
                io.Image.Output("steps_out", display_name="steps", tooltip="The source and every step, as one batch."),
            ],
        )

    @classmethod
    def execute(
        cls, editor: Editor, image: Tensor, instructions: str, seed: int, mask: Tensor | None = None, **settings: Any
    ) -> io.NodeOutput:
        lines = [line.strip() for line in instructions.splitlines() if line.strip()]
        if not lines:
            raise RethinkError("instructions: is empty; write one instruction per line, for example “make it snow”.")
        chosen = Settings.from_inputs(settings)
        source = as_image(image)
        job = EditJob(tuple(lines), seed, chain=True, settings=chosen)
        on_edit = partial(progress.edit_progress, previews=False)
        steps = [source, *job.run(memory.ManagedEditor(editor), source, on_edit, mask=as_edit_mask(mask, source))]
        shown, used = torch.cat(steps), used_settings(editor, chosen)
        seeds = [job.seeds(number)[0] for number in range(len(lines))]
        feedback.annotate_images(cls.hidden, {"editor": editor.name, **used, "instructions": lines, "seeds": seeds})
        text = feedback.show_text(
            feedback.warn_if_unfamiliar("editor", editor.name, steps[0]), summarize_settings(used)
        )
        return io.NodeOutput(steps[-1], shown, ui=ui.PreviewImage(shown, cls=cls).as_dict() | text)


class Scene(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkScene",
            display_name="Built-in Scene",
            category="Rethink/Examples",
            description="Makes an image of the built-in world and an instruction that fits it: something to edit "
            "right away.",
            search_aliases=["sample image", "example", "demo", "test picture"],
            inputs=[
                seed_input("A different seed gives a different image and instruction."),
                io.Combo.Input(
                    "level",
                    options=list(LEVELS),
                    default=LEVELS[0],
                    tooltip="How the instruction is worded: plainly, in unusual words, or so that it takes looking "
                    "and thinking first (“make the smallest shape the color of the largest”).",
                ),
                io.Int.Input(
                    "count",
                    optional=True,
                    default=1,
                    min=1,
                    max=1000,
                    tooltip="How many to make, as a list, from this seed and the ones after it.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output("image", is_output_list=True, tooltip="The image, 128 by 128 pixels."),
                io.String.Output("instruction", is_output_list=True, tooltip="What to change in it."),
                io.String.Output("source_caption", is_output_list=True, tooltip="What the image shows, in a sentence."),
                io.String.Output("edited_caption", is_output_list=True, tooltip="What it should show after the edit."),
            ],
        )

    @classmethod
    def execute(cls, seed: int, level: str, count: int = 1) -> io.NodeOutput:
        tasks = [sample_task((seed + number) % (MAX_SEED + 1), level) for number in range(count)]
        captions = [[scene.caption for scene in scenes] for scenes in zip(*((t.source, t.target) for t in tasks))]
        return io.NodeOutput([render([task.source]) for task in tasks], [task.instruction for task in tasks], *captions)


def _progress_of(index: int, count: int, *_: int) -> OnStep:
    """The progress of one run of several, each of which is one batch."""
    return progress.edit_progress(index, count)


def _single(**inputs: Sequence) -> tuple[Any, int, int, Settings]:
    """(editor, seed, variations, settings) from lists of one."""
    values = single_values(inputs, "only image, instruction, mask and references may be lists")
    return values.pop("editor"), values.pop("seed"), values.pop("variations"), Settings.from_inputs(values)


def _runs(images: list[Tensor], instructions: list[str], masks: list) -> list[tuple[Tensor, list[str], Tensor | None]]:
    """What is edited together: (image, its instructions, its mask). One image takes all instructions at once."""
    for name, values in (("image", images), ("instruction", instructions)):
        if not values:
            raise RethinkError(f"{name}: is an empty list; check the node that made it.")
    count = len(images)
    if len(instructions) not in (1, count) and count != 1:
        raise RethinkError(
            f"instruction: a list of {count} images needs 1 or {count} instructions, got {len(instructions)}."
        )
    if len(masks) not in (1, count):
        raise RethinkError(f"mask: a list of {count} image(s) needs 1 or {count} masks, got {len(masks)}.")
    shared = [instructions] if count == 1 else [[text] for text in broadcast(instructions, count)]
    return list(zip(images, shared, masks_for(images, masks)))
