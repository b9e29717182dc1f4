"""How editors trade off following the instruction against keeping the image."""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from comfy_api.latest import io
from torch import Tensor

from ..rethink.benchmarking.trade_off import CurveItem, TradeOffJob
from ..rethink.editors.protocol import Editor
from ..rethink.errors import RethinkError
from ..rethink.images import as_image
from ..rethink.pairs.models import ModelSource, model_id
from ..rethink.pairs.pixels import from_pixels
from . import feedback, sockets
from .comfy import folders, memory, model_folders, progress
from .datasets import clip_source
from .inputs import broadcast, field_input, single_values, validate_with

MORE = ("editor_2", "editor_3", "editor_4")
LISTS = ("image", "instruction", "source_caption", "edited_caption")


class TradeOffCurve(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkTradeOffCurve",
            display_name="Trade-Off Curve",
            category="Rethink/Evaluate",
            description="Plots how editors trade off following the instruction against keeping the image, as in the "
            "InstructPix2Pix paper.",
            search_aliases=[
                "instructpix2pix curve",
                "compare editors",
                "image guidance",
                "guidance scale",
                "clip direction",
                "sdedit",
                "evaluate",
                "plot",
            ],
            is_output_node=True,
            is_input_list=True,
            inputs=[
                sockets.Editor.Input("editor", tooltip="From Load Editor, Editor From Model or Edit LoRA Loader."),
                io.Image.Input(
                    "image", tooltip="The source images, as a list. Use at least 40 for a meaningful result."
                ),
                io.String.Input(
                    "instruction", multiline=True, default="", tooltip="What to change, one instruction per image."
                ),
                io.String.Input("source_caption", default="", tooltip="What each image shows, in a sentence."),
                io.String.Input(
                    "edited_caption", default="", tooltip="What each edit should show, in a sentence like the source's."
                ),
                io.Combo.Input(
                    "clip",
                    options=model_folders.clip_names(),
                    default=model_folders.BUILT_IN,
                    tooltip="Measures both similarities: a transformers folder of a CLIPModel in models/clip_vision. "
                    "The built-in CLIP is only for the built-in scenes.",
                ),
                *(field_input(TradeOffJob, name, optional=True) for name in ("image_guidance", "text_guidance")),
                field_input(TradeOffJob, "steps", optional=True),
                field_input(TradeOffJob, "seed", optional=True, control_after_generate="fixed"),
                field_input(TradeOffJob, "strength", optional=True),
                *(
                    sockets.Editor.Input(name, optional=True, tooltip="Another editor, with a curve of its own.")
                    for name in MORE
                ),
            ],
            outputs=[
                io.Image.Output("plot", tooltip="The plot. Higher and farther to the right is better."),
                io.String.Output("report", tooltip="Every point with its 95% intervals."),
                io.String.Output("json", tooltip="The same for programs."),
                io.String.Output(
                    "page", tooltip="The path of everything as a single web page, in ComfyUI's output folder."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, clip: str | list[str] | None = None) -> str | bool:
        return validate_with(model_folders.clip_path, clip[0] if isinstance(clip, list) else clip)

    @classmethod
    def execute(
        cls,
        editor: list[Editor],
        image: list[Tensor],
        instruction: list[str],
        source_caption: list[str],
        edited_caption: list[str],
        **others: Sequence[Any],
    ) -> io.NodeOutput:
        from ..rethink.benchmarking.trade_off_plot import draw_plot, write_results

        lists = {"instruction": instruction, "source_caption": source_caption, "edited_caption": edited_caption}
        one = single_values(
            {"editor": editor, **others},
            f"only {', '.join(LISTS)} may be lists; additional editors have their own inputs",
        )
        job = TradeOffJob(**{field.name: one[field.name] for field in fields(TradeOffJob) if field.name in one})
        editors = [found for name in ("editor", *MORE) if (found := one.get(name)) is not None]
        found = job.run(
            [_source(each) for each in editors],
            _items(image, lists),
            clip_source(one["clip"]),
            progress=progress.job_progress(),
            on_step=lambda *_: progress.stop_if_cancelled(),
        )
        page = write_results(found, folders.next_output_folder("rethink/curve"))
        plot, report = from_pixels(np.asarray(draw_plot(found))), str(found)
        return io.NodeOutput(plot, report, json.dumps(found.as_dict()), str(page), ui=feedback.show_text(report))


def _source(editor: Editor) -> ModelSource[Editor]:
    return ModelSource(model_id(editor.name), lambda: memory.ManagedEditor(editor))


def _items(images: list[Tensor], texts: dict[str, list[str]]) -> list[CurveItem]:
    """One item per image; a single text is used for all."""
    sources = [image for batch in images for image in as_image(batch).split(1)]
    for name, values in texts.items():
        if len(values) not in (1, len(sources)):
            raise RethinkError(f"{name}: expected one for each image ({len(sources)}), got {len(values)}.")
        if not all(value.strip() for value in values):
            raise RethinkError(f"{name}: is empty; CLIP compares the change of the images with that of the captions.")
    columns = (broadcast(values, len(sources)) for values in texts.values())
    return [CurveItem(lambda source=source: source, *row) for source, *row in zip(sources, *columns)]
