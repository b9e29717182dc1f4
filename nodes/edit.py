"""The nodes that edit: load an editor, sample with it, chain edits, and a sample picture to try them on."""

from collections.abc import Sequence
from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..rethink.editors.protocol import OnStep, Settings
from ..rethink.editors.quantization import QUANTIZERS
from ..rethink.editors.used import summarize, used_settings
from ..rethink.errors import RethinkError
from ..rethink.images import as_edit_mask, as_image, selects_anything
from ..rethink.tiny import LEVELS, render, sample_task
from . import feedback, sockets
from .comfy import memory, model_folders, progress
from .inputs import MAX_SEED, broadcast, masks_for, seed_input, settings_inputs, single_values, validate_with

MAX_VARIATIONS = 64


class LoadEditor(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkLoadEditor",
            display_name="Load Editor",
            category="Rethink/Edit",
            description="Loads a model that edits pictures by instruction, from ComfyUI's model folders.",
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
                    tooltip="The built-in editor (a small one, for the pictures of Built-in Scene), a diffusers folder "
                    "of models/diffusers, or a .safetensors file of models/checkpoints. Stable Diffusion and FLUX "
                    "models that were not made for editing work too, by SDEdit.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=["auto", "fp32", "fp16", "bf16"],
                    default="auto",
                    tooltip="Number format of the weights. auto takes what this machine computes best.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "offload",
                    options=list(memory.OFFLOADS),
                    default="none",
                    tooltip="none: ComfyUI moves the whole model in and out like its own. model: only the part that "
                    "works is in video memory. sequential: only the layer that works is; slow, needs the least.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "quantize",
                    optional=True,
                    options=list(QUANTIZERS),
                    default="none",
                    tooltip="Brings the large parts to 8 or 4 bits while loading, so that they fit a smaller card; the "
                    "package in brackets must be installed. The help page has a table.",
                    advanced=True,
                ),
            ],
            outputs=[sockets.Editor.Output("editor_out", display_name="editor", tooltip="For the editing nodes.")],
        )

    @classmethod
    def validate_inputs(cls, editor: str | None = None) -> str | bool:
        return validate_with(model_folders.editor_path, editor)

    @classmethod
    def fingerprint_inputs(cls, editor: str, **_) -> Any:
        return model_folders.files_fingerprint(model_folders.editor_path(editor))  # a replaced file is loaded anew

    @classmethod
    def execute(cls, editor: str, dtype: str, offload: str, quantize: str = "none") -> io.NodeOutput:
        return io.NodeOutput(memory.load_editor(editor, dtype, offload, quantize))


class SampleEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkSampleEdit",
            display_name="Instruction Editor Sampler",
            category="Rethink/Edit",
            description="Edits a picture as an instruction says. Lists of pictures or instructions make lists.",
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
                io.Image.Input("image", tooltip="What to edit: a picture, a batch, or a list."),
                io.String.Input(
                    "instruction",
                    multiline=True,
                    placeholder="make it snow",
                    default="",
                    tooltip="What to change, as you would tell a person. A list of instructions edits the same picture "
                    "in as many ways, all as one batch.",
                ),
                seed_input("The same seed gives the same edit. Another seed gives another one."),
                io.Int.Input(
                    "variations",
                    optional=True,
                    default=1,
                    min=1,
                    max=MAX_VARIATIONS,
                    tooltip="How many edits of each picture, with the seeds seed, seed + 1, … Stable Diffusion makes "
                    "them as one batch; lower this if memory runs out.",
                ),
                *settings_inputs(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the picture may change. Everything outside stays exactly as it is.",
                ),
                io.Image.Input(
                    "references",
                    optional=True,
                    tooltip="Further pictures for the instruction to speak of, a batch or a list, for editors that take "
                    "several: Qwen-Image-Edit-Plus, FLUX.2, JoyImage-Edit-Plus; with Editor From Model also FLUX.1 Kontext "
                    "and OmniGen2.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "edited",
                    display_name="image",
                    is_output_list=True,
                    tooltip="The edits at the size of the source: by picture, then by seed. Lists make a list.",
                )
            ],
        )

    @classmethod
    def execute(
        cls, editor, image, instruction, seed, variations=(1,), mask=(None,), references=(), **settings
    ) -> io.NodeOutput:
        editor, seed, variations, settings = _single(editor=editor, seed=seed, variations=variations, **settings)
        images = [as_image(picture) for picture in image]
        runs = _runs(images, instruction, list(mask))
        seeds = _seeds(seed, variations)
        others = [one for batch in references for one in as_image(batch, "references").split(1)]
        edited = []
        for index, (picture, instructions, area) in enumerate(runs):
            on_step = progress.edit_progress(index, len(runs))
            edited += _edit(editor, picture, instructions, seeds, settings, area, on_step, others)
        used = used_settings(editor, settings)
        feedback.annotate_images(cls.hidden, used | {"instructions": list(instruction), "seeds": seeds})
        strange = next(
            filter(None, (feedback.warn_if_unfamiliar("editor", editor.name, picture) for picture in images)), ""
        )
        return io.NodeOutput(edited, ui=feedback.show_text(strange, summarize(used)))


