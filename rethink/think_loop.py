"""Think while editing: edit, look, rewrite the prompt, edit again, until the edit is right.

The loop of EditThinker (arXiv 2512.05965, section 3), as a generator of Steps without files, globals or a host. What
comes next is a function of the steps so far (`decide`), so a run that was cut off goes on as if it had not been. Every
image is scored, the last one too, and the best one counts.
"""

import hashlib
import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .editors.protocol import DEFAULT_SETTINGS, Editor, OnStep, Settings, effective_settings
from .errors import RethinkError
from .evaluation.preservation import measure
from .images import as_edit_mask, as_image
from .records import replace_surrogates
from .thinkers.critique import Thinker, critique, polish_instruction, split_instruction
from .thinkers.protocol import OnToken, ThinkerError
from .trajectory import Critique, Preservation, Step, Trajectory, best_of, note_of

STARTS = ("instruction", "polished")
BASES = ("source", "previous")


@dataclass(frozen=True)
class LoopConfig:
    """How a run goes.

    turns: at most so many. candidates: seeds a turn, edited and critiqued as one batch; the best goes on.
    accept: the semantic and quality scores, 0…10, from which an edit is accepted; with a checklist, all its demands too.
    patience: stop after so many turns without a better score; 0: never.
    start: turn 1 edits with the user's instruction, or with the thinker's wording of it.
    base: every turn edits the source again, or the best picture of the turn before.
    checklist: split the instruction into atomic demands and have each verified.
    preserve: points off the score of a picture that has changed all over, in proportion for less. It decides between
        edits that the critic likes equally, not whether one is accepted.
    seed: turn t, candidate c edits with seed + (t − 1) · candidates + c.
    """

    turns: int = 5
    candidates: int = 1
    accept: tuple[float, float] = (8.0, 8.0)
    patience: int = 0
    start: str = "instruction"
    base: str = "source"
    checklist: bool = False
    preserve: float = 0.5
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "accept", tuple(self.accept))  # JSON has lists
        for name, low, high in (("turns", 1, 1000), ("candidates", 1, 64), ("patience", 0, 1000), ("preserve", 0, 10)):
            if not (math.isfinite(getattr(self, name)) and low <= getattr(self, name) <= high):
                raise RethinkError(f"{name}: expected {low} to {high}, got {getattr(self, name)}.")
        if len(self.accept) != 2 or not all(0 <= threshold <= 10 for threshold in self.accept):
            raise RethinkError(f"accept: expected two scores from 0 to 10, got {self.accept}.")
        for name, known in (("start", STARTS), ("base", BASES)):
            if getattr(self, name) not in known:
                raise RethinkError(f"{name}: “{getattr(self, name)}” is unknown; choose one of {', '.join(known)}.")


@dataclass(frozen=True)
class Continue:
    """The loop goes on: with this prompt, written by "user", "thinker" or "human"."""

    prompt: str
    prompt_by: str

    def __post_init__(self):
        object.__setattr__(self, "prompt", replace_surrogates(self.prompt))  # no editor takes half a character


@dataclass(frozen=True)
class Stop:
    """The loop ends. reason: accepted, turns, plateau, human or failed. chosen: the index of the step a person took."""

    reason: str
    message: str = ""
    chosen: int | None = None


# Asked after every turn that another may follow: (the steps so far, what would come next) → what comes next.
SteeringCallback = Callable[[Sequence[Step], Continue | Stop], Continue | Stop]

# Given the edits of a turn before anybody judges them: (turn, IMAGE [candidates, H, W, 3], how each was made, as
# `trajectory.note_of` has it) → the names of the files they are in now. `Trajectory.save_edits` is one.
OnEdits = Callable[[int, Tensor, Sequence[dict[str, Any]]], Sequence[str]]


