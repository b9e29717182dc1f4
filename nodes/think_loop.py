"""A thinking loop around any graph: the nodes between Open and Close are the editor.

Close critiques what the graph has made. To continue, it gives ComfyUI another copy of everything between the two (node
expansion), whose Open outputs the next prompt. Only the record's path and the prompt pass from one iteration to the
next; the rest is in the record.
"""

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..rethink.errors import RethinkError
from ..rethink.images import as_image
from ..rethink.steps import Continue, RunStopped, Stop
from ..rethink.think_loop import (
    LoopConfig,
    ThinkTask,
    TurnEdits,
    apply_steering,
    best_of_last_turn,
    checklist_for,
    critique_turn,
    fingerprint,
    first_prompt,
    next_action,
    quantize_to_8bit,
    rival_of,
    run_config,
    save_edits,
    warn_of_no_boxes,
)
from ..rethink.thinkers.critique import Thinker
from ..rethink.thinkers.protocol import ThinkerError
from ..rethink.trajectory import RECORD_FILE, Trajectory, load_trajectory
from . import feedback, sockets
from .comfy import folders, memory, progress, server
from .comfy.graph import GraphBuilder, is_link
from .inputs import seed_input, single_values
from .run_monitor import LiveRun, failures, in_memory, live_of, start_or_resume
from .think import (
    PREFIX,
    added_inputs,
    config_from,
    config_inputs,
    instruction_input,
    judge_input,
    outputs_of,
    pause_and_record_inputs,
    run_outputs,
    thinker_input,
)

GRAPH = "workflow"  # the editor's name in the record, and its fingerprint's


@dataclass(frozen=True, eq=False)
class LoopInputs:
    """The inputs of Open. The image is the input itself, not a copy: ComfyUI caches the outputs of every iteration."""

    image: Tensor
    instruction: str
    thinker: Thinker
    judge: Thinker | None
    config: LoopConfig
    pause: bool = False
    prefix: str = PREFIX
    resume: bool = True

    def task(self, candidates: int = 1) -> ThinkTask:
        """The task of the run, with `candidates` edits per turn. Raises RethinkError if it cannot begin."""
        config = replace(self.config, candidates=candidates)
        return ThinkTask(self.image, self.instruction, self.thinker, self.judge, config=config)


@dataclass(frozen=True, eq=False)
class LoopState:
    """What Close must know about its Open.

    node: Open's id in the running graph. prompt: the one that the graph gets this turn. run: the record, None on the
    first pass. started: when this pass started, by `time.perf_counter`. prompt_id: the ComfyUI prompt that the pass
    belongs to.
    """

    node: str
    inputs: LoopInputs
    prompt: Continue
    run: Trajectory | None
    started: float
    prompt_id: str


class ThinkLoopOpen(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkThinkLoopOpen",
            display_name="Think Loop Open",
            category="Rethink/Think",
            description="Starts a thinking loop: the nodes between this and Think Loop Close are the editor.",
            search_aliases=[
                "while loop",
                "agent",
                "editthinker",
                "refine",
                "refine any workflow",
                "reflection",
                "loop start",
            ],
            not_idempotent=True,
            is_input_list=True,  # to refuse lists: the nodes in between would be copied once for all images of a list
            accept_all_inputs=True,  # copies get what passes from one iteration to the next
            hidden=[io.Hidden.unique_id],
            inputs=[
                thinker_input(),
                io.Image.Input("image", tooltip="The image to edit."),
                instruction_input(),
                seed_input("Turn t outputs seed + t − 1.", "fixed"),
                *config_inputs(),
                *pause_and_record_inputs(),
                judge_input(),
                *added_inputs(without=("focus", "focus_margin")),  # a graph has its own mask, or none
            ],
            outputs=[
                sockets.Loop.Output("loop", tooltip="For Think Loop Close."),
                io.Image.Output("base", display_name="image", tooltip="The image to edit this turn."),
                io.String.Output("prompt", tooltip="What to tell the editor this turn."),
                io.Int.Output("turn_seed", display_name="seed", tooltip="A different seed every turn."),
                io.Int.Output("turn", tooltip="The number of the turn, from 1."),
            ],
        )

    @classmethod
    def execute(cls, **inputs: list) -> io.NodeOutput:
        values = single_values(inputs, "Think While Edit starts a run for each image of a list")
        return cls._open(**values)

    @classmethod
    def _open(
        cls,
        thinker: Thinker,
        image: Tensor,
        instruction: str,
        seed: int,
        judge: Thinker | None = None,
        carried: dict[str, Any] | None = None,
        **inputs: Any,
    ) -> io.NodeOutput:
        config = config_from(inputs, seed=seed)
        image = as_image(image, "source")
        loop_inputs = LoopInputs(image, instruction, thinker, judge, config, **inputs)
        if carried is None:
            run, turn, base = None, 1, image
            prompt = first_prompt(loop_inputs.task(), lambda *_: progress.stop_if_cancelled())
        else:
            folder = folders.from_view_params(carried["run"]).parent
            run = in_memory(carried["run"]) or load_trajectory(folder)
            turn, prompt = run.steps[-1].turn + 1, Continue(carried["prompt"], carried["prompt_by"])
            base = image if config.base == "source" else run.image(best_of_last_turn(run.steps))
        state = LoopState(cls.hidden.unique_id, loop_inputs, prompt, run, time.perf_counter(), server.prompt_id())
        return io.NodeOutput(state, base, prompt.prompt, _seed(config, turn), turn)


