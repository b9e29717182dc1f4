"""Edits of built-in scenes, and the instructions for them at three levels and in wide English.

plain: everyday wording, which the built-in editor learns; some wordings are held out to measure generalization.
unusual: other words for colors, shapes and actions. reasoning: the target must be worked out from the image.
wide: any of these edits in sentences grown from rules (`english`), of which whole ones are held out.
Only plain ones occur in the editor's training: the others are the thinker's work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from random import Random

from .phrasings import (
    HELD_OUT_REASONING,
    HELD_OUT_UNUSUAL,
    HELD_OUT_WORDINGS,
    REASONING_WORDINGS,
    SYNONYMS,
    UNUSUAL_WORDINGS,
    WORDINGS,
)
from .scene import (
    BACKGROUNDS,
    COLORS,
    HELD_OUT_LOOKS,
    LOOKS,
    PLACES,
    SHAPES,
    SIZES,
    Scene,
    SceneObject,
    has_held_out_look,
    is_test_scene,
    sample_scene,
)

KINDS = ("recolor", "reshape", "resize", "move", "add", "remove", "background", "cover", "uncover")
LEVELS = ("plain", "unusual", "reasoning")
WIDE, REASONED = "wide", 0.15  # the level of wide English, and the share of it that is to be worked out
TRAIN_LOOKS = tuple(look for look in LOOKS if look not in HELD_OUT_LOOKS)


@dataclass(frozen=True)
class Task:
    """One exercise: a source, an instruction, and every scene that counts as having followed it (the first is typical).

    wording: the template of the instruction; in wide English the group of its held-out rules, "" for none.
    """

    source: Scene
    instruction: str
    accepted: tuple[Scene, ...]
    kind: str
    level: str
    wording: str = ""

    @property
    def target(self) -> Scene:
        return self.accepted[0]


# By level: the wordings for training, and the held-out ones.
TABLES = {
    "plain": {"known": WORDINGS, "held_out": HELD_OUT_WORDINGS},
    "unusual": {"known": UNUSUAL_WORDINGS, "held_out": HELD_OUT_UNUSUAL},
    "reasoning": {"known": REASONING_WORDINGS, "held_out": HELD_OUT_REASONING},
}


def sample_task(
    seed: int,
    level: str = "plain",
    *,
    split: str = "test",
    kind: str | None = None,
    wording: str = "known",
    looks: str = "known",
) -> Task:
    """A task drawn from `seed`.

    level: one of `LEVELS`, or `WIDE`. split: "train" or "test", by hash of the source scene. kind: one of `KINDS`, else
    any. wording: "known" or "held_out"; in wide English one of `english.GROUPS` too. looks: "known", or "held_out" to have
    a color-shape pair that training never showed as the thing asked about or as its result.
    """
    rng = Random(f"{split}-{level}-{wording}-{looks}-{seed}")
    reasoned = level == "reasoning" or (level == WIDE and kind is None and rng.random() < REASONED)
    while True:
        drawn = kind or rng.choice(KINDS)
        task = _reasoning_task(rng, level, wording, looks) if reasoned else _try_task(rng, level, drawn, wording, looks)
        if task and is_test_scene(task.source) == (split == "test"):
            return task


def other_task(rng: Random, task: Task) -> Task | None:
    """A plain task on the same scene with another outcome, or None if a black square hides the difference."""
    if any(thing.covered for thing in task.source.things):
        return None
    while True:
        kind = rng.choice([kind for kind in KINDS if kind != "uncover"])
        edit = _EDITS[kind](rng, task.source, TRAIN_LOOKS)
        if edit and not has_held_out_look(edit[2][0]) and edit[2][0] not in task.accepted:
            _, words, accepted = edit
            return Task(task.source, WORDINGS[kind][0].format(**words), accepted, kind, "plain", WORDINGS[kind][0])


def _try_task(rng: Random, level: str, kind: str, wording: str, looks: str) -> Task | None:
    from .english import Edit, write_request

    source = sample_scene(rng, looks=TRAIN_LOOKS if looks == "known" else LOOKS)
    edit = _EDITS[kind](rng, source, TRAIN_LOOKS if looks == "known" else tuple(HELD_OUT_LOOKS))
    if edit is None:
        return None
    source, words, accepted = edit
    if looks == "known" and has_held_out_look(accepted[0]):
        return None
    if looks == "held_out" and not _held_out_change(source, accepted[0]):
        return None
    if level == WIDE:
        group = _group(rng, wording)
        return Task(source, write_request(rng, Edit(kind, source, accepted), group), accepted, kind, level, group)
    if level == "unusual":
        words = {name: with_synonyms(rng, text) for name, text in words.items()}
    wording = rng.choice(TABLES[level][wording][kind])
    return Task(source, with_articles(wording.format(**words)), accepted, kind, level, wording)


def _group(rng: Random, wording: str) -> str:
    """Which rules of wide English are held out: "" for none."""
    from .english import GROUPS

    if wording == "held_out":
        return rng.choice(GROUPS)
    return "" if wording == "known" else wording


def _held_out_change(source: Scene, target: Scene) -> bool:
    changed = set(source.things) ^ set(target.things)
    return any(thing.look in HELD_OUT_LOOKS for thing in changed)


def with_synonyms(rng: Random, text: str) -> str:
    """A text with most words that have `SYNONYMS` replaced by one."""
    for word, others in SYNONYMS.items():
        whole = rf"\b{word}\b"
        if re.search(whole, text) and rng.random() < 0.7:
            text = re.sub(whole, rng.choice(others), text)
    return text


def with_articles(text: str) -> str:
    """A text of this world with “an” where English requires it."""
    return re.sub(r"\ba (?=(orange|emerald|ivory|enormous|ash)\b)", "an ", text)


def _refer(rng: Random, scene: Scene, thing: SceneObject) -> str:
    """A name of the thing that is unambiguous in the scene."""
    only_shape = sum(t.shape == thing.shape and not t.covered for t in scene.things) == 1
    draw = rng.random()
    if draw < 0.15 and only_shape:
        return f"the {thing.shape}"
    if draw < 0.3:
        return f"the {thing.name} at the {PLACES[thing.cell]}"
    return f"the {thing.name}"


# --- plain edits: (rng, source, looks allowed for results) → (source, words, accepted scenes) or None ----------------


def _pick(rng: Random, source: Scene) -> SceneObject:
    return rng.choice(source.things)


def _recolor(rng, source, looks):
    thing = _pick(rng, source)
    color = rng.choice([c for c in COLORS if c != thing.color])
    done = source.with_thing(thing.cell, replace(thing, color=color))
    return source, {"x": _refer(rng, source, thing), "color": color}, (done,)


def _reshape(rng, source, looks):
    thing = _pick(rng, source)
    shape = rng.choice([s for s in SHAPES if s != thing.shape])
    done = source.with_thing(thing.cell, replace(thing, shape=shape))
    return source, {"x": _refer(rng, source, thing), "shape": shape}, (done,)


def _resize(rng, source, looks):
    thing = _pick(rng, source)
    step = {0: 1, 1: rng.choice((-1, 1)), 2: -1}[thing.size]
    done = source.with_thing(thing.cell, replace(thing, size=thing.size + step))
    return source, {"x": _refer(rng, source, thing), "size": "bigger" if step > 0 else "smaller"}, (done,)


def _move(rng, source, looks):
    if not source.empty_cells:
        return None
    thing, cell = _pick(rng, source), rng.choice(source.empty_cells)
    done = source.with_thing(thing.cell, None).with_thing(cell, thing)
    return source, {"x": _refer(rng, source, thing), "place": PLACES[cell]}, (done,)


def _add(rng, source, looks):
    """Leaves out the place in a fifth and the color in a tenth of the cases: any valid answer is accepted."""
    if not source.empty_cells:
        return None
    color, shape = rng.choice(looks)
    size = rng.choice((None, 0, 1, 2))
    cells, colors, at = [rng.choice(source.empty_cells)], [color], ""
    if rng.random() < 0.2:
        cells = list(source.empty_cells)
        rng.shuffle(cells)
    else:
        at = f" at the {PLACES[cells[0]]}"
    free_color = rng.random() < 0.1
    if free_color:  # the sampled color comes first: it is what training shows
        colors += [c for c in COLORS if c != color]
    new = " ".join(["a", *([] if size is None else [SIZES[size]]), *([] if free_color else [color]), shape])
    thing = SceneObject(0, shape, color, 1 if size is None else size)
    accepted = tuple(source.with_thing(cell, replace(thing, color=c)) for c in colors for cell in cells)
    return source, {"new": new, "at": at}, accepted


def _remove(rng, source, looks):
    thing = _pick(rng, source)
    return source, {"x": _refer(rng, source, thing)}, (source.with_thing(thing.cell, None),)


def _background(rng, source, looks):
    name = rng.choice([b for b in BACKGROUNDS if b != source.background])
    return source, {"background": name}, (replace(source, background=name),)


def _cover(rng, source, looks):
    thing = _pick(rng, source)
    done = source.with_thing(thing.cell, replace(thing, covered=True))
    return source, {"x": _refer(rng, source, thing)}, (done,)


def _uncover(rng, source, looks):
    thing = _pick(rng, source)
    covered = source.with_thing(thing.cell, replace(thing, covered=True))
    return covered, {"new": f"a {thing.name}"}, (source,)


_EDITS = {
    "recolor": _recolor,
    "reshape": _reshape,
    "resize": _resize,
    "move": _move,
    "add": _add,
    "remove": _remove,
    "background": _background,
    "cover": _cover,
    "uncover": _uncover,
}


# --- reasoning: rules (rng, scene) → (kind, words, accepted scene) or None --------------------------------------------


def _extreme(scene: Scene, sign: int) -> SceneObject | None:
    """The one smallest (sign -1) or largest (+1) thing, if it is the only one of its size."""
    size = max(scene.things, key=lambda t: sign * t.size).size
    matching = [t for t in scene.things if t.size == size]
    return matching[0] if len(matching) == 1 and len(scene.things) > 1 else None


def _small_like_large(rng, scene):
    small, large = _extreme(scene, -1), _extreme(scene, 1)
    if not small or not large or small == large or small.color == large.color:
        return None
    return "recolor", {}, scene.with_thing(small.cell, replace(small, color=large.color))


def _remove_smallest(rng, scene):
    thing = _extreme(scene, -1)
    return thing and ("remove", {}, scene.with_thing(thing.cell, None))


def _remove_largest(rng, scene):
    thing = _extreme(scene, 1)
    return thing and ("remove", {}, scene.with_thing(thing.cell, None))


def _remove_diagonal(rng, scene):
    anchor = _pick(rng, scene)
    thing = scene.at(3 - anchor.cell)
    return thing and ("remove", {"a": f"the {anchor.name}"}, scene.with_thing(thing.cell, None))


def _same_color(rng, scene):
    if len(scene.things) < 2:
        return None
    thing, other = rng.sample(scene.things, 2)
    if thing.color == other.color or any(sum(t.shape == x.shape for t in scene.things) > 1 for x in (thing, other)):
        return None
    done = scene.with_thing(thing.cell, replace(thing, color=other.color))
    return "recolor", {"a": f"the {thing.shape}", "b": f"the {other.shape}"}, done


def _same_shape_beside(rng, scene):
    return _same_shape(rng, scene, lambda cell: cell ^ 1)


def _same_shape_above(rng, scene):
    return _same_shape(rng, scene, lambda cell: cell - 2)


def _same_shape_below(rng, scene):
    return _same_shape(rng, scene, lambda cell: cell + 2)


def _same_shape(rng, scene, neighbor):
    anchor = _pick(rng, scene)
    thing = scene.at(neighbor(anchor.cell))
    if not thing or thing.shape == anchor.shape:
        return None
    return "reshape", {"a": f"the {anchor.name}"}, scene.with_thing(thing.cell, replace(thing, shape=anchor.shape))


def _fill_the_gap(rng, scene):
    if len(scene.empty_cells) != 1:
        return None
    thing = _pick(rng, scene)
    done = scene.with_thing(scene.empty_cells[0], replace(thing, dx=0, dy=0))
    return "add", {"a": f"the {thing.name}"}, done


def _move_to_gap(rng, scene):
    thing = _extreme(scene, 1)
    if len(scene.empty_cells) != 1 or not thing:
        return None
    return "move", {}, scene.with_thing(thing.cell, None).with_thing(scene.empty_cells[0], thing)


def _odd_one_out(rng, scene):
    for thing in scene.things:
        others = [t for t in scene.things if t != thing]
        if len(others) > 1 and len({t.color for t in others}) == 1 and others[0].color != thing.color:
            return "remove", {"a": others[0].color}, scene.with_thing(thing.cell, None)
    return None


_RULES = {
    "small_like_large": _small_like_large,
    "remove_smallest": _remove_smallest,
    "remove_largest": _remove_largest,
    "remove_diagonal": _remove_diagonal,
    "same_color": _same_color,
    "same_shape_beside": _same_shape_beside,
    "same_shape_above": _same_shape_above,
    "same_shape_below": _same_shape_below,
    "fill_the_gap": _fill_the_gap,
    "move_to_gap": _move_to_gap,
    "odd_one_out": _odd_one_out,
}


def _reasoning_task(rng: Random, level: str, wording: str, looks: str) -> Task | None:
    from .english import Edit, write_request

    scene, name = sample_scene(rng, looks=TRAIN_LOOKS if looks == "known" else LOOKS), rng.choice(tuple(_RULES))
    edit = _RULES[name](rng, scene)
    if not edit or has_held_out_look(edit[2]):
        return None
    kind, words, done = edit
    if level == WIDE:
        group = _group(rng, wording)
        text = write_request(rng, Edit(kind, scene, (done,), name, words), group)
        return Task(scene, text, (done,), kind, level, group)
    template = rng.choice(TABLES[level][wording][name])
    return Task(scene, template.format(**words), (done,), kind, level, template)
