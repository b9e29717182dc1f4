"""A thinking loop around any graph: whatever lies between Open and Close is the editor.

Close looks at what the graph has made. To go on it hands ComfyUI another copy of everything between the two (node
expansion), whose Open says the next prompt. What goes from one pass to the next is where the record lies, and the
prompt: the rest is in the record.
"""

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..rethink.editors.protocol import DEFAULT_SETTINGS
from ..rethink.errors import RethinkError
from ..rethink.images import as_image
from ..rethink.records import replace_surrogates
from ..rethink.think_loop import (
    Continue,
    LoopConfig,
    Stop,
    apply_steering,
    best_of_last_turn,
    checklist_for,
    critique_turn,
    fingerprint,
    first_prompt,
    next_action,
    quantize_to_8bit,
    run_config,
    save_edits,
    validate_source,
)
from ..rethink.thinkers.critique import Thinker
from ..rethink.thinkers.protocol import ThinkerError
from ..rethink.trajectory import RECORD_FILE, Trajectory, load_trajectory
from . import sockets
from .comfy import folders, memory, progress, server
from .comfy.graph import GraphBuilder, is_link
from .inputs import seed_input, single_values
from .run_monitor import LiveRun, RunStopped, failures, in_memory, live_of, start_or_resume
from .think import (
    PREFIX,
    instruction_input,
    judge_input,
    outputs_of,
    pause_and_record_inputs,
    rules_inputs,
    rules_of,
    run_outputs,
    thinker_input,
)

GRAPH = "workflow"  # the editor's name in the record, and its fingerprint's


@dataclass(frozen=True, eq=False)
class State:
    """What Close must know of its Open.

    node: Open's id in the running graph. image: what Open was given. prompt: what the graph is told this time.
    run: the record, None on the first pass. began: when this pass did, and asked_by the ComfyUI prompt it belongs to.
    """

    node: str
    image: Tensor
    instruction: str
    thinker: Thinker
    judge: Thinker | None
    rules: LoopConfig
    pause: bool
    prefix: str
    resume: bool
    prompt: Continue
    run: Trajectory | None
    began: float
    asked_by: str


class ThinkLoopOpen(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkThinkLoopOpen",
            display_name="Think Loop Open",
            category="Rethink/Think",
            description="Begins a thinking loop: the nodes between this and Think Loop Close are the editor.",
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
            is_input_list=True,  # to refuse them: a copy of what lies in between would be one for all pictures of a list
            accept_all_inputs=True,  # copies are given what goes from one pass to the next
            hidden=[io.Hidden.unique_id],
            inputs=[
                thinker_input(),
                io.Image.Input("image", tooltip="The picture to edit."),
                instruction_input(),
                seed_input("Turn t gives out seed + t − 1.", "fixed"),
                *rules_inputs(),
                *pause_and_record_inputs(),
                judge_input(),
            ],
            outputs=[
                sockets.Loop.Output("loop", tooltip="For Think Loop Close."),
                io.Image.Output("base", display_name="image", tooltip="The picture to edit this turn."),
                io.String.Output("prompt", tooltip="What to tell the editor this turn."),
                io.Int.Output("turn_seed", display_name="seed", tooltip="Another seed every turn."),
                io.Int.Output("turn", tooltip="The number of the turn, from 1."),
            ],
        )

    @classmethod
    def execute(cls, **inputs) -> io.NodeOutput:
        inputs = single_values(inputs, "Think While Edit makes a run of each picture of a list")
        return cls._open(**inputs)

    @classmethod
    def _open(
        cls,
        thinker,
        image,
        instruction,
        seed,
        pause=False,
        prefix=PREFIX,
        resume=True,
        judge=None,
        carried=None,
        **inputs,
    ) -> io.NodeOutput:
        rules, instruction = rules_of(inputs, seed=seed), replace_surrogates(instruction)
        image = as_image(image, "source")  # no copy: ComfyUI keeps what every pass gives out, and copies would add up
        if carried is None:
            source = validate_source(image, instruction)
            run, turn, base = None, 1, image
            prompt = first_prompt(thinker, source, instruction, rules, lambda *_: progress.stop_if_cancelled())
        else:
            folder = folders.from_view_params(carried["run"]).parent
            run = in_memory(carried["run"]) or load_trajectory(folder)
            turn, prompt = run.steps[-1].turn + 1, Continue(carried["prompt"], carried["prompt_by"])
            base = image if rules.base == "source" else run.image(best_of_last_turn(run.steps))
        state = State(
            cls.hidden.unique_id,
            image,
            instruction,
            thinker,
            judge,
            rules,
            pause,
            prefix,
            resume,
            prompt,
            run,
            time.perf_counter(),
            server.prompt_id(),
        )
        return io.NodeOutput(state, base, prompt.prompt, _seed(rules, turn), turn)


