"""Measure how good an edit is."""

import json
import math
from dataclasses import fields

from comfy_api.latest import io
from torch import Tensor

from ..rethink.evaluation.measures import (
    ARTIFACTS,
    DIRECTION,
    FOLLOWING,
    IMAGE_SIMILARITY,
    NATURALNESS,
    OVERALL,
    PSNR,
    RESTRAINT,
    SSIM,
    Measure,
)
from ..rethink.scoring.job import ScoreJob, ScoringModels
from ..rethink.scoring.record import EditScores
from ..rethink.thinkers.critique import Thinker
from . import feedback, sockets
from .comfy import folders, memory, model_folders, progress
from .datasets import clip_source
from .inputs import NONE, field_input, validate_with

NUMBERS = {
    "overall": OVERALL,
    "following": FOLLOWING,
    "over_editing": RESTRAINT,
    "naturalness": NATURALNESS,
    "artifacts": ARTIFACTS,
    "image_similarity": IMAGE_SIMILARITY,
    "direction": DIRECTION,
    "psnr_outside": PSNR,
    "ssim_outside": SSIM,
}
NAN = "Not a number (NaN) if it was not measured."


class ScoreEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkScoreEdit",
            display_name="Score Edit",
            category="Rethink/Evaluate",
            description="Measures how good an edit is: a judge's scores, CLIP similarities, and how well everything "
            "else was left alone.",
            search_aliases=[
                "evaluate edit",
                "viescore",
                "score",
                "metrics",
                "clip score",
                "clip direction",
                "ssim",
                "psnr",
                "lpips",
                "dino",
                "dreamsim",
                "editscore",
                "editreward",
                "reward model",
            ],
            is_output_node=True,
            inputs=[
                io.Image.Input("source", tooltip="The image before the edit."),
                io.Image.Input("edited", tooltip="The image after the edit, or a batch of edits of the same source."),
                io.String.Input(
                    "instruction", multiline=True, default="", tooltip="What was asked for. The edit is judged by it."
                ),
                field_input(ScoreJob, "passes", optional=True),
                field_input(ScoreJob, "seed", optional=True, control_after_generate="fixed"),
                io.Combo.Input(
                    "clip",
                    optional=True,
                    options=[NONE, *model_folders.clip_names()],
                    default=NONE,
                    tooltip="Compares images with each other and with captions: a transformers folder of a CLIPModel in "
                    "models/clip_vision. The built-in CLIP is only for the built-in scenes. none: skip this "
                    "measure.",
                ),
                *(
                    field_input(ScoreJob, name, optional=True)
                    for name in ("source_caption", "edited_caption", "further")
                ),
                sockets.Thinker.Input(
                    "judge",
                    optional=True,
                    tooltip="From Load Thinker: scores the edit. Without a judge, there are no such scores.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the image may change. Without a mask: wherever it visibly did.",
                ),
            ],
            outputs=[
                *(
                    io.Float.Output(name, is_output_list=True, tooltip=f"{measure.help} {NAN}")
                    for name, measure in NUMBERS.items()
                ),
                io.String.Output(
                    "report", is_output_list=True, tooltip="Everything as a table, and the judge's reasons."
                ),
                io.String.Output("json", is_output_list=True, tooltip="The same for programs; null: not measured."),
            ],
        )

    @classmethod
    def validate_inputs(cls, clip: str | None = None) -> str | bool:
        return clip == NONE or validate_with(model_folders.clip_path, clip)

    @classmethod
    def execute(
        cls,
        source: Tensor,
        edited: Tensor,
        instruction: str,
        clip: str = NONE,
        judge: Thinker | None = None,
        mask: Tensor | None = None,
        **options,
    ) -> io.NodeOutput:
        job = ScoreJob(**{field.name: options[field.name] for field in fields(ScoreJob) if field.name in options})
        load_clip = None if clip == NONE else clip_source(clip).load
        replies, further = folders.scores_folder(), model_folders.measures_folder()
        models = ScoringModels(judge, replies, load_clip, further, str(memory.compute_device()))
        news: list[str] = []
        try:
            found = job.run(
                source,
                edited,
                instruction,
                models,
                mask,
                progress.job_progress(),
                lambda *_: progress.stop_if_cancelled(),
                news.append,
            )
        finally:
            memory.release_caches(judge)
        columns = [[_number(each, measure) for each in found] for measure in NUMBERS.values()]
        texts = [[str(each) for each in found], [json.dumps(each.as_dict()) for each in found]]
        warning = feedback.warn_if_unfamiliar("thinker", judge.chat.name, source) if judge else ""
        shown = [f"Edit {n}\n" * (len(found) > 1) + each.brief for n, each in enumerate(found, 1)]
        return io.NodeOutput(*columns, *texts, ui=feedback.show_text(warning, *news, *shown))


def _number(scores: EditScores, measure: Measure) -> float:
    value = scores.value(measure)
    return math.nan if value is None else value
