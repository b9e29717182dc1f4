"""The thinker that knows the answer: what an ideal critic of the built-in world says, in the critique format.

Its reasoning names what the source shows, what is asked in plain words, what should be there, what is there instead, and
only then judges: a small model learns to see from such dense words, and hardly from two scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import get_args

import torch

from ..steps import ChecklistItem, Critique, RegionKind
from ..thinkers.critique import Thinker
from ..thinkers.critique_format import format_critique
from ..thinkers.protocol import Placement
from .oracle import CELL_RMS, Observation, Verdict, nearest_object, observe, verdict, visible_object
from .phrasings import WORDINGS
from .scene import BACKGROUNDS, CELL, COLORS, PLACES, SHAPES, SIZES, Scene, SceneObject, has_held_out_look, render
from .tasks import LEVELS, Task, other_task, sample_task, with_articles

REQUESTS = 3  # plain wordings of a task, tried one after another
RIGHT, UNTOUCHED, PERTURBED, WRONG = 0.4, 0.05, 0.25, 0.2  # shares of what a drawn edit did; the rest is wrong all over
MISTAKEN = 0.2  # share of prompts that ask for something else: what counts is what the user asked
MISREAD = 0.35  # share of edits by the user's words that do something else: from what was done it does not follow what was asked
SMEARED_SHARE = 0.15  # share of drawn edits with a cell that is neither one thing nor another


def _write_box(kind: str, part: str) -> str:
    """A line of `regions.ASK`'s answer: corners in thousandths of the image, in the plain form that Qwen2-VL writes."""
    if part == "background":
        return f"{kind}(0,0),(1000,1000)\n"
    row, column = divmod(PLACES.index(part), 2)
    left, top = 500 * column, 500 * row
    return f"{kind}({left},{top}),({left + 500},{top + 500})\n"


BOX_LINES = {(kind, part): _write_box(kind, part) for kind in get_args(RegionKind) for part in (*PLACES, "background")}

# --- what is said ------------------------------------------------------------------------------------------------------


def criticize(task: Task, observation: Observation, prompt: str, checklist: bool = False) -> Critique:
    """The critique of an edit that shows `observation`, made with `prompt`. checklist: include the verified items."""
    outcome, requests = verdict(observation, task), plain_requests(task)
    next_wording = requests[(requests.index(prompt) + 1) % REQUESTS] if prompt in requests else requests[0]
    return Critique(
        "ok",
        semantic_score(outcome, observation, task),
        quality_score(observation),
        reasoning(task, observation),
        prompt if outcome.success else next_wording,
        verify_checklist(task, observation) if checklist else (),
    )


def write_critique(example: CritiqueExample, with_checklist: bool = False) -> str:
    """The critique of an example, as a thinker writes it."""
    return format_critique(criticize(example.task, example.observation, example.prompt, with_checklist))


def write_regions(task: Task, observation: Observation) -> str:
    """The answer to `regions.ASK`: the parts that are wrong, that changed unasked, and where the edit belongs."""
    wrong, changed = wrong_parts(observation, task)
    parts = {"wrong": wrong, "changed": changed, "place": changed_parts(task, observation.answer)}
    return "".join(["\n<boxes>\n", *(BOX_LINES[kind, part] for kind in parts for part in parts[kind]), "</boxes>"])


def write_polished(task: Task) -> str:
    """The answer to `critique.POLISH`: the task in plain words."""
    return f"<think>{_restate_task(task)}</think>\n<answer>{plain_requests(task)[0]}</answer>"


def write_checklist(task: Task) -> str:
    """The answer to `critique.SPLIT`: the statements of `split`."""
    lines = "\n".join(f"{number}. {text}" for number, text in enumerate(split(task), 1))
    return f"<think>{_restate_task(task)}</think>\n<checklist>\n{lines}\n</checklist>"


def reasoning(task: Task, observation: Observation) -> str:
    """What the source shows, what is asked, what should be there, what is there, and what follows from it."""
    disturbed = " and ".join(wrong_parts(observation, task)[1])
    kept = "yes" if verdict(observation, task).kept else f"no, {disturbed or 'a little off all over'}"
    return f"{_restate_task(task)} Edited: {_compare_scenes(task.source, observation)}. Done: {_report_changes(task, observation)}. Else kept: {kept}."


def _restate_task(task: Task) -> str:
    source = f"{_list_objects(task.source.at(cell) for cell in range(4))}, on {task.source.background}"
    meant = "".join(
        f"{thing.name} {PLACES[thing.cell]}: " for thing in task.source.things if thing not in task.target.things
    )
    return f"Source: {source}. Asked: {plain_requests(task)[0]}. Expected: {meant}{', '.join(_expected(task))}."