class ThinkLoopClose(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RethinkThinkLoopClose",
            display_name="Think Loop Close",
            category="Rethink/Think",
            description="Ends a thinking loop: looks at the edit, and has it made again by a better prompt until it is right.",
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
                    tooltip="What the nodes in between have made of Open's image by Open's prompt. A batch or "
                    "a list is as many candidates: the best goes on.",
                ),
            ],
            outputs=run_outputs(),
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> int:
        return failures(cls.hidden.unique_id)

    @classmethod
    def execute(cls, loop: list[State], edited: list[Tensor]) -> io.NodeOutput:
        (loop,) = loop
        source, edited = quantize_to_8bit(loop.image), quantize_to_8bit(_candidates(edited))
        rules = replace(loop.rules, candidates=len(edited))
        node = server.display_id(cls.hidden)
        if loop.run is None:
            how = run_config(rules, DEFAULT_SETTINGS, GRAPH, loop.thinker, loop.judge)
            how[GRAPH] = graph_fingerprint(cls.hidden.dynprompt, loop.node, cls.hidden.unique_id)
            trajectory, _, lock = start_or_resume(
                loop.prefix, source, loop.instruction, how, rules.candidates, loop.resume
            )
            live = LiveRun(node, trajectory, lock, pause=loop.pause)
            looked_at = bool(trajectory.steps)  # a run that was cut off: its first turns need no second look
        else:
            live, looked_at = live_of(loop.run, node), False
        try:
            trajectory, following = _turn(loop, live, source, edited, rules, looked_at)
        except RunStopped as end:
            trajectory, following = live.trajectory, end.stop
        except BaseException:
            live.ended(live.trajectory)
            raise
        if isinstance(following, Stop):
            trajectory = trajectory.finish(following.reason, following.message, following.chosen)
            live.ended(trajectory)
            memory.release_caches(loop.thinker, loop.judge)
            return outputs_of(trajectory)
        carried = {"run": folders.to_view_params(trajectory.folder / RECORD_FILE), **vars(following)}
        copy, graph = expand_iteration(cls.hidden.dynprompt, loop.node, cls.hidden.unique_id, carried)
        return io.NodeOutput(*(copy.out(slot) for slot in range(len(run_outputs()))), expand=graph.finalize())


def _turn(
    loop: State, live: LiveRun, source: Tensor, edited: Tensor, rules: LoopConfig, looked_at: bool
) -> tuple[Trajectory, Continue | Stop]:
    """Look at what this pass has made, write it, and say what comes next."""
    trajectory = live.trajectory
    if trajectory.steps and len(edited) != trajectory.options["rules"]["candidates"]:
        raise RethinkError(f"edited: every turn must have as many pictures as the first one, got {len(edited)}.")

    def on_token(*_):
        live.working("thinking")

    seeds = [_seed(rules, live.turn)] * len(edited)
    files = (
        () if looked_at else save_edits(live.save_edits, live.turn, edited, loop.prompt, seeds, [None] * len(edited))
    )
    try:
        checklist = checklist_for(
            trajectory.steps, loop.judge or loop.thinker, source, loop.instruction, rules, on_token
        )
    except ThinkerError as error:
        return trajectory, Stop("failed", str(error))
    if not looked_at:
        from_cache = loop.asked_by != server.prompt_id()
        seconds = 0.0 if from_cache else time.perf_counter() - loop.began
        for step in critique_turn(
            loop.thinker,
            source,
            edited,
            loop.instruction,
            loop.prompt,
            live.turn,
            seeds,
            rules,
            edit_seconds=seconds,
            judge=loop.judge,
            checklist=checklist,
            on_token=on_token,
            files=files,
        ):
            trajectory = trajectory.append_step(step)
            live.stepped(trajectory)
    if trajectory.stopped:  # it could not be written
        return trajectory, Stop(trajectory.stopped, trajectory.message)
    following = next_action(trajectory.steps, rules, checklist)
    return trajectory, apply_steering(live.steer, trajectory.steps, following, rules)


def expand_iteration(dynprompt: Any, first: str, last: str, carried: dict[str, Any]) -> tuple[Any, GraphBuilder]:
    """A copy of the graph from Open (node `first`) to Close (`last`), and Close's copy in it.

    Everything that goes into the copied part from outside goes into the copy too. Copies show on the nodes that people
    see, and are named after them.
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
    """The ids of all nodes on a way from `first` to `last`, both included."""
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
    """The fingerprint of the graph that makes what Close (node `last`) is given out of what Open (`first`) gives out.

    The same for the same kinds of nodes with the same inputs and links, whatever their ids.
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
    """The pictures of a turn, which may come as a batch or as a list, as one IMAGE."""
    images = [as_image(image, "edited") for image in edited]
    if len({image.shape[1:] for image in images}) != 1:
        raise RethinkError(
            "edited: the pictures of one turn must have the same size; scale them before Think Loop Close."
        )
    return torch.cat(images) if len(images) > 1 else images[0]


def _seed(rules: LoopConfig, turn: int) -> int:
    return (rules.seed + turn - 1) % 2**64