class EditChain(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkEditChain",
            display_name="Edit Chain",
            category="Rethink/Edit",
            description="Edits a picture again and again: every instruction changes what the one before it made.",
            search_aliases=["edit sequence", "several edits", "composed edits", "multi turn edit"],
            is_output_node=True,
            hidden=feedback.METADATA_INPUTS,
            inputs=[
                sockets.Editor.Input("editor", tooltip="From Load Editor or Editor From Model."),
                io.Image.Input("image", tooltip="The picture, or batch of pictures, to start from."),
                io.String.Input(
                    "instructions",
                    multiline=True,
                    placeholder="make it snow\nadd a red scarf",
                    default="",
                    tooltip="One instruction a line. Empty lines are skipped.",
                ),
                seed_input("Instruction number i (from 0) uses seed + i."),
                *settings_inputs(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the picture may change, for all instructions. Everything outside stays as it is.",
                ),
            ],
            outputs=[
                io.Image.Output("image_out", display_name="image", tooltip="The picture after the last instruction."),
                io.Image.Output("steps_out", display_name="steps", tooltip="The source and every step, as one batch."),
            ],
        )

    @classmethod
    def execute(cls, editor, image, instructions: str, seed: int, mask=None, **settings) -> io.NodeOutput:
        lines = [line.strip() for line in instructions.splitlines() if line.strip()]
        if not lines:
            raise RethinkError("instructions: is empty; write one instruction a line, for example “make it snow”.")
        settings = Settings(**settings)
        steps = [as_image(image)]
        area = as_edit_mask(mask, steps[0])
        for index, line in enumerate(lines):
            on_step = progress.edit_progress(index, len(lines), previews=False)
            steps += _edit(editor, steps[-1], [line], _seeds(seed + index, 1), settings, area, on_step)
        shown, used = torch.cat(steps), used_settings(editor, settings)
        seeds = [_seeds(seed + index, 1)[0] for index in range(len(lines))]
        feedback.annotate_images(cls.hidden, used | {"instructions": lines, "seeds": seeds})
        said = feedback.show_text(feedback.warn_if_unfamiliar("editor", editor.name, steps[0]), summarize(used))
        return io.NodeOutput(steps[-1], shown, ui=ui.PreviewImage(shown, cls=cls).as_dict() | said)


class Scene(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkScene",
            display_name="Built-in Scene",
            category="Rethink/Examples",
            description="A picture of the built-in world and an instruction that fits it: something to edit at once.",
            search_aliases=["sample image", "example", "demo", "test picture"],
            inputs=[
                seed_input("Another seed gives another picture and instruction."),
                io.Combo.Input(
                    "level",
                    options=list(LEVELS),
                    default=LEVELS[0],
                    tooltip="How the instruction is worded: plain, in unusual words, or so that one has to look and "
                    "think first (“make the smallest shape the colour of the largest”).",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The picture, 128 by 128 pixels."),
                io.String.Output("instruction", tooltip="What to change in it."),
            ],
        )

    @classmethod
    def execute(cls, seed: int, level: str) -> io.NodeOutput:
        task = sample_task(seed, level)
        return io.NodeOutput(render([task.source]), task.instruction)


def _single(*, editor, seed, variations, **settings) -> tuple[Any, int, int, Settings]:
    """What came in as lists of one, unpacked: (editor, seed, variations, settings)."""
    inputs = {"editor": editor, "seed": seed, "variations": variations, **settings}
    values = single_values(inputs, "only image, instruction and mask may")
    return values.pop("editor"), values.pop("seed"), values.pop("variations"), Settings(**values)


def _runs(images: list[Tensor], instructions: list[str], masks: list) -> list[tuple[Tensor, list[str], Tensor | None]]:
    """What is edited together: (picture, its instructions, its mask). One picture takes all instructions at once."""
    for name, values in (("image", images), ("instruction", instructions)):
        if not values:
            raise RethinkError(f"{name}: is an empty list; check the node that made it.")
    count = len(images)
    if len(instructions) not in (1, count) and count != 1:
        raise RethinkError(
            f"instruction: a list of {count} pictures needs 1 or {count} instructions, got {len(instructions)}."
        )
    if len(masks) not in (1, count):
        raise RethinkError(f"mask: a list of {count} picture(s) needs 1 or {count} masks, got {len(masks)}.")
    shared = [instructions] if count == 1 else [[text] for text in broadcast(instructions, count)]
    return list(zip(images, shared, masks_for(images, masks)))


def _seeds(seed: int, variations: int) -> list[int]:
    if not 1 <= variations <= MAX_VARIATIONS:  # the widget's limits do not hold for what comes by a link
        raise RethinkError(f"variations: expected 1 to {MAX_VARIATIONS}, got {variations}.")
    return [(seed + offset) % (MAX_SEED + 1) for offset in range(variations)]


def _edit(
    editor,
    image: Tensor,
    instructions: Sequence[str],
    seeds: list[int],
    settings: Settings,
    mask: Tensor | None,
    on_step: OnStep,
    references: Sequence[Tensor] = (),
) -> list[Tensor]:
    """All instructions and seeds on one batch of pictures at once → one batch an instruction, by picture, then seed."""
    if mask is not None and not selects_anything(mask):
        return [image.repeat_interleave(len(seeds), 0)] * len(instructions)
    texts = [text for text in instructions for _ in seeds] * len(image)
    seeds_of_rows = seeds * (len(instructions) * len(image))
    with memory.editor_on_device(editor, image, len(texts)):
        prepared = editor.prepare(image, references)
        rows = editor.edit(prepared, texts, seeds_of_rows, settings, mask=mask, on_step=on_step)
    by_instruction = rows.unflatten(0, (len(image), len(instructions), len(seeds))).transpose(0, 1)
    return [batch.flatten(0, 1) for batch in by_instruction]
