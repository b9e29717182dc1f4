"""Think While Edit, and what it has in common with the loop around any graph: rules, pauses, the record, outputs."""

from functools import cache
from typing import Any

from comfy_api.latest import io

from ..rethink.editors.protocol import Settings
from ..rethink.editors.used import used_settings
from ..rethink.images import as_edit_mask
from ..rethink.think_loop import BASES, STARTS, LoopConfig, run_config, think_while_edit, validate_source
from ..rethink.trajectory import Trajectory
from . import feedback, sockets
from .comfy import memory, progress, server
from .inputs import seed_input, settings_inputs
from .run_monitor import LiveRun, failures, record_live, start_or_resume
from .thinker import accept_inputs
from .trajectory import results, shown

PREFIX = "rethink/thinking"


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
                io.Image.Input("image", tooltip="The picture to edit. A list of pictures makes a run of each."),
                instruction_input(),
                seed_input("Turn t, candidate c edits with seed + (t − 1) · candidates + c.", "fixed"),
                *rules_inputs(),
                io.Int.Input(
                    "candidates",
                    optional=True,
                    default=1,
                    min=1,
                    max=64,
                    tooltip="Edits a turn with as many seeds, made and criticized as one batch. The best goes on.",
                ),
                *pause_and_record_inputs(),
                *settings_inputs(),
                judge_input(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the picture may change. Everything outside stays exactly as it is.",
                ),
            ],
            outputs=run_outputs(),
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> int:
        return failures(cls.hidden.unique_id)

    @classmethod
    def execute(
        cls,
        editor,
        thinker,
        image,
        instruction,
        seed,
        candidates=1,
        pause=False,
        prefix=PREFIX,
        resume=True,
        judge=None,
        mask=None,
        **inputs,
    ) -> io.NodeOutput:
        rules = rules_of(inputs, seed=seed, candidates=candidates)
        settings = Settings(**inputs)
        source = validate_source(image, instruction)
        area = as_edit_mask(mask, source)
        how = run_config(rules, settings, editor.name, thinker, judge, area)
        used = used_settings(editor, settings)
        feedback.annotate_images(cls.hidden, used | {"instructions": [instruction], "seeds": [seed]})
        strange = feedback.warn_if_unfamiliar("editor", editor.name, source)
        trajectory, done, lock = start_or_resume(prefix, source, instruction, how, rules.candidates, resume)
        live = LiveRun(server.display_id(cls.hidden), trajectory, lock, pause=pause)
        bar = cache(lambda turn: progress.edit_progress(turn - 1, rules.turns, previews=False))

        def on_step(step, total, preview):
            live.editing(step, total, preview)
            bar(live.turn)(step, total, preview)

        run = think_while_edit(
            memory.ManagedEditor(editor),
            thinker,
            source,
            instruction,
            settings=settings,
            mask=area,
            judge=judge,
            done=done,
            steer=live.steer,
            on_step=on_step,
            on_edits=live.save_edits,
            on_token=lambda *_: live.working("thinking"),
            **vars(rules),
        )
        try:
            outputs = outputs_of(record_live(live, run))
            outputs.ui |= feedback.show_text(
                strange or feedback.warn_if_unfamiliar("thinker", thinker.chat.name, source)
            )
            return outputs
        finally:
            memory.release_caches(thinker, judge)


def thinker_input() -> io.Input:
    return sockets.Thinker.Input("thinker", tooltip="From Load Thinker. It judges, and writes the next prompt.")


def judge_input() -> io.Input:
    return sockets.Thinker.Input(
        "judge",
        optional=True,
        tooltip="Another thinker, whose scores count instead. The first one goes on explaining and rewriting.",
    )


def instruction_input() -> io.Input:
    return io.String.Input(
        "instruction",
        multiline=True,
        placeholder="make it snow",
        default="",
        tooltip="What to change, as you would tell a person. Every edit is judged by it.",
    )


def rules_inputs() -> list[io.Input]:
    """One input a field of LoopConfig, of the same name, but for the two scores of `accept`, seed and candidates."""
    return [
        io.Int.Input("turns", optional=True, default=5, min=1, max=1000, tooltip="At most this many turns."),
        *accept_inputs(),
        io.Int.Input(
            "patience",
            optional=True,
            default=0,
            min=0,
            max=1000,
            tooltip="Stop after this many turns without a better edit. 0: never.",
        ),
        io.Combo.Input(
            "start",
            optional=True,
            options=list(STARTS),
            default=STARTS[0],
            tooltip="The first prompt: your instruction as it is, or polished by the thinker, who looks at the picture.",
        ),
        io.Combo.Input(
            "base",
            optional=True,
            options=list(BASES),
            default=BASES[0],
            tooltip="What every turn edits: the source again, so that errors do not add up, or the best picture of the "
            "turn before.",
            advanced=True,
        ),
        io.Boolean.Input(
            "checklist",
            optional=True,
            default=False,
            tooltip="Split the instruction into single demands first and have each verified. All must be met to accept.",
        ),
        io.Float.Input(
            "preserve",
            optional=True,
            default=0.5,
            min=0.0,
            max=10.0,
            step=0.1,
            round=0.01,
            tooltip="Points off for a picture that has changed all over, in proportion for less. Decides between edits "
            "that the thinker likes equally.",
            advanced=True,
        ),
    ]


def pause_and_record_inputs() -> list[io.Input]:
    return [
        io.Boolean.Input(
            "pause",
            optional=True,
            default=False,
            tooltip="Wait after every turn until you go on, change the next prompt, accept, or stop in the viewer.",
        ),
        io.String.Input(
            "prefix",
            optional=True,
            default=PREFIX,
            tooltip="Where the run is recorded, in ComfyUI's output folder; a number is added.",
            advanced=True,
        ),
        io.Boolean.Input(
            "resume",
            optional=True,
            default=True,
            tooltip="Go on with a run of the same inputs that was cut off, from its last whole turn.",
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


def rules_of(inputs: dict[str, Any], **more: Any) -> LoopConfig:
    """The LoopConfig in a node's inputs, which are taken out of them."""
    names = ("turns", "patience", "start", "base", "checklist", "preserve")
    given = {name: inputs.pop(name) for name in names if name in inputs}
    accept = inputs.pop("accept_semantic", 8.0), inputs.pop("accept_quality", 8.0)
    return LoopConfig(accept=accept, **given, **more)


def outputs_of(trajectory: Trajectory) -> io.NodeOutput:
    """`run_outputs` of a run that has ended, and its record for the viewer on the node.

    Raises RethinkError where the thinker failed before it had judged anything.
    """
    trajectory.check_judged()
    return io.NodeOutput(*results(trajectory), trajectory, ui=shown(trajectory))