def think_while_edit(
    editor: Editor,
    thinker: Thinker,
    source: Tensor,
    instruction: str,
    *,
    settings: Settings = DEFAULT_SETTINGS,
    mask: Tensor | None = None,
    judge: Thinker | None = None,
    done: Sequence[Step] = (),
    steer: SteeringCallback | None = None,
    on_step: OnStep | None = None,
    on_edits: OnEdits | None = None,
    on_token: OnToken | None = None,
    **rules,
) -> Generator[Step, None, Stop]:
    """Yields every Step as it is made, a turn's candidates together; returns why it stopped.

    source: IMAGE [1, H, W, 3]. settings, mask: of every edit. judge: another thinker, whose scores then count while
    `thinker` goes on reasoning and rewriting. rules: fields of `LoopConfig` (turns, candidates, accept, patience, …).
    done: the whole turns of a run that was cut off, made with the same arguments (`Trajectory.going_on`); it goes on
        after them, and nothing that was yielded then is yielded again.
    steer, on_step, on_edits, on_token: see `SteeringCallback`, `OnEdits`, and the protocols of editor and thinker. What they raise
        ends the run.
    Pictures are rounded to 8 bits as they are made, so that what was judged is what a file holds.
    A thinker that does not answer ends the run as "failed"; its last steps have no score.
    Raises RethinkError for whatever the user can mend, and what the editor raises.
    """
    rules = LoopConfig(**rules)
    source, instruction = validate_source(source, instruction), replace_surrogates(instruction)
    mask = as_edit_mask(mask, source)
    steps = list(done)
    if len(steps) % rules.candidates:
        raise RethinkError(
            f"candidates: the run to go on with does not have {rules.candidates} a turn; keep its number."
        )
    try:
        checklist = checklist_for(steps, judge or thinker, source, instruction, rules, on_token)
        following = (
            next_action(steps, rules, checklist)
            if steps
            else first_prompt(thinker, source, instruction, rules, on_token)
        )
    except ThinkerError as error:
        return Stop("failed", str(error))
    while True:
        if steps and steer is not None:
            following = apply_steering(steer, steps, following, rules)
        if isinstance(following, Stop):
            return following
        turn = steps[-1].turn + 1 if steps else 1
        base = source if rules.base == "source" or not steps else best_of_last_turn(steps).image
        seeds = turn_seeds(turn, rules)
        started = time.perf_counter()
        prepared = editor.prepare(base)
        edited = editor.edit(prepared, [following.prompt] * len(seeds), seeds, settings, mask=mask, on_step=on_step)
        edited, seconds = quantize_to_8bit(as_image(edited)), time.perf_counter() - started
        used = effective_settings(editor, prepared, seeds, settings)
        files = save_edits(on_edits, turn, edited, following, seeds, used)
        made = critique_turn(
            thinker,
            source,
            edited,
            instruction,
            following,
            turn,
            seeds,
            rules,
            edit_seconds=seconds,
            mask=mask,
            judge=judge,
            checklist=checklist,
            on_token=on_token,
            files=files,
            settings=used,
        )
        steps = [replace(step, image=None) for step in steps] + made  # pixels of the current turn only
        yield from made
        following = next_action(steps, rules, checklist)


def save_edits(
    on_edits: OnEdits | None,
    turn: int,
    edited: Tensor,
    prompt: Continue,
    seeds: Sequence[int],
    settings: Sequence[dict[str, Any] | None],
) -> Sequence[str]:
    """Hand the edits of a turn on, with how each was made; → the names of their files, none where nobody keeps them."""
    if on_edits is None:
        return ()
    notes = [note_of(prompt.prompt, seed, each) for seed, each in zip(seeds, settings, strict=True)]
    return on_edits(turn, edited, notes)


def validate_source(source: Tensor, instruction: str) -> Tensor:
    """The source as it is edited and recorded, [1, H, W, 3] of 8 bits; RethinkError where a run cannot begin."""
    source = as_image(source, "source")
    if len(source) != 1:
        raise RethinkError(f"source: one image is edited at a time, got a batch of {len(source)}; make it a list.")
    if not instruction.strip():
        raise RethinkError("instruction: is empty; say what to change, for example “make it snow”.")
    return quantize_to_8bit(source)


