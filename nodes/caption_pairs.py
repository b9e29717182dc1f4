"""Pairs from captions, as InstructPix2Pix made its own: captions become edits, and edits become two matching images."""

from typing import Any

import torch
from comfy_api.latest import io

from ..rethink.editors.protocol import Editor
from ..rethink.errors import RethinkError
from ..rethink.options import option_of
from ..rethink.pairs.from_captions.caption_edits import CaptionEdit
from ..rethink.pairs.from_captions.caption_job import CaptionJob
from ..rethink.pairs.from_captions.job import PromptToPromptJob
from ..rethink.pairs.from_captions.prompt_to_prompt import P2PConfig, read_weights
from ..rethink.pairs.from_captions.selection import Selection
from ..rethink.pairs.from_captions.text_to_image import sample_side
from ..rethink.pairs.models import ModelSource, model_id
from ..rethink.thinkers.critique import Thinker
from . import feedback, sockets
from .comfy import folders, memory, model_folders
from .comfy.progress import job_progress
from .datasets import clip_source
from .inputs import field_input, range_inputs, single_value, validate_with
from .thinker import chat_session

RECORDS, FINE_TUNING = "edits.jsonl", "fine-tuning.jsonl"
METHODS = {"self-attention": "self", "replace": "replace", "refine": "refine"}
DEFAULTS = {
    "steps": P2PConfig.steps,
    "sampler": P2PConfig.sampler,
    "lowest_sharing": P2PConfig.threshold[0],
    "highest_sharing": P2PConfig.threshold[1],
    "lowest_guidance": P2PConfig.guidance[0],
    "highest_guidance": P2PConfig.guidance[1],
    "image": Selection.image,
    "caption_fit": Selection.caption,
    "direction": Selection.direction,
    "drop_early": True,
}


class CaptionToEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkCaptionToEdit",
            display_name="Caption To Edit",
            category="Rethink/Teach",
            description="Has a thinker invent an edit for every caption: an instruction and the caption after the "
            "edit.",
            search_aliases=[
                "instructpix2pix",
                "generate instructions",
                "triples",
                "caption to instruction",
                "training pairs",
            ],
            has_intermediate_output=True,
            inputs=[
                sockets.Thinker.Input("thinker", tooltip="Writes the edits. It does not need to see images."),
                io.String.Input(
                    "captions",
                    multiline=True,
                    default="",
                    placeholder="photograph of a girl riding a horse",
                    tooltip="One caption per line.",
                ),
                io.String.Input(
                    "dataset",
                    default="caption-edits",
                    tooltip="Name of the folder, within ComfyUI's datasets folder, that stores the edits. Captions "
                    "already in it are skipped, so a stopped run resumes.",
                ),
                field_input(CaptionJob, "seed", control_after_generate="fixed"),
                io.String.Input(
                    "examples",
                    optional=True,
                    multiline=True,
                    default="",
                    placeholder="a quiet street | make it snow | a quiet street in the snow",
                    tooltip="Your own examples in place of the built-in ones, one per line: caption | instruction | "
                    "edited caption. They are also written to a file for fine-tuning a language model.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.String.Output("caption", is_output_list=True, tooltip="The captions that got an edit."),
                io.String.Output(
                    "instruction", is_output_list=True, tooltip="The instruction of each edit, in the imperative."
                ),
                io.String.Output("edited_caption", is_output_list=True, tooltip="Each caption after its edit."),
                io.String.Output("report", tooltip="How many edits were written, and why others were rejected."),
            ],
        )

    @classmethod
    def execute(cls, thinker: Thinker, captions: str, dataset: str, seed: int, examples: str = "") -> io.NodeOutput:
        folder = folders.dataset_path(dataset, "dataset")
        lines = list(dict.fromkeys(line.strip() for line in captions.splitlines() if line.strip()))
        with chat_session(thinker) as source:
            assert source is not None, "the thinker is a required input"
            job = CaptionJob(lines, folder / RECORDS, source, tuple(_examples(examples)), seed, folder / FINE_TUNING)
            report = job.run(job_progress())
        edits = report.edits()
        if not edits:
            raise RethinkError(f"captions: none of them got an edit. {report}")
        columns = ([getattr(edit, name) for edit in edits] for name in ("input", "edit", "output"))
        return io.NodeOutput(*columns, str(report), ui=feedback.show_text(str(report)))