def semantic_score(outcome: Verdict, observation: Observation, task: Task) -> int:
    """10 for a success, 4 to 6 for over-editing, 0 to 3 for what is not done."""
    if outcome.done:
        return 10 if outcome.kept else max(4, 7 - max(1, len(wrong_parts(observation, task)[1])))
    untouched = all(thing == visible_object(task.source.at(cell)) for cell, thing in enumerate(observation.things))
    if untouched and observation.background[0] == task.source.background:
        return 0
    return 3 if outcome.kept else 1


def quality_score(observation: Observation) -> int:
    """The score by the part that is farthest from anything that could be drawn; 8 at `CELL_RMS`."""
    worst = max(observation.errors)
    return max(0, round(10 - 2 * worst / CELL_RMS if worst <= CELL_RMS else 8 - 50 * (worst - CELL_RMS)))


def plain_requests(task: Task) -> tuple[str, ...]:
    """The task in the words that the editor was trained on, with everything worked out that was left to be inferred."""
    return tuple(with_articles(wording.format(**plain_words(task))) for wording in WORDINGS[task.kind][:REQUESTS])


def split(task: Task) -> list[str]:
    """The task as statements that can be checked one by one: what should change, then what should stay."""
    changed = changed_parts(task)
    kept = [_phrase(thing, PLACES[thing.cell]) for thing in task.source.things if PLACES[thing.cell] not in changed]
    return [*_expected(task), *kept, *([f"on {task.source.background}"] if "background" not in changed else [])]


def verify_checklist(task: Task, observation: Observation) -> tuple[ChecklistItem, ...]:
    """The statements of `split`, and whether they are true of an image."""
    wrong = [part for parts in wrong_parts(observation, task) for part in parts]
    changed = changed_parts(task)
    expected = [part not in wrong for part in changed]
    if task.kind == "add":
        expected = [verdict(observation, task).done]
    kept = [PLACES[thing.cell] not in wrong for thing in task.source.things if PLACES[thing.cell] not in changed]
    background = ["background" not in wrong] if "background" not in changed else []
    return tuple(ChecklistItem(text, met) for text, met in zip(split(task), expected + kept + background, strict=True))


def changed_parts(task: Task, answer: int = 0) -> list[str]:
    """The places that the task changes, and "background"."""
    after = task.accepted[answer]
    places = [PLACES[cell] for cell in range(4) if after.at(cell) != task.source.at(cell)]
    return places + ["background"] * (after.background != task.source.background)


def wrong_parts(observation: Observation, task: Task) -> tuple[list[str], list[str]]:
    """The places (and "background") that do not show what they should: those that the task changes, and the others."""
    scene, changed = task.accepted[observation.answer], changed_parts(task, observation.answer)
    *cells, background = [error <= CELL_RMS for error in observation.errors]
    wrong = [
        PLACES[cell]
        for cell in range(4)
        if not cells[cell] or observation.things[cell] != visible_object(scene.at(cell))
    ]
    if not background or observation.background != (scene.background, scene.gradient):
        wrong.append("background")
    return [part for part in wrong if part in changed], [part for part in wrong if part not in changed]


def plain_words(task: Task) -> dict[str, str]:
    """The plain words for the placeholders of `phrasings`."""
    before = [task.source.at(cell) for cell in range(4)]
    after = [task.target.at(cell) for cell in range(4)]
    changed = [cell for cell in range(4) if before[cell] != after[cell]]
    if not changed:
        return {"background": task.target.background}
    old = next((before[cell] for cell in changed if before[cell]), None)
    new = next((after[cell] for cell in changed if after[cell]), None)
    words = {"x": f"the {old.name}" if old else "", "place": PLACES[new.cell] if new else ""}
    if new:
        words |= {"color": new.color, "shape": new.shape, "new": f"a {new.name}"}
    if task.kind == "resize" and old and new:
        words["size"] = "bigger" if new.size > old.size else "smaller"
    if task.kind == "add" and new:
        any_color, any_place = _left_open(task)
        words["new"] = f"a {_looks(new, any_color)}"
        words["at"] = "" if any_place else f" at the {PLACES[new.cell]}"
    return words


def _left_open(task: Task) -> tuple[bool, bool]:
    """Whether any color, and whether any place, is accepted for the thing to be added."""
    added = [next(t for t in scene.things if t not in task.source.things) for scene in task.accepted]
    return len({t.color for t in added}) > 1, len({t.cell for t in added}) > 1