def critique_turn(
    thinker: Thinker,
    source: Tensor,
    edited: Tensor,
    instruction: str,
    prompt: Continue,
    turn: int,
    seeds: Sequence[int],
    rules: LoopConfig,
    *,
    edit_seconds: float = 0.0,
    mask: Tensor | None = None,
    judge: Thinker | None = None,
    checklist: Sequence[str] = (),
    on_token: OnToken | None = None,
    files: Sequence[str] = (),
    settings: Sequence[dict[str, Any] | None] = (),
) -> list[Step]:
    """The steps of one turn: every candidate of `edited` [rows, H, W, 3] measured, and critiqued as one batch.

    Wherever the pictures come from: this is what a turn is, for an Editor and for any other way to edit.
    files: where the edits are written already; settings: what each was really sampled with; both by candidate, if known.
    """
    preserved = measure(source, edited, mask)
    images = list(edited.split(1))
    started = time.perf_counter()
    arguments = (source, images, instruction, [prompt.prompt] * len(images), seeds)
    critiques = critique(thinker, *arguments, checklist=checklist if judge is None else (), on_token=on_token)
    judges: Sequence[Critique | None] = [None] * len(images)
    if judge is not None:
        judges = critique(judge, *arguments, checklist=checklist, on_token=on_token)
    seconds = (time.perf_counter() - started) / len(images)
    return [
        Step(
            turn,
            index,
            prompt.prompt,
            prompt.prompt_by,
            seeds[index],
            critiques[index],
            preserved[index],
            score_of(judges[index] or critiques[index], preserved[index], rules),
            edit_seconds / len(images),
            seconds,
            judges[index],
            images[index],
            files[index] if files else "",
            settings[index] if settings else None,
        )
        for index in range(len(images))
    ]


def score_of(verdict: Critique, preserved: Preservation, rules: LoopConfig) -> float | None:
    """What a step is ranked by, 0…10: None without scores, 0 when nothing has changed, whatever the critic says."""
    if verdict.overall is None:
        return None
    return 0.0 if preserved.unchanged else max(0.0, verdict.overall - rules.preserve * preserved.changed)


def is_accepted(step: Step, rules: LoopConfig, checklist: Sequence[str] = ()) -> bool:
    """Whether a step is good enough to stop at: both scores, every demand, and something has changed."""
    verdict = step.judge or step.critique
    if verdict.semantic is None or step.preservation.unchanged:
        return False
    verified = not checklist or (len(verdict.checklist) == len(checklist) and all(d.passed for d in verdict.checklist))
    return verified and verdict.semantic >= rules.accept[0] and verdict.quality >= rules.accept[1]


def next_action(steps: Sequence[Step], rules: LoopConfig, checklist: Sequence[str] = ()) -> Continue | Stop:
    """What comes after these steps, of which there is at least one whole turn."""
    turn = steps[-1].turn
    last = [step for step in steps if step.turn == turn]
    if any(is_accepted(step, rules, checklist) for step in last):
        return Stop("accepted")
    for verdicts in ([step.critique for step in last], [step.judge for step in last]):
        if all(verdict is not None and verdict.status == "failed" for verdict in verdicts):
            return Stop("failed", verdicts[0].note)
    if turn >= rules.turns:
        return Stop("turns")
    if rules.patience and turn - steps[best_of(steps)].turn >= rules.patience:
        return Stop("plateau", f"No better edit in {rules.patience} turn{'s' * (rules.patience > 1)}.")
    return proposed_prompt(steps)


def proposed_prompt(steps: Sequence[Step]) -> Continue:
    """What the thinker would have tried next, whether or not the run goes on."""
    best = best_of_last_turn(steps)
    if best.critique.next_prompt:
        return Continue(best.critique.next_prompt, "thinker")
    return Continue(best.prompt, best.prompt_by)  # nothing better was said: the same words, with another seed


def apply_steering(
    steer: SteeringCallback, steps: Sequence[Step], following: Continue | Stop, rules: LoopConfig
) -> Continue | Stop:
    """What comes next where a person may step in: not after the last turn, nor where the thinker has failed."""
    failed = isinstance(following, Stop) and following.reason == "failed"
    return following if failed or steps[-1].turn >= rules.turns else steer(tuple(steps), following)