class PromptToPromptPairs(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        weights = io.String.Input(
            "weights",
            optional=True,
            default="",
            placeholder="snowy: 1.5, street: 0.8",
            tooltip="Words of the edited caption to weight up or down, with their factors.",
            advanced=True,
        )
        return io.Schema(
            node_id="RethinkPromptToPromptPairs",
            display_name="Prompt-To-Prompt Pairs",
            category="Rethink/Teach",
            description="Generates pairs of images from pairs of captions, identical except for the edit, and keeps "
            "the best.",
            search_aliases=[
                "prompt2prompt",
                "p2p",
                "instructpix2pix",
                "paired images",
                "attention sharing",
                "training pairs",
            ],
            is_input_list=True,
            has_intermediate_output=True,
            inputs=[
                sockets.Editor.Input(
                    "editor",
                    tooltip="From Load Editor: a text-to-image Stable Diffusion or Stable Diffusion XL model, with "
                    "or without LoRAs.",
                ),
                _line("caption", "a quiet street", "What the first image shows; the input of the pair."),
                _line("instruction", "make it snow", "The edit in the imperative."),
                _line("edited_caption", "a quiet street in the snow", "What the second image shows; the target."),
                io.DynamicCombo.Input(
                    "method",
                    options=[
                        io.DynamicCombo.Option("self-attention", []),
                        io.DynamicCombo.Option("replace", [weights]),
                        io.DynamicCombo.Option("refine", [weights]),
                    ],
                    tooltip=option_of(P2PConfig, "method").help,
                ),
                io.Combo.Input(
                    "clip",
                    options=model_folders.clip_names(),
                    default=model_folders.BUILT_IN,
                    tooltip="Selects the best candidates: a transformers folder of a CLIPModel in "
                    "models/clip_vision. The built-in CLIP is only for the built-in scenes.",
                ),
                *(field_input(Selection, name) for name in ("candidates", "best", "batch")),
                io.String.Input(
                    "dataset",
                    default="prompt-pairs",
                    tooltip="Name of the folder, within ComfyUI's datasets folder, that the pairs are added to. "
                    "Captions already processed are skipped, so a stopped run resumes.",
                ),
                field_input(PromptToPromptJob, "seed", control_after_generate="fixed"),
                *(field_input(P2PConfig, name, optional=True) for name in ("steps", "sampler")),
                *_lowest_and_highest("threshold", "sharing"),
                *_lowest_and_highest("guidance", "guidance"),
                field_input(Selection, "image", optional=True),
                field_input(Selection, "caption", "caption_fit", optional=True),
                field_input(Selection, "direction", optional=True),
                io.Boolean.Input(
                    "drop_early",
                    optional=True,
                    default=True,
                    tooltip="Preview every candidate in ten steps first, and generate only the promising ones. The "
                    "report estimates how many good candidates that lost.",
                    advanced=True,
                ),
            ],
            outputs=[
                sockets.Pairs.Output("pairs", tooltip="The best candidates of every pair of captions."),
                io.String.Output("report", tooltip="How many candidates were generated, dropped early, and kept."),
            ],
        )

    @classmethod
    def validate_inputs(cls, clip: str | list[str] | None = None, *, method: Any = None) -> str | bool:
        """ComfyUI passes every choice, declared or not, and keeps checking a keyword-only one itself."""
        return validate_with(model_folders.clip_path, clip[0] if isinstance(clip, list) else clip)

    @classmethod
    def execute(
        cls,
        editor: list[Editor],
        caption: list[str],
        instruction: list[str],
        edited_caption: list[str],
        method: dict[str, list],
        **inputs: list,
    ) -> io.NodeOutput:
        edits, model = _zip_edits(caption, instruction, edited_caption), single_value("editor", editor)
        values = DEFAULTS | {name: single_value(name, value) for name, value in inputs.items()}
        config = P2PConfig(
            METHODS[single_value("method", method["method"])],
            values["steps"],
            values["sampler"],
            (values["lowest_sharing"], values["highest_sharing"]),
            (values["lowest_guidance"], values["highest_guidance"]),
            read_weights(single_value("weights", method.get("weights") or [""])),
        )
        chosen = {name: values[name] for name in ("candidates", "batch", "best", "image", "direction")}
        looks = Selection.looks if values["drop_early"] else ()
        selection = Selection(**chosen, caption=values["caption_fit"], looks=looks)
        job = PromptToPromptJob(
            tuple(edits),
            folders.dataset_path(values["dataset"], "dataset"),
            ModelSource(model_id(model.name), lambda: model),
            clip_source(values["clip"]),
            config,
            selection,
            values["seed"],
        )
        side = sample_side(model)
        with memory.editor_on_device(model, torch.empty(1, side, side, 3), 2 * selection.batch):
            report = job.run(job_progress())
        if not report.pairs.subset:
            raise RethinkError(f"candidates: none was kept; lower the thresholds, or generate more. {report}")
        return io.NodeOutput(report.pairs, str(report), ui=feedback.show_text(str(report)))


def _lowest_and_highest(field: str, what: str) -> list[io.Input]:
    return range_inputs(P2PConfig, field, (f"lowest_{what}", f"highest_{what}"), (f"lowest {what}", f"highest {what}"))


def _zip_edits(captions: list[str], instructions: list[str], edited: list[str]) -> list[CaptionEdit]:
    lists = {"caption": captions, "instruction": instructions, "edited_caption": edited}
    for name, values in lists.items():
        if len(values) != len(captions):
            raise RethinkError(f"{name}: expected one for each caption ({len(captions)}), got {len(values)}.")
        if not all(text.strip() for text in values):
            raise RethinkError(f"{name}: is empty.")
    return [CaptionEdit(*(text.strip() for text in texts)) for texts in zip(captions, instructions, edited)]


def _examples(text: str) -> list[CaptionEdit]:
    examples = []
    for line in filter(str.strip, text.splitlines()):
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 3 or not all(parts):
            raise RethinkError(
                f"examples: expected “caption | instruction | edited caption” in each line, got “{line.strip()}”."
            )
        examples.append(CaptionEdit(*parts))
    return examples


def _line(name: str, placeholder: str, tooltip: str) -> io.Input:
    return io.String.Input(
        name, multiline=True, default="", placeholder=placeholder, tooltip=f"{tooltip} Lists are combined item by item."
    )