def _expected(task: Task) -> list[str]:
    """What should be in the changed places afterwards."""
    parts = changed_parts(task)
    if parts == ["background"]:
        return [f"on {task.target.background}"]
    if task.kind == "add":
        any_color, any_place = _left_open(task)
        new = task.target.at(PLACES.index(parts[0]))
        return [f"{_looks(new, any_color)} {'anywhere' if any_place else parts[0]}"]
    return [_phrase(task.target.at(PLACES.index(part)), part) for part in parts]


def _compare_scenes(source: Scene, observation: Observation) -> str:
    """What is seen in every place that shows something or did, what was there, and whether that is the same."""
    seen, was, phrases = _seen(observation), [visible_object(source.at(cell)) for cell in range(4)], []
    for cell, place in enumerate(PLACES):
        if seen[cell] or was[cell]:
            same = "same" if seen[cell] == was[cell] else "changed"
            phrases.append(f"{_phrase(seen[cell], place)} was {_looks(was[cell])} {same}")
    same = "same" if observation.background == (source.background, source.gradient) else "changed"
    return ", ".join([*phrases, f"on {observation.background[0]} was {source.background} {same}"])


def _report_changes(task: Task, observation: Observation) -> str:
    """What should be in the changed places, what is there, and whether that is acceptable."""
    scene, seen, undone = task.accepted[observation.answer], _seen(observation), wrong_parts(observation, task)[0]
    phrases = []
    for part in changed_parts(task, observation.answer):
        yes = "no" if part in undone else "yes"
        if part == "background":
            phrases.append(f"on {scene.background} is {observation.background[0]} {yes}")
        else:
            cell = PLACES.index(part)
            phrases.append(f"{_phrase(scene.at(cell), part)} is {_looks(seen[cell])} {yes}")
    return ", ".join(phrases)


def _seen(observation: Observation) -> list[SceneObject | str | None]:
    return [
        thing if error <= CELL_RMS else "something unclear"
        for thing, error in zip(observation.things, observation.errors)
    ]


def _list_objects(things) -> str:
    return ", ".join(_phrase(thing, PLACES[cell]) for cell, thing in enumerate(things) if thing) or "nothing"


def _phrase(thing: SceneObject | str | None, place: str) -> str:
    return f"{_looks(thing)} {place}"


def _looks(thing: SceneObject | str | None, any_color: bool = False) -> str:
    if not isinstance(thing, SceneObject):
        return thing or "nothing"
    return f"{SIZES[thing.size]} {thing.shape if any_color else thing.name}"


# --- drawn examples -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class CritiqueExample:
    """An edit and its critique. source, edited: IMAGE [1, 128, 128, 3]."""

    task: Task
    source: torch.Tensor
    edited: torch.Tensor
    prompt: str
    observation: Observation


def draw_example(seed: int, split: str = "train", level: str | None = None) -> CritiqueExample:
    """A task of a level, or of any of `LEVELS`, with an edit that was never made: drawn right, wrong, or excessive."""
    rng = Random(f"lesson-{split}-{seed}")
    number, drawn = rng.getrandbits(60), rng.choice(LEVELS)
    task = sample_task(number, level or drawn, split=split, wording="known" if split == "train" else "held_out")
    prompt = task.instruction if rng.random() < 0.5 else rng.choice(plain_requests(task))
    prompt, scene = _go_astray(rng, task, prompt, attempt(rng, task))
    source, edited = render([task.source, scene]).split(1)
    observation = _observe_scene(scene, task)
    if rng.random() < SMEARED_SHARE:
        edited, observation = _smear(rng, edited, observation, task)
    return CritiqueExample(task, source, _soften(rng, edited), prompt, observation)


def _go_astray(rng: Random, task: Task, prompt: str, scene: Scene) -> tuple[str, Scene]:
    """The prompt and its result, or a prompt or an edit for something else that could have been asked for.

    That is mostly of the same kind.
    """
    draw, others = rng.random(), [other_task(rng, task) for _ in range(4)]
    other = next((one for one in others if one and one.kind == task.kind), others[0])
    if other is None or draw >= MISTAKEN + MISREAD:
        return prompt, scene
    if draw < MISREAD:
        return task.instruction, other.target
    return rng.choice(plain_requests(other)), rng.choice((other.target, scene))


