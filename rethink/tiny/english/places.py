"""Where a thing is, and where it goes: by the name of the corner, by its neighbor, or as the only empty one."""

from __future__ import annotations

from ..scene import PLACES, Scene, SceneObject
from . import words
from .grammar import Edit, Grammar, UnfitError

# By the bits in which two cells differ: where the first is, seen from the second, if it comes before and after it.
RELATIONS = {
    1: (("left of", "to the left of", "next to", "beside"), ("right of", "to the right of", "next to", "beside")),
    2: (("above", "over", "right above", "on top of"), ("below", "under", "beneath", "right below")),
    3: (("diagonally opposite", "diagonally across from"), ("diagonally opposite", "diagonally across from")),
}


class Places(Grammar):
    """The slots that say where."""

    def old_thing(self) -> SceneObject:
        thing = self.edit.old
        if thing is None:
            raise UnfitError
        return thing

    def new_thing(self) -> SceneObject:
        thing = self.edit.new
        if thing is None:
            raise UnfitError
        return thing

    def corner(self, cell: int) -> str:
        """A corner after "the"."""
        name = self.word(words.CORNERS[PLACES[cell]])
        needs = "hand" in name or name in ("nw", "ne", "sw", "se") or "most" in name
        noun = self.choose(("corner", "corner", "quarter", "part", "area", "spot", "quadrant", "side", "section"))
        whole = f"{name} {noun}" if needs or self.rng.random() < 0.4 else name
        return f"{whole} {self.choose(('of the picture', 'of the image'))}" if self.rng.random() < 0.06 else whole

    def spot(self, cell: int) -> str:
        return f"{self.choose(('in', 'in', 'at', 'on'))} the {self.corner(cell)}"

    def target_cell(self) -> int:
        thing = self.new_thing()
        if self.edit.kind == "add" and len({find_added(self.edit, scene).cell for scene in self.edit.accepted}) > 1:
            raise UnfitError
        return thing.cell

    def say_place(self) -> str:
        return self.corner(self.target_cell())

    def say_in(self) -> str:
        near = self._near(self.target_cell())
        return near or self.spot(self.target_cell())

    def say_to(self) -> str:
        near = self._near(self.target_cell())
        if near:
            return near
        return f"{self.choose(('to', 'to', 'to', 'into', 'toward', 'to'))} the {self.corner(self.target_cell())}"

    def _near(self, cell: int) -> str:
        """The cell by its neighbor, or as the only empty one; mostly "", for its name."""
        draw, source = self.rng.random(), self.edit.source
        if draw < 0.12 and source.empty_cells == (cell,):
            noun = self.choose(("corner", "spot", "place", "quarter"))
            return (
                f"{self.choose(('in', 'into'))} the {self.choose(('empty', 'free', 'only empty', 'unoccupied'))} {noun}"
            )
        moved = self.edit.old
        others = [t for t in source.things if t != moved and not t.covered and (t.cell ^ cell) in RELATIONS]
        if draw > 0.88 and others:
            other = self.rng.choice(others)
            return f"{self.choose(RELATIONS[other.cell ^ cell][cell > other.cell])} the {other.name}"
        return ""

    def say_at(self) -> str:
        try:
            return f" {self.say_in()}"
        except UnfitError:
            return ""

    def say_where(self) -> str:
        return self.spot(self.target_cell())

    def say_corner(self) -> str:
        return f"the {self.corner(self.target_cell())}"

    def say_there(self) -> str:
        return self.choose((" there", "", " in it"))

    def say_elsewhere(self) -> str:
        """A place where it should not be."""
        cell = self.target_cell()
        return f"in the {PLACES[self.rng.choice([other for other in range(4) if other != cell])]}"

    def say_empty(self) -> str:
        cell = self.target_cell()
        only = self.edit.source.empty_cells == (cell,)
        return (
            f"the {self.choose(('empty', 'free'))} {self.choose(('corner', 'spot'))}"
            if only
            else f"the {self.corner(cell)}"
        )

    def say_here(self) -> str:
        return self.spot(self.old_thing().cell)

    def say_fromplace(self) -> str:
        return self.corner(self.old_thing().cell)

    def say_direction(self) -> str:
        before, after = self.old_thing().cell, self.target_cell()
        ways = {
            1: ("to the right", "to the right side", "right", "rightward")
            if after > before
            else ("to the left", "to the left side", "left", "leftward"),
            2: ("down", "downward", "to the bottom", "lower")
            if after > before
            else ("up", "upward", "to the top", "higher"),
            3: ("diagonally across", "to the opposite corner", "diagonally", "to the diagonally opposite corner"),
        }
        return self.choose(ways[before ^ after])


def find_added(edit: Edit, scene: Scene) -> SceneObject:
    """The new thing in one of the scenes that adding a thing may lead to."""
    return next(thing for thing in scene.things if thing not in edit.source.things)
