"""Pairs by inverse edits: real images are damaged, and a model learns to undo the damage."""

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..rethink.errors import RethinkError
from ..rethink.pairs.inverse.drafts import MASK_FREE, SynthesisConfig
from ..rethink.pairs.inverse.job import SynthesisJob
from ..rethink.pairs.inverse.operations import OPERATIONS, Operation, Range
from ..rethink.pairs.models import ModelSource, model_id
from . import feedback, sockets
from .comfy import folders, memory
from .comfy.progress import job_progress
from .inputs import field_input, range_inputs, single_value
from .sources import fingerprint, pictures_inputs, sources_of
from .thinker import chat_session

ANY = "any"
EDITOR = "editor"
DEFAULTS = {
    "thinker": None,
    "find": SynthesisJob.find,
    "place": SynthesisJob.place,
    "description": SynthesisJob.description,
    "paraphrase": SynthesisJob.paraphrase,
    "templates": "",
    "smallest": SynthesisConfig.area[0],
    "largest": SynthesisConfig.area[1],
    "longest_side": SynthesisConfig.longest_side,
}


class InverseEditSynthesizer(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkInverseEditSynthesizer",
            display_name="Inverse Edit Synthesizer",
            category="Rethink/Teach",
            description="Makes training pairs from real images: damages them, which is easy, so that a model learns "
            "the hard part, undoing it. The real image is always the target.",
            search_aliases=[
                "training data",
                "training pairs",
                "synthetic data",
                "edit pairs",
                "dataset",
                "dataset for lora",
                "inverse edit",
                "degrade",
            ],
            is_input_list=True,
            has_intermediate_output=True,
            inputs=[
                io.DynamicCombo.Input(
                    "operation",
                    options=[
                        io.DynamicCombo.Option(ANY, []),
                        *(io.DynamicCombo.Option(id, _ranges_of(op)) for id, op in OPERATIONS.items()),
                        io.DynamicCombo.Option(EDITOR, _editor_inputs()),
                    ],
                    tooltip="What is done to the images; a model learns to undo it. any: a random operation for "
                    "every pair, among those that need no mask. editor: any editor, with an instruction that removes "
                    "something.",
                ),
                *pictures_inputs(),
                io.String.Input(
                    "dataset",
                    default="pairs",
                    tooltip="Name of the folder, within ComfyUI's datasets folder, that the pairs are added to. "
                    "Existing pairs are not made again, so a stopped run resumes.",
                ),
                field_input(SynthesisConfig, "pairs"),
                field_input(SynthesisConfig, "seed", control_after_generate="fixed"),
                sockets.Thinker.Input(
                    "thinker",
                    optional=True,
                    tooltip="Describes what was hidden. The description goes into the instruction.",
                ),
                field_input(SynthesisJob, "find", optional=True, placeholder="a face"),
                field_input(SynthesisJob, "place", optional=True, placeholder="the man's face"),
                field_input(
                    SynthesisJob,
                    "description",
                    optional=True,
                    multiline=True,
                    placeholder="He has brown hair and round glasses.",
                ),
                field_input(SynthesisJob, "paraphrase", optional=True),
                io.String.Input(
                    "templates",
                    optional=True,
                    multiline=True,
                    default="",
                    placeholder="Take the {thing} off {place}.",
                    tooltip="Your own templates for the chosen operation, one per line, instead of the built-in ones. The "
                    "help page lists the names in braces.",
                    advanced=True,
                ),
                *range_inputs(SynthesisConfig, "area", ("smallest", "largest"), ("smallest place", "largest place")),
                field_input(SynthesisConfig, "longest_side", optional=True),
            ],
            outputs=[
                sockets.Pairs.Output(
                    "pairs_out", display_name="pairs", tooltip="For the nodes that preview, filter and save pairs."
                ),
                io.String.Output("report", tooltip="How many pairs were made, and why others were skipped."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, pictures: dict[str, Any], **_: Any) -> Any:
        return fingerprint(pictures)

    @classmethod
    def execute(
        cls,
        operation: dict[str, list],
        pictures: dict[str, list],
        image: Sequence[Tensor] = (),
        mask: Sequence[Tensor | None] = (None,),
        boxes: Sequence[Any] = (None,),
        **inputs: list,
    ) -> io.NodeOutput:
        parameters = {name: single_value(name, values) for name, values in operation.items() if values is not None}
        chosen = parameters.pop("operation")
        values = DEFAULTS | {name: single_value(name, value) for name, value in inputs.items()}
        config = SynthesisConfig(
            MASK_FREE if chosen in (ANY, EDITOR) else (chosen,),
            {chosen: _ranges(OPERATIONS[chosen], parameters)} if chosen in OPERATIONS else {},
            values["pairs"],
            values["seed"],
            values["longest_side"],
            (values["smallest"], values["largest"]),
        )
        templates = _templates(chosen, values["templates"])
        editor, inverse = _editor(parameters) if chosen == EDITOR else (None, "")
        images = sources_of(pictures, image, mask, boxes)
        with chat_session(values["thinker"]) as thinker:
            job = SynthesisJob(
                images,
                folders.dataset_path(values["dataset"], "dataset"),
                config,
                editor,
                thinker,
                inverse,
                templates=templates,
                **{name: values[name] for name in ("find", "place", "description", "paraphrase")},
            )
            report = job.run(job_progress())
        if not report.pairs.subset:
            raise RethinkError("\n".join(["pictures: no pair could be made.", *report.reasons]))
        return io.NodeOutput(report.pairs, str(report), ui=feedback.show_text(str(report)))


def _ranges_of(operation: Operation) -> list[io.Input]:
    """The widgets of an operation: a list of choices, or the lowest and the highest value."""
    inputs = []
    for name, span in operation.ranges.items():
        if not isinstance(span, Range):
            tip = "Which kind. any: a random one for every pair."
            inputs.append(io.Combo.Input(name, optional=True, options=[ANY, *span.choices], default=ANY, tooltip=tip))
            continue
        whole = isinstance(span.low, int)
        for end, default in (("lowest", span.low), ("highest", span.high)):
            number = io.Int if whole else io.Float
            options = {} if whole else {"step": 0.01, "round": 0.0001}
            tip = f"{span.help}: random for every pair, {'at least' if end == 'lowest' else 'at most'} this."
            inputs.append(
                number.Input(
                    f"{end}_{name}",
                    optional=True,
                    display_name=f"{end} {name}",
                    default=default,
                    min=span.least,
                    max=span.most,
                    tooltip=tip,
                    advanced=True,
                    **options,
                )
            )
    return inputs


def _editor_inputs() -> list[io.Input]:
    return [
        sockets.Editor.Input("editor", tooltip="From Load Editor."),
        field_input(SynthesisJob, "inverse", optional=True, multiline=True, placeholder="remove the hat"),
    ]


def _ranges(operation: Operation, values: dict[str, Any]) -> dict[str, Any]:
    """The values of an operation's widgets, as a SynthesisConfig has them: {parameter: [lowest, highest] or choice}."""
    ranges = {}
    for name, span in operation.ranges.items():
        if isinstance(span, Range):
            low, high = values.get(f"lowest_{name}", span.low), values.get(f"highest_{name}", span.high)
            if low > high:
                raise RethinkError(f"lowest_{name}: is {low:g}, above highest_{name}, which is {high:g}; swap them.")
            ranges[name] = [low, high]
        elif values.get(name, ANY) != ANY:
            ranges[name] = values[name]
    return ranges


def _editor(parameters: dict[str, Any]) -> tuple[ModelSource, str]:
    """The editor that was connected, and the inverse edit."""
    editor = parameters.get("editor")
    if editor is None:
        raise RethinkError("editor: is not connected; connect one from Load Editor.")
    return ModelSource(model_id(editor.name), lambda: memory.ManagedEditor(editor)), parameters["inverse"]


def _templates(chosen: str, text: str) -> dict[str, list[str]]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and chosen == ANY:
        raise RethinkError("templates: apply to a single operation; choose one, or leave this empty.")
    return {chosen: lines} if lines else {}