def attempt(rng: Random, task: Task) -> Scene:
    """What an edit might have made of the task."""
    right = rng.choice([scene for scene in task.accepted if not has_held_out_look(scene)])
    untouched = [cell for cell in range(4) if right.at(cell) == task.source.at(cell)]
    changed = [cell for cell in range(4) if cell not in untouched]
    draw = rng.random()
    if draw < RIGHT:
        return right
    if draw < RIGHT + UNTOUCHED:
        return task.source
    if draw < RIGHT + UNTOUCHED + PERTURBED:
        return _perturb(rng, right, untouched, rng.choice((1, 1, 2, 3)))
    if draw < RIGHT + UNTOUCHED + PERTURBED + WRONG:
        return _perturb(rng, task.source, range(4)) if rng.random() < 0.5 else _perturb(rng, right, changed or range(4))
    return _perturb(rng, rng.choice((right, task.source)), range(4), rng.choice((2, 3, 4)))


def _perturb(rng: Random, scene: Scene, cells, times: int = 1) -> Scene:
    """The scene with changed things in `cells`, or a changed background."""
    for _ in range(times):
        scene = _perturb_once(rng, scene, cells)
    return scene


def _perturb_once(rng: Random, scene: Scene, cells) -> Scene:
    while True:
        if rng.random() < 0.12:
            other = replace(scene, background=rng.choice([b for b in BACKGROUNDS if b != scene.background]))
        else:
            cell = rng.choice(cells)
            other = scene.with_thing(cell, _change_object(rng, scene.at(cell), cell))
        if other != scene and not has_held_out_look(other):
            return other


def _change_object(rng: Random, thing: SceneObject | None, cell: int) -> SceneObject | None:
    if thing is None:
        return SceneObject(cell, rng.choice(SHAPES), rng.choice(tuple(COLORS)), rng.randrange(3))
    draw = rng.random()
    if draw < 0.3:
        return replace(thing, color=rng.choice(tuple(COLORS)))
    if draw < 0.55:
        return replace(thing, shape=rng.choice(SHAPES))
    if draw < 0.75:
        return replace(thing, size=rng.randrange(3))
    return None if draw < 0.92 else replace(thing, covered=True)


def _observe_scene(scene: Scene, task: Task) -> Observation:
    """What a clean image of `scene` shows."""
    wrong = [sum(scene.at(c) != answer.at(c) for c in range(4)) for answer in task.accepted]
    things = tuple(visible_object(scene.at(cell)) for cell in range(4))
    return Observation(things, (scene.background, scene.gradient), (0.0,) * 5, 99.0, wrong.index(min(wrong)))


def _smear(rng: Random, edited: torch.Tensor, observation: Observation, task: Task) -> tuple[torch.Tensor, Observation]:
    """Turn one cell into a mix of two things, or blur or fade it, and observe it again."""
    cell = rng.randrange(4)
    known = task.accepted[observation.answer].at(cell) or task.source.at(cell)
    at = (slice(None), *(slice(start, start + CELL) for start in (cell // 2 * CELL, cell % 2 * CELL)))
    seen_scene = Scene(*observation.background, tuple(thing for thing in observation.things if thing))
    other = render([seen_scene.with_thing(cell, _change_object(rng, observation.things[cell], cell))])[at]
    edited = edited.clone()
    edited[at] = torch.lerp(edited[at], other, rng.uniform(0.15, 0.85))
    if rng.random() < 0.5:
        edited[at] = _blur(edited[at], rng.choice((5, 9, 13)))
    thing, error = nearest_object(edited, observation.background, cell, known)
    things, errors = list(observation.things), list(observation.errors)
    things[cell], errors[cell] = thing, error
    return edited, replace(observation, things=tuple(things), errors=tuple(errors))


def _soften(rng: Random, image: torch.Tensor) -> torch.Tensor:
    """The softness and grain of an autoencoder."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(rng.getrandbits(60)))
    return (torch.lerp(image, _blur(image, 3), rng.uniform(0, 0.8)) + rng.uniform(0, 0.015) * noise).clamp(0, 1)


def _blur(image: torch.Tensor, width: int) -> torch.Tensor:
    edges = torch.nn.functional.pad(image.movedim(-1, 1), (width // 2,) * 4, mode="replicate")
    return torch.nn.functional.avg_pool2d(edges, width, 1).movedim(1, -1)


# --- a thinker ---------------------------------------------------------------------------------------------------------


class Teacher:
    """A Chat that knows the task and sees through the oracle: it writes trajectories to learn from, and is the upper
    bound for any thinker. It only takes the questions of `thinker()`."""

    name = "teacher"
    placement: Placement = "elsewhere"

    def __init__(self, task: Task):
        self.task = task

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None) -> str:
        prompt = messages[0]["content"][-1]["text"].rsplit("\n", 1)[-1]
        return format_critique(criticize(self.task, observe(images[-1], self.task), prompt))

    def thinker(self) -> Thinker:
        return Thinker(self, "{source}{edited}{instruction}\n{prompt}")