def turn_seeds(turn: int, rules: LoopConfig) -> list[int]:
    """The seeds of a turn's candidates, 64 bits each; no two steps of a run share one."""
    first = rules.seed + (turn - 1) * rules.candidates
    return [(first + candidate) % 2**64 for candidate in range(rules.candidates)]


def quantize_to_8bit(image: Tensor) -> Tensor:
    """An IMAGE as its PNG would hold it; a picture that came from one is given back itself, bit for bit."""
    rounded = (image * 255).round().to(torch.uint8).float() / 255
    return image if torch.equal(rounded, image) else rounded  # whoever keeps both keeps one


def run_config(
    rules: LoopConfig,
    settings: Settings,
    editor: str,
    thinker: Thinker,
    judge: Thinker | None = None,
    mask: Tensor | None = None,
) -> dict[str, Any]:
    """How a run is run, as a Trajectory's options: plain JSON values. Mask and templates leave their fingerprints."""
    return {
        "rules": {**asdict(rules), "accept": list(rules.accept)},
        "settings": asdict(settings),
        "editor": editor,
        "thinker": thinker.chat.name,
        "judge": judge.chat.name if judge else "",
        **_asked(thinker),
        **(_asked(judge, "judge_") if judge else {}),
        "mask": "" if mask is None else fingerprint(mask.cpu().float().numpy().tobytes()),
    }


def _asked(thinker: Thinker, prefix: str = "") -> dict[str, Any]:
    """How a thinker is asked, for `options_of`."""
    template = fingerprint(thinker.template.encode())
    asked = {"template": template, "max_tokens": thinker.max_tokens, "temperature": thinker.temperature}
    return {prefix + name: value for name, value in asked.items()}


def fingerprint(content: bytes) -> str:
    """16 hex digits that tell one content from another in a record."""
    return hashlib.sha256(content).hexdigest()[:16]


def require_same_run(trajectory: Trajectory, source: Tensor, instruction: str, options: dict[str, Any]) -> None:
    """Raise RethinkError where going on with these would mix two runs. Only when to stop may differ.

    A choice that an older record does not hold is taken to be the same.
    """
    if instruction != trajectory.instruction or not torch.equal(quantize_to_8bit(source), trajectory.source):
        raise RethinkError(f"trajectory: {trajectory.folder} is the run of another picture or instruction.")
    when = dict.fromkeys(("turns", "patience", "accept"))
    ours, theirs = ({**each, "rules": {**each.get("rules", {}), **when}} for each in (options, trajectory.options))
    other = sorted(key for key in ours if ours[key] != theirs.get(key, ours[key]))
    if other:
        raise RethinkError(f"trajectory: {trajectory.folder} was run with another choice of {', '.join(other)}.")


def best_of_last_turn(steps: Sequence[Step]) -> Step:
    """The best candidate of the last turn: the one that goes on."""
    last = [step for step in steps if step.turn == steps[-1].turn]
    return last[best_of(last)]


def first_prompt(
    thinker: Thinker, source: Tensor, instruction: str, rules: LoopConfig, on_token: OnToken | None = None
) -> Continue:
    """What turn 1 is told. Raises ThinkerError when the thinker shall word it and does not answer."""
    if rules.start == "instruction":
        return Continue(instruction, "user")
    return Continue(polish_instruction(thinker, source, instruction, rules.seed, on_token), "thinker")


def checklist_for(
    steps: Sequence[Step],
    thinker: Thinker,
    source: Tensor,
    instruction: str,
    rules: LoopConfig,
    on_token: OnToken | None = None,
) -> tuple[str, ...]:
    """What a checklist verifies: what the steps so far verified, or the instruction split by `thinker`.

    Empty where the rules want none. Raises ThinkerError when the thinker does not answer.
    """
    if not rules.checklist:
        return ()
    for step in steps:  # a run that goes on verifies what it verified before
        verdict = step.judge or step.critique
        if verdict.checklist:
            return tuple(demand.text for demand in verdict.checklist)
    return split_instruction(thinker, source, instruction, rules.seed, on_token)
