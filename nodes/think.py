"""Think While Edit, and what it shares with the loop around any graph: settings, pauses, the record, outputs."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..rethink.editors.protocol import Editor
from ..rethink.editors.settings import Settings, used_settings
from ..rethink.loop_config import ACCEPT, ADDED, LoopConfig
from ..rethink.options import option_of
from ..rethink.think_job import ThinkJob
from ..rethink.think_loop import RunCallbacks, ThinkTask, warn_of_no_boxes
from ..rethink.thinkers.critique import Thinker
from ..rethink.trajectory import Trajectory
from . import feedback, sockets
from .comfy import memory, progress, server
from .inputs import field_input, seed_input, settings_inputs
from .run_monitor import LiveRun, failures, run_live, start_or_resume
from .thinker import accept_inputs
from .trajectory import results, run_ui

PREFIX = "rethink/thinking"
CONFIG_FIELDS = ("patience", "start", "base", "checklist", "preserve")


class ThinkWhileEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkThinkWhileEdit",
            display_name="Think While Edit",
            category="Rethink/Think",
            description="Edits, looks at the result, rewrites the prompt and edits again, until the edit is right.",
            search_aliases=[
                "editthinker",
                "critique",
                "critic",
                "judge",
                "refine",
                "reflection",
                "self correct",
                "agent",
                "edit loop",
            ],
            is_output_node=True,
            hidden=[*feedback.METADATA_INPUTS, io.Hidden.dynprompt],
            inputs=[
                sockets.Editor.Input("editor", tooltip="From Load Editor."),
                thinker_input(),
                io.Image.Input("image", tooltip="The image to edit. A list of images starts a run for each."),
                instruction_input(),
                seed_input(option_of(LoopConfig, "seed").help, "fixed"),
                *config_inputs(),
                field_input(LoopConfig, "candidates", optional=True),
                *pause_and_record_inputs(),
                *settings_inputs(),
                judge_input(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the image may change. Everything outside stays exactly as it is.",
                ),
                *added_inputs(),
            ],
            outputs=run_outputs(),
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> int:
        return failures(cls.hidden.unique_id)

    @classmethod
    def execute(  # more than eight: ComfyUI passes every input by its name
        cls,
        editor: Editor,
        thinker: Thinker,
        image: Tensor,
        instruction: str,
        seed: int,
        candidates: int = 1,
        pause: bool = False,
        prefix: str = PREFIX,
        resume: bool = True,
        judge: Thinker | None = None,
        mask: Tensor | None = None,
        **inputs: Any,
    ) -> io.NodeOutput:
        config = config_from(inputs, seed=seed, candidates=candidates)
        settings = Settings.from_inputs(inputs)
        task = ThinkTask(image, instruction, thinker, judge, mask, config)
        job = ThinkJob(task, memory.ManagedEditor(editor), settings)
        warning = feedback.warn_if_unfamiliar("editor", editor.name, task.source)
        run = start_or_resume(prefix, task, job.options, resume)
        live = LiveRun(server.display_id(cls.hidden), run, pause=pause)
        try:
            outputs = outputs_of(run_live(job, run, live, _with_progress_bar(live, config.turns)))
            note = {"editor": editor.name, **used_settings(editor, settings)}  # known by now
            feedback.annotate_images(cls.hidden, note | {"instructions": [instruction], "seeds": [seed]})
            warning = warning or feedback.warn_if_unfamiliar("thinker", thinker.chat.name, task.source)
            outputs.ui |= feedback.show_text(warning, warn_of_no_boxes(task.thinker, task.config))
            return outputs
        finally:
            memory.release_caches(thinker, judge)


def _with_progress_bar(live: LiveRun, turns: int) -> RunCallbacks:
    """The callbacks of a live run, plus ComfyUI's own progress on the node."""
    bar = cache(lambda turn: progress.edit_progress(turn - 1, turns, previews=False))

    def on_step(step: int, total: int, preview: Callable[[], Tensor]) -> None:
        live.on_edit_step(step, total, preview)
        bar(live.turn)(step, total, preview)

    return replace(live.callbacks(), on_step=on_step)


def thinker_input() -> io.Input:
    return sockets.Thinker.Input("thinker", tooltip="From Load Thinker. It judges, and writes the next prompt.")


def judge_input() -> io.Input:
    return sockets.Thinker.Input(
        "judge",
        optional=True,
        tooltip="Another thinker whose scores count instead. The first one still explains and rewrites.",
    )


def instruction_input() -> io.Input:
    return io.String.Input(
        "instruction",
        multiline=True,
        placeholder="make it snow",
        default="",
        tooltip="What to change, as you would tell a person. Every edit is judged by it.",
    )


def config_inputs() -> list[io.Input]:
    """One input per field of LoopConfig, except `accept` (two scores), seed, candidates, and `added_inputs`."""
    others = [field_input(LoopConfig, name, optional=True) for name in CONFIG_FIELDS]
    return [field_input(LoopConfig, "turns", optional=True), *accept_inputs(), *others]


def added_inputs(without: tuple[str, ...] = ()) -> list[io.Input]:
    """The inputs of LoopConfig that were added later. They come last, since workflows store widgets by position."""
    return [field_input(LoopConfig, name, optional=True) for name in ADDED if name not in without]


def pause_and_record_inputs() -> list[io.Input]:
    return [
        io.Boolean.Input(
            "pause",
            optional=True,
            default=False,
            tooltip="Wait after every turn until you continue, change the next prompt, accept, or stop in the viewer.",
        ),
        io.String.Input(
            "prefix",
            optional=True,
            default=PREFIX,
            tooltip="Where to record the run, in ComfyUI's output folder; a number is appended.",
            advanced=True,
        ),
        io.Boolean.Input(
            "resume",
            optional=True,
            default=True,
            tooltip="Resume an interrupted run with the same inputs after its last complete turn.",
            advanced=True,
        ),
    ]


def run_outputs() -> list[io.Output]:
    return [
        io.Image.Output("best", display_name="image", tooltip="The best edit of all turns."),
        io.Image.Output("images", tooltip="Every edit, by turn, then by candidate, as one batch."),
        io.String.Output("prompt", tooltip="The prompt that made the best edit."),
        sockets.Trajectory.Output("trajectory", tooltip="The record of the run, for the trajectory nodes."),
    ]


def config_from(inputs: dict[str, Any], **more: Any) -> LoopConfig:
    """Build the LoopConfig from a node's inputs, removing them from `inputs`."""
    found = {name: inputs.pop(name) for name in ("turns", *CONFIG_FIELDS, *ADDED) if name in inputs}
    accept = inputs.pop("accept_semantic", ACCEPT), inputs.pop("accept_quality", ACCEPT)
    return LoopConfig(accept=accept, **found, **more)


def outputs_of(trajectory: Trajectory) -> io.NodeOutput:
    """`run_outputs` of a run that has ended, and its record for the viewer on the node.

    Raises RethinkError if the thinker failed before it had judged anything.
    """
    trajectory.check_judged()
    return io.NodeOutput(*results(trajectory), trajectory, ui=run_ui(trajectory))
