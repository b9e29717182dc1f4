"""Think while editing: edit, look, rewrite the prompt, edit again, until the edit is right.

The loop of EditThinker (arXiv 2512.05965, section 3), as a generator of Steps without files, globals or a host. What
comes next is a function of the steps so far (`next_action`), so an interrupted run resumes as if it had not been.
Every image is scored, the last one too, and the best one counts.
"""

import hashlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .editors.protocol import Editor, OnStep, used_settings_by_row
from .editors.settings import DEFAULT_SETTINGS, Settings
from .errors import RethinkError
from .evaluation.preservation import measure
from .focus import focus_boxes, focus_mask
from .images import as_edit_mask, as_image
from .loop_config import DEFAULT_CONFIG, LoopConfig
from .names import name_anywhere
from .records import replace_surrogates, replace_surrogates_in
from .steps import Box, Continue, Critique, Preservation, Step, Stop, best_of, note_of
from .thinkers.critique import Thinker, critique, polish_instruction, split_instruction
from .thinkers.draws import critique_draws
from .thinkers.loading import can_point
from .thinkers.protocol import OnToken, ThinkerError
from .trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class ThinkTask:
    """The task of a run, independent of what makes its edits.

    source: IMAGE [1, H, W, 3], rounded to 8 bits here. mask: [1, H, W] or a batch of one, 1 where the image may change.
    judge: another thinker, whose scores count while `thinker` reasons and rewrites.
    Raises RethinkError if a run cannot start.
    """

    source: Tensor
    instruction: str
    thinker: Thinker
    judge: Thinker | None = None
    mask: Tensor | None = None
    config: LoopConfig = DEFAULT_CONFIG

    def __post_init__(self):
        source = validate_source(self.source, self.instruction)
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "instruction", replace_surrogates(self.instruction))
        object.__setattr__(self, "mask", as_edit_mask(self.mask, source))


# Called after every turn except the last: (the steps so far, what would come next) → what comes next.
SteeringCallback = Callable[[Sequence[Step], Continue | Stop], Continue | Stop]

# Called with the edits of a turn before they are judged: (turn, IMAGE [candidates, H, W, 3], how each was made, as
# `trajectory.note_of` returns it) → the names of the files that now hold them. `Trajectory.save_edits` is one.
OnEdits = Callable[[int, Tensor, Sequence[dict[str, Any]]], Sequence[str]]


@dataclass(frozen=True)
class RunCallbacks:
    """Who is told what a run does, and who may steer it. Anything they raise ends the run."""

    steer: SteeringCallback | None = None
    on_step: OnStep | None = None
    on_edits: OnEdits | None = None
    on_token: OnToken | None = None


NO_CALLBACKS = RunCallbacks()


@dataclass(frozen=True, eq=False)
class TurnEdits:
    """The edits of one turn before they are judged, one per candidate.

    images: IMAGE [candidates, H, W, 3]. seconds: for all of them. settings: what each was actually sampled with; files:
    where each is already written; both empty if unknown. focus: the boxes that they were limited to.
    """

    turn: int
    prompt: Continue
    seeds: Sequence[int]
    images: Tensor
    seconds: float = 0.0
    settings: Sequence[dict[str, Any] | None] = ()
    files: Sequence[str] = ()
    focus: tuple[Box, ...] = ()


def think_while_edit(
    editor: Editor,
    task: ThinkTask,
    settings: Settings = DEFAULT_SETTINGS,
    *,
    resume_steps: Sequence[Step] = (),
    callbacks: RunCallbacks = NO_CALLBACKS,
) -> Generator[Step, None, Stop]:
    """Yield every Step, a turn's candidates together; return why the run stopped.

    settings: of every edit. resume_steps: the complete turns of an interrupted run with the same arguments
        (`Trajectory.rewind_to_resume`); the run continues after them and does not yield them again.
    Images are rounded to 8 bits before they are judged, so that files hold exactly what was judged.
    A thinker that does not answer ends the run as "failed"; its last steps have no score.
    Raises RethinkError for anything the user can fix, and whatever the editor raises.
    """
    config, on_token = task.config, callbacks.on_token
    steps = list(resume_steps)
    if len(steps) % config.candidates:
        raise RethinkError(
            f"candidates: the run to resume does not have {config.candidates} per turn; keep its number."
        )
    try:
        checklist = checklist_for(task, steps, on_token)
        decision = next_action(steps, config) if steps else first_prompt(task, on_token)
    except ThinkerError as error:
        return Stop("failed", str(error))
    while True:
        if steps and callbacks.steer is not None:
            decision = apply_steering(callbacks.steer, steps, decision, config)
        if isinstance(decision, Stop):
            return decision
        edits = edit_turn(editor, task, settings, steps, decision, callbacks.on_step)
        edits = save_edits(edits, callbacks.on_edits)
        new_steps = critique_turn(task, edits, checklist, on_token, rival_of(steps, config))
        steps = _without_pixels(steps, config) + new_steps
        yield from new_steps
        decision = next_action(steps, config)