class ThinkLoopClose(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkThinkLoopClose",
            display_name="Think Loop Close",
            category="Rethink/Think",
            description="Ends a thinking loop: critiques the edit and repeats it with a better prompt until it is "
            "right.",
            search_aliases=["while loop", "loop end", "refine any workflow"],
            is_output_node=True,
            not_idempotent=True,
            is_input_list=True,
            enable_expand=True,
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            inputs=[
                sockets.Loop.Input("loop", tooltip="From Think Loop Open."),
                io.Image.Input(
                    "edited",
                    tooltip="The edit of Open's image by Open's prompt, from the nodes in between. The images of a "
                    "batch or a list are candidates; the best one is kept.",
                ),
            ],
            outputs=run_outputs(),
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> int:
        return failures(cls.hidden.unique_id)

    @classmethod
    def execute(cls, loop: list[LoopState], edited: list[Tensor]) -> io.NodeOutput:
        (state,) = loop
        images = quantize_to_8bit(_candidates(edited))
        task = state.inputs.task(candidates=len(images))
        node = server.display_id(cls.hidden)
        if state.run is None:
            options = run_config(task, GRAPH)
            options[GRAPH] = graph_fingerprint(cls.hidden.dynprompt, state.node, cls.hidden.unique_id)
            run = start_or_resume(state.inputs.prefix, task, options, state.inputs.resume)
            live = LiveRun(node, run, pause=state.inputs.pause)
            already_critiqued = bool(run.resume_steps)  # an interrupted run: its first turns were critiqued before
        else:
            live, already_critiqued = live_of(state.run, node), False
        try:
            trajectory, decision = _turn(state, task, live, None if already_critiqued else images)
        except RunStopped as end:
            trajectory, decision = live.trajectory, end.stop
        except BaseException:
            live.on_end(live.trajectory)
            raise
        if isinstance(decision, Stop):
            trajectory = trajectory.finish(decision.reason, decision.message, decision.chosen)
            live.on_end(trajectory)
            memory.release_caches(task.thinker, task.judge)
            outputs = outputs_of(trajectory)
            outputs.ui |= feedback.show_text(warn_of_no_boxes(task.thinker, task.config))
            return outputs
        carried = {"run": folders.to_view_params(trajectory.folder / RECORD_FILE), **vars(decision)}
        copy, graph = expand_iteration(cls.hidden.dynprompt, state.node, cls.hidden.unique_id, carried)
        return io.NodeOutput(*(copy.out(slot) for slot in range(len(run_outputs()))), expand=graph.finalize())


def _turn(
    state: LoopState, task: ThinkTask, live: LiveRun, images: Tensor | None
) -> tuple[Trajectory, Continue | Stop]:
    """Critique the images of this iteration, write them, and decide what comes next.

    images: IMAGE [candidates, H, W, 3]; None where the turns of an interrupted run take their place.
    """
    trajectory = live.trajectory
    if trajectory.steps and task.config.candidates != trajectory.candidates:
        raise RethinkError(
            f"edited: every turn must have as many images as the first ({trajectory.candidates}), "
            f"got {task.config.candidates}."
        )
    edits = None
    if images is not None:
        is_cached = state.prompt_id != server.prompt_id()
        seconds = 0.0 if is_cached else time.perf_counter() - state.started
        seeds = [_seed(task.config, live.turn)] * len(images)
        edits = save_edits(TurnEdits(live.turn, state.prompt, seeds, images, seconds), live.save_edits)
    try:
        checklist = checklist_for(task, trajectory.steps, live.on_token)
    except ThinkerError as error:
        return trajectory, Stop("failed", str(error))
    if edits is not None:
        rival = rival_of(trajectory.steps, task.config)
        rival = rival and replace(rival, image=trajectory.image(rival))
        for step in critique_turn(task, edits, checklist, live.on_token, rival):
            trajectory = trajectory.append_step(step)
            live.on_record(trajectory)
    if trajectory.stopped:  # it could not be written
        return trajectory, Stop(trajectory.stopped, trajectory.message)
    decision = next_action(trajectory.steps, task.config)
    return trajectory, apply_steering(live.steer, trajectory.steps, decision, task.config)


def expand_iteration(dynprompt: Any, first: str, last: str, carried: dict[str, Any]) -> tuple[Any, GraphBuilder]:
    """Copy the graph from Open (node `first`) to Close (`last`). Returns Close's copy, and the graph with all copies.

    Inputs from outside the copied part go into the copy too. Copies show on the nodes that users see, and are named
    after them.
    """
    part = between(dynprompt, first, last)
    graph = GraphBuilder()
    copies = {}
    for node in part:
        seen = dynprompt.get_display_node_id(node)
        copies[node] = graph.node(dynprompt.get_node(node)["class_type"], seen)
        copies[node].set_override_display_id(seen)
    for node, copy in copies.items():
        for name, value in dynprompt.get_node(node)["inputs"].items():
            inner = is_link(value) and value[0] in part
            copy.set_input(name, copies[value[0]].out(value[1]) if inner else value)
    copies[first].set_input("carried", carried)
    return copies[last], graph


def between(dynprompt: Any, first: str, last: str) -> list[str]:
    """The ids of all nodes on a path from `first` to `last`, including both."""
    users: dict[str, list[str]] = {}
    waiting = [last]
    seen = {last}
    while waiting:
        node = waiting.pop()
        for value in dynprompt.get_node(node)["inputs"].values():
            if is_link(value):
                users.setdefault(value[0], []).append(node)
                if value[0] not in seen:
                    seen.add(value[0])
                    waiting.append(value[0])
    part, waiting = {first: None}, [first]
    while waiting:
        for user in users.get(waiting.pop(), []):
            if user not in part:
                part[user] = None
                waiting.append(user)
    return list(part)


def graph_fingerprint(dynprompt: Any, first: str, last: str) -> str:
    """The fingerprint of the graph between Open (node `first`) and Close (`last`).

    Equal for the same kinds of nodes with the same inputs and links, whatever their ids.
    """
    known = {first: "open"}

    def of(node: str) -> str:
        if node not in known:
            data = dynprompt.get_node(node)
            inputs = {name: [of(v[0]), v[1]] if is_link(v) else v for name, v in data["inputs"].items()}
            text = json.dumps([data["class_type"], inputs], sort_keys=True, default=repr)
            known[node] = fingerprint(text.encode())
        return known[node]

    return of(dynprompt.get_node(last)["inputs"]["edited"][0])


def _candidates(edited: list[Tensor]) -> Tensor:
    """The images of a turn, which may come as a batch or as a list, as one IMAGE."""
    images = [as_image(image, "edited") for image in edited]
    if len({image.shape[1:] for image in images}) != 1:
        raise RethinkError(
            "edited: the images of one turn must have the same size; scale them before Think Loop Close."
        )
    return torch.cat(images) if len(images) > 1 else images[0]


def _seed(config: LoopConfig, turn: int) -> int:
    return (config.seed + turn - 1) % 2**64
