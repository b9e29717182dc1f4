"""Names of things, values, backgrounds and the black square."""

from __future__ import annotations

from ..scene import PLACES, SIZES, SceneObject
from . import words
from .grammar import UnfitError
from .places import RELATIONS, Places, find_added


class Names(Places):
    """The slots that name things unambiguously within the scene."""

    def say_x(self) -> str:
        if self.edit.rule or self.edit.kind == "add":
            raise UnfitError
        if self.edit.kind == "background":
            return self.say_bg()
        if self.edit.kind == "uncover":
            return self.say_blacksq()
        return "it" if self.by_pronoun else self.refer(self.old_thing())

    def say_bare(self) -> str:
        thing = self.old_thing()
        return f"{self.look(thing.color)} {self.name(thing)}" if self.shares_shape(thing) else self.name(thing)

    def say_ax(self) -> str:
        if self.edit.rule or self.edit.kind in ("add", "background", "uncover"):
            raise UnfitError
        thing = self.old_thing()
        return f"a {self.look(thing.color)} {self.name(thing)}"

    def say_another(self) -> str:
        """A thing that should stay unchanged."""
        changed = {self.edit.old, self.edit.new}
        others = [t for t in self.visible() if t not in changed]
        if not others or self.edit.rule:
            raise UnfitError
        thing = self.rng.choice(others)
        return (
            f"the {thing.name}"
            if self.shares_shape(thing)
            else self.choose((f"the {thing.name}", f"the {thing.shape}"))
        )

    def say_noun(self) -> str:
        return self.name(self.old_thing())

    def say_old(self) -> str:
        return self.look(self.old_thing().color)

    def say_oldshape(self) -> str:
        return self.word(words.SHAPE_WORDS[self.old_thing().shape])

    def name(self, thing: SceneObject) -> str:
        return self.word(words.SHAPE_WORDS[thing.shape])

    def shares_shape(self, thing: SceneObject) -> bool:
        return sum(t.shape == thing.shape for t in self.visible()) > 1

    def visible(self) -> list[SceneObject]:
        return [thing for thing in self.edit.source.things if not thing.covered]

    def refer(self, thing: SceneObject) -> str:
        """A name of the thing that fits no other in the scene."""
        if "names" in self.held_out:
            return self._refer_newly(thing)
        return self.choose(self._references(thing))

    def _references(self, thing: SceneObject) -> list[str]:
        seen, name, look = self.visible(), self.name(thing), self.look(thing.color)
        noun, adjective = self.word(words.NOUNS), self.word(words.ADJECTIVES)
        one_shape, one_color = not self.shares_shape(thing), sum(t.color == thing.color for t in seen) == 1
        the = self.rng.choice(("the", "the", "the", "the", "the", "that", "this", "my"))
        size = self.word(words.SIZE_WORDS[SIZES[thing.size]])
        place = self.spot(thing.cell)
        found = [f"{the} {look} {name}"] * 5
        found += [f"the {look} {name} {place}", f"the {noun} {place}", f"the {name} {place}"]
        found += [f"{the} {size} {look} {name}", f"the {name} that is {look}", f"{the} {adjective} {look} {name}"]
        if one_shape:
            found += [f"{the} {name}"] * 4 + [f"{the} {adjective} {name}", f"{the} {size} {name}"]
            found += [f"the {self.invent()} {name}", f"the only {name}"]
        if one_color:
            found += [f"{the} {look} {noun}", f"{the} {look} {noun}", f"{the} {adjective} {look} {noun}"]
            found += [f"the {look} one", f"the {look} {self.invent()}", f"what is {look}"]
        if len(seen) == 1:
            found += ["it", "it", f"the {noun}", f"this {noun}"]
            found += [f"the only {noun} here", f"the only {noun} in the picture"]
        return found + self._by_others(thing, noun)

    def _by_others(self, thing: SceneObject, noun: str) -> list[str]:
        """Names by size and by neighbors."""
        seen, found = self.visible(), []
        others = [other for other in seen if other != thing]
        if others and thing.size > max(other.size for other in others):
            found += [f"the {self.choose(('biggest', 'largest'))} {noun}", f"the {noun} that is bigger than the rest"]
        if others and thing.size < min(other.size for other in others):
            found += [f"the {self.choose(('smallest', 'tiniest'))} {noun}", f"the {noun} that is smaller than the rest"]
        if len(others) == 1:
            found += [f"the {noun} that isn't {others[0].color}", f"the {noun} that is not {others[0].color}"]
            if others[0].shape != thing.shape:
                found += [f"the {noun} that is not a {others[0].shape}", f"the other {noun}, not the {others[0].shape}"]
        for other in others:
            relation = self.choose(RELATIONS[other.cell ^ thing.cell][thing.cell > other.cell])
            found.append(f"the {noun} {relation} the {other.name}")
        return found

    def _refer_newly(self, thing: SceneObject) -> str:
        """By words never trained on, where the rest of the name says which thing is meant."""
        one_shape = not self.shares_shape(thing)
        one_color = sum(t.color == thing.color for t in self.visible()) == 1
        options = []
        if one_shape:
            color, adjective = self.unmet(words.COLOR_WORDS[thing.color]), self.unmet(words.ADJECTIVES)
            options += [f"the {color} {thing.shape}", f"the {adjective} {thing.shape}"]
        if one_color:
            shape, noun = self.unmet(words.SHAPE_WORDS[thing.shape]), self.unmet(words.NOUNS)
            options += [f"the {thing.color} {shape}", f"the {thing.color} {noun}"]
        size, corner = self.unmet(words.SIZE_WORDS[SIZES[thing.size]]), self.unmet(words.CORNERS[PLACES[thing.cell]])
        options += [f"the {size} {thing.color} {thing.shape}", f"the {thing.color} {thing.shape} in the {corner}"]
        options += [f"the {self.unmet(words.NOUNS)} in the {PLACES[thing.cell]}"]
        return self.choose(options)

    def look(self, color: str) -> str:
        """A color before a noun. What is there already is mostly named plainly."""
        return color if self.rng.random() < 0.4 else self.word(words.COLOR_WORDS[color])

    def say_color(self) -> str:
        return self.word(words.COLOR_WORDS[self.new_thing().color], phrases=True)

    def say_shape(self) -> str:
        return f"a {self.word(words.SHAPE_WORDS[self.new_thing().shape])}"

    def say_othercolor(self) -> str:
        return self.choose([color for color in words.COLOR_WORDS if color != self.new_thing().color])

    def say_othershape(self) -> str:
        return f"a {self.choose([shape for shape in words.SHAPE_WORDS if shape != self.new_thing().shape])}"

    def say_otherbg(self) -> str:
        return self.choose([name for name in words.BACKGROUND_WORDS if name != self.edit.accepted[0].background])

    def say_size(self) -> str:
        return self.word(words.CHANGED_SIZES[self.edit.verbs])

    def say_new(self) -> str:
        return self._describe("a")

    def say_thenew(self) -> str:
        return self._describe("the")

    def say_newthere(self) -> str:
        return self._describe(self.choose(("a", "the")))

    def _describe(self, article: str) -> str:
        """The thing to come, as exactly as it is asked for: medium where no size is named, any color where none is."""
        thing, accepted = self.new_thing(), self.edit.accepted
        name, parts = self.name(thing), []
        if self.edit.kind == "add":
            plain = thing.size == 1 and self.rng.random() < 0.5
            parts += [] if plain else [self.word(words.SIZE_WORDS[SIZES[thing.size]])]
        if self.edit.kind != "add" or len({find_added(self.edit, scene).color for scene in accepted}) == 1:
            color = self.word(words.COLOR_WORDS[thing.color])
            if self.rng.random() < 0.12:
                name = f"{name} {self.choose(('in', 'that is'))} {color}"
            else:
                parts.append(color)
        if article == "a" and self.rng.random() < 0.08:
            parts.insert(0, "new")
        return " ".join([article, *parts, name])

    def say_bg(self) -> str:
        if self.by_pronoun:
            return "it"
        if "names" in self.held_out:
            return f"the {self.unmet(words.BACKDROPS)}"
        return f"the {self.word(words.BACKDROPS)}"

    def say_plainbg(self) -> str:
        return self.choose(("background", "backdrop"))

    def say_background(self) -> str:
        return self.word(words.BACKGROUND_WORDS[self.edit.accepted[0].background], phrases=True)

    def say_abg(self) -> str:
        noun = self.choose(("background", "backdrop", "background", "canvas", "backing"))
        return f"a {self.word(words.BACKGROUND_WORDS[self.edit.accepted[0].background])} {noun}"

    def say_oldbg(self) -> str:
        return self.word(words.BACKGROUND_WORDS[self.edit.source.background])

    def say_black(self) -> str:
        return f"a {self.say_bareblack()}"

    def say_blacksq(self) -> str:
        return "it" if self.by_pronoun else f"{self.choose(('the', 'the', 'the', 'that'))} {self.say_bareblack()}"

    def say_bareblack(self) -> str:
        if "names" in self.held_out:
            return self.unmet(words.BLACK_SQUARES)
        return self.word(words.BLACK_SQUARES)

    def say_a(self) -> str:
        return self._named("a")

    def say_b(self) -> str:
        return self._named("b")

    def _named(self, key: str) -> str:
        name = self.edit.named[key]
        thing = next((t for t in self.edit.source.things if name in (f"the {t.name}", f"the {t.shape}")), None)
        if thing is None:  # a color
            return self.look(name)
        options = [f"the {self.look(thing.color)} {self.name(thing)}"] * 2
        return self.choose(options + ([] if self.shares_shape(thing) else [f"the {self.name(thing)}"] * 2))