def edit_turn(
    editor: Editor,
    task: ThinkTask,
    settings: Settings,
    steps: Sequence[Step],
    prompt: Continue,
    on_step: OnStep | None = None,
) -> TurnEdits:
    """Make the edits of the turn after `steps` with this prompt, as one batch."""
    turn = steps[-1].turn + 1 if steps else 1
    base = task.source if task.config.base == "source" or not steps else best_of_last_turn(steps).image
    assert base is not None, "the last turn has its images"
    seeds = turn_seeds(turn, task.config)
    started = time.perf_counter()
    prepared = editor.prepare(base)
    pointed = best_of_last_turn(steps).critique.regions if steps and prompt.prompt_by != "human" else ()
    focus = focus_boxes(pointed, task.config)  # a person may mean another place
    mask = focus_mask(focus, task.source, task.config.focus_margin, task.mask)
    edited = editor.edit(prepared, [prompt.prompt] * len(seeds), seeds, settings, mask=mask, on_step=on_step)
    edited, seconds = quantize_to_8bit(as_image(edited)), time.perf_counter() - started
    used = used_settings_by_row(editor, prepared, seeds, settings)
    return TurnEdits(turn, prompt, seeds, edited, seconds, used, focus=focus)


def save_edits(edits: TurnEdits, on_edits: OnEdits | None) -> TurnEdits:
    """Pass the edits of a turn to `on_edits`, with their settings; return them with their files, if any."""
    if on_edits is None:
        return edits
    settings = edits.settings or [None] * len(edits.images)
    notes = [note_of(edits.prompt.prompt, seed, each) for seed, each in zip(edits.seeds, settings, strict=True)]
    return replace(edits, files=on_edits(edits.turn, edits.images, notes))


def validate_source(source: Tensor, instruction: str) -> Tensor:
    """The source as it is edited and recorded, [1, H, W, 3] of 8 bits. Raises RethinkError if a run cannot start."""
    source = as_image(source, "source")
    if len(source) != 1:
        raise RethinkError(f"source: one image is edited at a time, got a batch of {len(source)}; make it a list.")
    if not instruction.strip():
        raise RethinkError("instruction: is empty; say what to change, for example “make it snow”.")
    return quantize_to_8bit(source)


def rival_of(steps: Sequence[Step], config: LoopConfig) -> Step | None:
    """The best step so far, if the next turn may be compared side by side with it."""
    return steps[best_of(steps)] if config.side_by_side and steps else None


def _without_pixels(steps: Sequence[Step], config: LoopConfig) -> list[Step]:
    """The steps as the turns after the current one need them: only one that may be compared keeps its pixels."""
    best = best_of(steps) if config.side_by_side and steps else None
    return [step if index == best else replace(step, image=None) for index, step in enumerate(steps)]


def critique_turn(
    task: ThinkTask,
    edits: TurnEdits,
    checklist: Sequence[str] = (),
    on_token: OnToken | None = None,
    rival: Step | None = None,
) -> list[Step]:
    """The steps of one turn: every candidate measured, and critiqued as one batch.

    It defines a turn, wherever the images come from. rival: from `rival_of`, with its image.
    """
    preserved = measure(task.source, edits.images, task.mask)
    images = list(edits.images.split(1))
    started = time.perf_counter()
    asked_about = (task.source, images, task.instruction, [edits.prompt.prompt] * len(images), edits.seeds)
    judges: Sequence[Critique | None] = [None] * len(images)
    regions = bool(task.config.needs_boxes) and can_point(task.thinker)
    if task.judge is None:
        options = {"checklist": checklist, "regions": regions, "on_token": on_token}
        critiques = critique_draws(task.thinker, *asked_about, task.config.draws, **options)
    else:
        critiques = critique(task.thinker, *asked_about, regions=regions, on_token=on_token)
        judges = critique_draws(task.judge, *asked_about, task.config.draws, checklist=checklist, on_token=on_token)
    seconds = (time.perf_counter() - started) / len(images)
    steps = [
        Step(
            turn=edits.turn,
            candidate=index,
            prompt=edits.prompt.prompt,
            prompt_by=edits.prompt.prompt_by,
            seed=edits.seeds[index],
            critique=critiques[index],
            preservation=preserved[index],
            score=score_of(judges[index] or critiques[index], preserved[index], task.config),
            edit_seconds=edits.seconds / len(images),
            think_seconds=seconds,
            judge=judges[index],
            image=images[index],
            file=edits.files[index] if edits.files else "",
            settings=edits.settings[index] if edits.settings else None,
            focus=edits.focus,
        )
        for index in range(len(images))
    ]
    steps = [replace(step, accepted=is_accepted(step, task.config)) for step in steps]
    return steps if rival is None else _compare_close(task, steps, rival, on_token)


