"""Edits of built-in scenes, and the words that ask for them at three levels.

plain: everyday wording, what the built-in editor learns; some wordings are held out to measure generalisation.
unusual: other words for colours, shapes and actions. reasoning: the target must be worked out from the picture.
The last two levels never occur in the editor's training: they are the thinker's work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from random import Random

from .scene import (
    BACKGROUNDS, COLORS, HELD_OUT_LOOKS, LOOKS, PLACES, SHAPES, SIZES, Scene, Thing,
    has_held_out_look, is_test_scene, sample_scene,
)  # fmt: skip

KINDS = ("recolor", "reshape", "resize", "move", "add", "remove", "background", "cover", "uncover")
LEVELS = ("plain", "unusual", "reasoning")
TRAIN_LOOKS = tuple(look for look in LOOKS if look not in HELD_OUT_LOOKS)


@dataclass(frozen=True)
class Task:
    """One exercise: a source, an instruction, and every scene that counts as having followed it (the first is typical).

    wording: the template of the instruction, "" where it was not made of one.
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


# Placeholders: {x} the thing, {color} {shape} {place} {to} new values, {background}. Held-out wordings use known words only.
WORDINGS = {
    "recolor": [
        "make {x} {color}", "turn {x} {color}", "change {x} to {color}", "paint {x} {color}", "color {x} {color}",
        "change the color of {x} to {color}", "{x} should be {color}", "give {x} a {color} color",
        "set the color of {x} to {color}", "make the color of {x} {color}", "let {x} become {color}",
        "let {x} be {color}", "make {x} become {color}", "change {x} to be {color}", "draw {x} {color}",
        "color {x} to be {color}", "the color of {x} should be {color}",
    ],
    "reshape": [
        "turn {x} into a {shape}", "make {x} a {shape}", "change {x} into a {shape}", "replace {x} with a {shape}",
        "{x} should be a {shape}", "change the shape of {x} to a {shape}", "swap {x} for a {shape}",
        "let {x} become a {shape}", "give {x} the shape of a {shape}", "transform {x} into a {shape}",
        "make {x} become a {shape}", "let {x} be a {shape}", "draw a {shape} in place of {x}",
        "put a {shape} in the place of {x}", "change {x} to be a {shape}", "make the shape of {x} a {shape}",
        "let the shape of {x} become a {shape}", "there should be a {shape} in place of {x}",
    ],
    "resize": [
        "make {x} {size}", "{x} should be {size}", "change {x} to be {size}", "turn {x} {size}", "let {x} become {size}",
        "make the size of {x} {size}", "scale {x} to be {size}", "draw {x} {size}",
        "make {x} become {size}", "change the size of {x} to be {size}", "let the size of {x} become {size}",
        "the size of {x} should be {size}", "paint {x} {size}",
    ],
    "move": [
        "move {x} to the {place}", "put {x} at the {place}", "place {x} at the {place}", "shift {x} to the {place}",
        "{x} should be at the {place}", "bring {x} to the {place}", "let {x} go to the {place}", "set {x} at the {place}",
        "change the place of {x} to the {place}",
        "take {x} and put it at the {place}", "make {x} go to the {place}", "let {x} move to the {place}",
        "{x} should go to the {place}", "paint {x} at the {place}", "take {x} over to the {place}",
        "change {x} to be at the {place}", "take {x} away and set it at the {place}",
    ],
    "add": [
        "add {new}{at}", "put {new}{at}", "place {new}{at}", "draw {new}{at}", "there should be {new}{at}",
        "insert {new}{at}", "paint {new}{at}", "bring in {new}{at}", "let there be {new}{at}",
        "let {new} appear{at}", "show {new}{at}", "bring {new} in{at}", "take {new} and put it{at}",
        "it should show {new}{at}", "give the background {new}{at}", "make it show {new}{at}",
    ],
    "remove": [
        "remove {x}", "delete {x}", "erase {x}", "take away {x}", "get rid of {x}", "take {x} away", "take {x} out",
        "{x} should go away", "let {x} go away", "make {x} disappear",
        "{x} should disappear", "make {x} go away", "let {x} be taken out", "put {x} away",
        "there should be nothing in place of {x}",
    ],
    "background": [
        "make the background {background}", "change the background to {background}", "turn the background {background}",
        "paint the background {background}", "the background should be {background}", "set the background to {background}",
        "change the color of the background to {background}", "put everything on a {background} background",
        "give it a {background} background", "let the background become {background}",
        "make the background become {background}", "draw the background {background}",
        "change the background to be {background}", "the background should become {background}",
        "put it on a {background} background", "let everything be on a {background} background",
        "set the color of the background to {background}",
    ],
    "cover": [
        "cover {x} with a black square", "hide {x} behind a black square", "put a black square over {x}",
        "place a black square on top of {x}", "draw a black square over {x}", "paint a black square over {x}",
        "{x} should be behind a black square", "let a black square hide {x}", "cover up {x} with a black square",
        "there should be a black square over {x}", "a black square should hide {x}",
        "make a black square appear over {x}", "put {x} behind a black square", "add a black square over {x}",
        "let a black square go over {x}", "bring in a black square to hide {x}",
    ],
    "uncover": [
        "remove the black square. behind it is {new}", "take away the black square. there is {new} behind it",
        "delete the black square. behind it there is {new}", "erase the black square and show {new}",
        "get rid of the black square. it hides {new}", "uncover {new} behind the black square",
        "replace the black square with {new}", "take the black square out. it should show {new}",
        "the black square is over {new}. take it away", "there is {new} behind the black square. remove it",
        "behind the black square is {new}. show it", "make the black square disappear. it hides {new}",
        "the black square should go away and show {new}", "a black square hides {new}. get rid of it",
    ],
}  # fmt: skip
HELD_OUT_WORDINGS = {
    "recolor": ["{x} should become {color}", "paint {x} to be {color}", "set {x} to {color}"],
    "reshape": ["{x} should become a {shape}", "paint a {shape} in place of {x}", "set the shape of {x} to a {shape}"],
    "resize": ["{x} should become {size}", "let {x} be {size}", "set the size of {x} to be {size}"],
    "move": ["let {x} be at the {place}", "take {x} to the {place}", "draw {x} at the {place}"],
    "add": ["set {new}{at}", "give it {new}{at}", "make {new} appear{at}"],
    "remove": ["get {x} out", "let {x} disappear", "{x} should be taken away"],
    "background": ["let the background be {background}", "color the background {background}", "it should be on a {background} background"],
    "cover": ["set a black square on top of {x}", "let a black square cover {x}", "hide {x} with a black square"],
    "uncover": ["let the black square disappear. behind it is {new}", "take the black square away and show {new}",
                "the black square hides {new}. remove it"],
}  # fmt: skip
UNUSUAL_WORDINGS = {
    "recolor": ["dye {x} {color}", "{x} would look better in {color}", "tint {x} so it ends up {color}"],
    "reshape": ["morph {x} to form a {shape}", "I'd rather see a {shape} than {x}", "reforge {x} as a {shape}"],
    "resize": ["{x} ought to be {size}", "adjust the dimensions of {x}: {size}"],
    "move": ["relocate {x} to the {place}", "{x} belongs in the {place}", "drag {x} over to the {place} corner"],
    "add": ["conjure up {new}{at}", "I am missing {new}{at}", "introduce {new}{at}"],
    "remove": ["banish {x}", "I never want to see {x} again", "wipe {x} off the picture"],
    "background": ["everything should happen against {background}", "swap the backdrop for {background}", "redecorate: {background} behind it all"],
    "cover": ["censor {x}", "redact {x} with a dark block", "nobody should see {x}: black it out"],
    "uncover": ["lift the dark block, under it sits {new}", "uncensor it: {new} was there all along"],
}  # fmt: skip
SYNONYMS = {
    "red": ("crimson", "scarlet"), "orange": ("tangerine", "pumpkin-hued"), "yellow": ("golden", "lemon"),
    "green": ("emerald", "grassy"), "blue": ("cobalt", "sapphire"), "purple": ("violet", "plum"),
    "pink": ("rosy", "bubblegum"), "white": ("snowy", "ivory"),
    "circle": ("disc", "ball"), "square": ("box", "block"), "triangle": ("wedge", "pyramid"),
    "star": ("five-pointed figure", "pentagram"), "heart": ("valentine", "love symbol"), "cross": ("plus sign", "plus"),
    "top left": ("upper left", "north-west"), "top right": ("upper right", "north-east"),
    "bottom left": ("lower left", "south-west"), "bottom right": ("lower right", "south-east"),
    "bigger": ("one size up", "more imposing"), "smaller": ("one size down", "more modest"),
    "small": ("tiny", "little"), "large": ("huge", "enormous"), "medium": ("mid-sized", "middling"),
    "beige": ("sand", "cream"), "gray": ("slate", "ash"), "navy": ("midnight blue", "dark blue"),
    "teal": ("dark turquoise", "sea"), "lavender": ("lilac", "pale violet"), "mint": ("pale green", "pistachio"),
}  # fmt: skip


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

    split: "train" or "test", by hash of the source scene. kind: one of `KINDS`, else any. wording: "known" or
    "held_out" (level plain). looks: "known", or "held_out" to have a colour-shape pair that training never showed as
    the thing asked about or as its result.
    """
    rng = Random(f"{split}-{level}-{wording}-{looks}-{seed}")
    while True:
        task = _try_task(rng, level, kind or rng.choice(KINDS), wording, looks)
        if task and is_test_scene(task.source) == (split == "test"):
            return task


def _try_task(rng: Random, level: str, kind: str, wording: str, looks: str) -> Task | None:
    source = sample_scene(rng, looks=TRAIN_LOOKS if looks == "known" else LOOKS)
    if level == "reasoning":
        return _reasoning_task(rng, source)
    asked = _EDITS[kind](rng, source, TRAIN_LOOKS if looks == "known" else tuple(HELD_OUT_LOOKS))
    if asked is None:
        return None
    source, words, accepted = asked
    if looks == "known" and has_held_out_look(accepted[0]):
        return None
    if looks == "held_out" and not _held_out_change(source, accepted[0]):
        return None
    if level == "unusual":
        words = {name: _with_synonyms(rng, text) for name, text in words.items()}
    wording = rng.choice(_wordings(level, wording)[kind])
    return Task(source, _with_articles(wording.format(**words)), accepted, kind, level, wording)


def _wordings(level: str, wording: str) -> dict[str, list[str]]:
    return UNUSUAL_WORDINGS if level == "unusual" else HELD_OUT_WORDINGS if wording == "held_out" else WORDINGS


def _held_out_change(source: Scene, target: Scene) -> bool:
    changed = set(source.things) ^ set(target.things)
    return any(thing.look in HELD_OUT_LOOKS for thing in changed)


def _with_synonyms(rng: Random, text: str) -> str:
    for word, others in SYNONYMS.items():
        if word in text and rng.random() < 0.7:
            text = text.replace(word, rng.choice(others))
    return text


def _with_articles(text: str) -> str:
    return re.sub(r"\ba (?=(orange|emerald|ivory|enormous|ash)\b)", "an ", text)


def _refer(rng: Random, scene: Scene, thing: Thing) -> str:
    """A name of the thing that is unambiguous in the scene."""
    only_shape = sum(t.shape == thing.shape and not t.covered for t in scene.things) == 1
    draw = rng.random()
    if draw < 0.15 and only_shape:
        return f"the {thing.shape}"
    if draw < 0.3:
        return f"the {thing.name} at the {PLACES[thing.cell]}"
    return f"the {thing.name}"


# --- plain edits: (rng, source, looks allowed for results) → (source, words, accepted scenes) or None ----------------


def _pick(rng: Random, source: Scene) -> Thing:
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
    """Leaves out the place in a fifth and the colour in a tenth of the cases: any valid answer is accepted."""
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
    if free_color:  # the sampled colour comes first: it is what training shows
        colors += [c for c in COLORS if c != color]
    new = " ".join(filter(None, ["a", size is not None and SIZES[size], not free_color and color, shape]))
    thing = Thing(0, shape, color, 1 if size is None else size)
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
    "recolor": _recolor, "reshape": _reshape, "resize": _resize, "move": _move, "add": _add, "remove": _remove,
    "background": _background, "cover": _cover, "uncover": _uncover,
}  # fmt: skip


# --- reasoning: rules (rng, scene) → (kind, instruction, accepted scene) or None -------------------------------------


def _extreme(scene: Scene, sign: int) -> Thing | None:
    """The one smallest (sign -1) or largest (+1) thing, if it is the only one of its size."""
    size = max(scene.things, key=lambda t: sign * t.size).size
    found = [t for t in scene.things if t.size == size]
    return found[0] if len(found) == 1 and len(scene.things) > 1 else None


def _small_like_large(rng, scene):
    small, large = _extreme(scene, -1), _extreme(scene, 1)
    if not small or not large or small == large or small.color == large.color:
        return None
    done = scene.with_thing(small.cell, replace(small, color=large.color))
    return "recolor", "make the smallest shape the color of the largest", done


def _remove_extreme(rng, scene):
    word, sign = rng.choice((("smallest", -1), ("largest", 1)))
    thing = _extreme(scene, sign)
    return thing and ("remove", f"remove the {word} shape", scene.with_thing(thing.cell, None))


def _remove_diagonal(rng, scene):
    anchor = _pick(rng, scene)
    thing = scene.at(3 - anchor.cell)
    words = f"remove whatever is diagonally opposite the {anchor.name}"
    return thing and ("remove", words, scene.with_thing(thing.cell, None))


def _same_color(rng, scene):
    if len(scene.things) < 2:
        return None
    thing, other = rng.sample(scene.things, 2)
    if thing.color == other.color or sum(t.shape == thing.shape for t in scene.things) > 1:
        return None
    if sum(t.shape == other.shape for t in scene.things) > 1:
        return None
    done = scene.with_thing(thing.cell, replace(thing, color=other.color))
    return "recolor", f"give the {thing.shape} the same color as the {other.shape}", done


def _same_shape_as_neighbour(rng, scene):
    anchor = _pick(rng, scene)
    word, cell = ("beside", anchor.cell ^ 1) if rng.random() < 0.5 else ("above" if anchor.cell > 1 else "below", anchor.cell ^ 2)
    thing = scene.at(cell)
    if not thing or thing.shape == anchor.shape:
        return None
    done = scene.with_thing(cell, replace(thing, shape=anchor.shape))
    return "reshape", f"the shape {word} the {anchor.name} should have the same shape as it", done


def _fill_the_gap(rng, scene):
    if len(scene.empty_cells) != 1:
        return None
    thing = _pick(rng, scene)
    done = scene.with_thing(scene.empty_cells[0], replace(thing, dx=0, dy=0))
    return "add", f"put a copy of the {thing.name} in the only empty corner", done


def _move_to_gap(rng, scene):
    thing = _extreme(scene, 1)
    if len(scene.empty_cells) != 1 or not thing:
        return None
    done = scene.with_thing(thing.cell, None).with_thing(scene.empty_cells[0], thing)
    return "move", "move the largest shape into the only empty corner", done


def _odd_one_out(rng, scene):
    for thing in scene.things:
        others = [t for t in scene.things if t != thing]
        if len(others) > 1 and len({t.color for t in others}) == 1 and others[0].color != thing.color:
            return "remove", f"remove the only shape that is not {others[0].color}", scene.with_thing(thing.cell, None)
    return None


_RULES = (
    _small_like_large, _remove_extreme, _remove_diagonal, _same_color,
    _same_shape_as_neighbour, _fill_the_gap, _move_to_gap, _odd_one_out,
)  # fmt: skip


def _reasoning_task(rng: Random, scene: Scene) -> Task | None:
    asked = rng.choice(_RULES)(rng, scene)
    if not asked or has_held_out_look(asked[2]):
        return None
    kind, instruction, done = asked
    return Task(scene, instruction, (done,), kind, "reasoning")