def warn_of_no_boxes(thinker: Thinker, config: LoopConfig) -> str:
    """A warning if options need boxes that the thinker cannot be asked for, else ""."""
    needing = config.needs_boxes
    if not needing or can_point(thinker):
        return ""
    return f"{' and '.join(needing)}: the thinker has its own template and is not asked for boxes; choose one without."


def _compare_close(task: ThinkTask, steps: list[Step], rival: Step, on_token: OnToken | None) -> list[Step]:
    """The steps of a turn, the best of them compared side by side with the best one before if their scores are close.

    The model that scores is asked, if it can compare; not if only one of the two is accepted, since that decides.
    """
    from .thinkers.side_by_side import can_compare, compare_edits

    lead, by = best_of(steps), task.judge or task.thinker
    later = steps[lead]
    scores = [step.score for step in (rival, later) if step.score is not None and not step.preservation.unchanged]
    close = len(scores) == 2 and abs(scores[0] - scores[1]) <= task.config.margin
    if not close or rival.accepted != later.accepted or not can_compare(by):
        return steps
    started = time.perf_counter()
    compared = compare_edits(by, task.source, task.instruction, rival, later, on_token)
    seconds = later.think_seconds + time.perf_counter() - started
    return [replace(each, comparison=compared, think_seconds=seconds) if each is later else each for each in steps]


def score_of(verdict: Critique, preserved: Preservation, config: LoopConfig) -> float | None:
    """What a step is ranked by, 0…10: None without scores, 0 if nothing has changed, whatever the critic says."""
    if verdict.overall is None:
        return None
    return 0.0 if preserved.unchanged else max(0.0, verdict.overall - config.preserve * preserved.changed)


def is_accepted(step: Step, config: LoopConfig) -> bool:
    """Whether a step is good enough to stop at: both scores and its whole checklist pass, and something has changed."""
    verdict = step.judge or step.critique
    if verdict.semantic is None or verdict.quality is None or step.preservation.unchanged:
        return False
    verified = all(item.passed for item in verdict.checklist)
    return verified and verdict.semantic >= config.accept[0] and verdict.quality >= config.accept[1]


def next_action(steps: Sequence[Step], config: LoopConfig) -> Continue | Stop:
    """What comes after these steps, which make up at least one complete turn."""
    turn = steps[-1].turn
    last = [step for step in steps if step.turn == turn]
    if any(is_accepted(step, config) for step in last):
        return Stop("accepted")
    for verdicts in ([step.critique for step in last], [step.judge for step in last]):
        failed = [verdict for verdict in verdicts if verdict is not None and verdict.status == "failed"]
        if len(failed) == len(last):
            return Stop("failed", failed[0].note)
    if turn >= config.turns:
        return Stop("turns")
    if config.patience and turn - steps[best_of(steps)].turn >= config.patience:
        return Stop("plateau", f"No better edit in {config.patience} turn{'s' * (config.patience > 1)}.")
    return proposed_prompt(steps)


def proposed_prompt(steps: Sequence[Step]) -> Continue:
    """What the thinker would try next, whether or not the run continues."""
    best = best_of_last_turn(steps)
    if best.critique.next_prompt:
        return Continue(best.critique.next_prompt, "thinker")
    return Continue(best.prompt, best.prompt_by)  # it proposed nothing better: same prompt, other seeds


def apply_steering(
    steer: SteeringCallback, steps: Sequence[Step], decision: Continue | Stop, config: LoopConfig
) -> Continue | Stop:
    """What comes next after steering, which is not possible after the last turn or a failure of the thinker."""
    failed = isinstance(decision, Stop) and decision.reason == "failed"
    return decision if failed or steps[-1].turn >= config.turns else steer(tuple(steps), decision)


def turn_seeds(turn: int, config: LoopConfig) -> list[int]:
    """The seeds of a turn's candidates, 64 bits each; no two steps of a run share one."""
    first = config.seed + (turn - 1) * config.candidates
    return [(first + candidate) % 2**64 for candidate in range(config.candidates)]


def quantize_to_8bit(image: Tensor) -> Tensor:
    """An IMAGE as its PNG would store it; one that came from a PNG is returned itself, bit for bit."""
    rounded = (image * 255).round().to(torch.uint8).float() / 255
    return image if torch.equal(rounded, image) else rounded  # no second copy


def run_config(task: ThinkTask, editor: str, settings: Settings = DEFAULT_SETTINGS) -> dict[str, Any]:
    """How a run is made, as a Trajectory's options: plain JSON values, with fingerprints of the mask and templates.

    editor: its name.
    """
    judge = task.judge
    return {
        "rules": task.config.as_dict(),
        "settings": settings.as_inputs(),
        "editor": editor,
        "thinker": task.thinker.chat.name,
        "judge": judge.chat.name if judge else "",
        **_sampling_of(task.thinker),
        **(_sampling_of(judge, "judge_") if judge else {}),
        "mask": "" if task.mask is None else fingerprint(task.mask.cpu().float().numpy().tobytes()),
    }


def _sampling_of(thinker: Thinker, prefix: str = "") -> dict[str, Any]:
    """How a thinker is asked, for `run_config`."""
    template = fingerprint(thinker.template.encode())
    options = {"template": template, "max_tokens": thinker.max_tokens, "temperature": thinker.temperature}
    return {prefix + name: value for name, value in options.items()}


def fingerprint(content: bytes) -> str:
    """16 hex digits that tell one content from another in a record."""
    return hashlib.sha256(content).hexdigest()[:16]


def require_same_run(trajectory: Trajectory, task: ThinkTask, options: dict[str, Any]) -> None:
    """Raise RethinkError if resuming would mix two runs. Only when to stop and where a server is may differ.

    options: from `run_config`. A choice that is missing from an older record counts as the same.
    """
    if task.instruction != trajectory.instruction or not torch.equal(task.source, trajectory.source):
        raise RethinkError(f"trajectory: {trajectory.folder} holds a run with another image or instruction.")
    when = dict.fromkeys(("turns", "patience", "accept"))
    options = replace_surrogates_in(options)  # as a record has them
    ours, theirs = ({**each, "rules": {**each.get("rules", {}), **when}} for each in (options, trajectory.options))
    for each in (ours, theirs):
        if "editor" in each:
            each["editor"] = name_anywhere(str(each["editor"]))
    other = sorted(key for key in ours if ours[key] != theirs.get(key, ours[key]))
    if other:
        what = f"{trajectory.folder} was run with a different choice of {', '.join(other)}"
        raise RethinkError(f"trajectory: {what}; use the same, or another folder.")


def best_of_last_turn(steps: Sequence[Step]) -> Step:
    """The best candidate of the last turn, from which the run continues."""
    last = [step for step in steps if step.turn == steps[-1].turn]
    return last[best_of(last)]


def first_prompt(task: ThinkTask, on_token: OnToken | None = None) -> Continue:
    """The prompt of turn 1. Raises ThinkerError if the thinker is to polish it and does not answer."""
    if task.config.start == "instruction":
        return Continue(task.instruction, "user")
    polished = polish_instruction(task.thinker, task.source, task.instruction, task.config.seed, on_token)
    return Continue(polished, "thinker")


def checklist_for(task: ThinkTask, steps: Sequence[Step], on_token: OnToken | None = None) -> tuple[str, ...]:
    """The statements that the critic verifies one by one: those of the steps so far, or the instruction split by it.

    Empty without a checklist. Raises ThinkerError if the thinker does not answer.
    """
    if not task.config.checklist:
        return ()
    for step in steps:  # a resumed run verifies the same checklist
        verdict = step.judge or step.critique
        if verdict.checklist:
            return tuple(item.text for item in verdict.checklist)
    return split_instruction(task.judge or task.thinker, task.source, task.instruction, task.config.seed, on_token)
