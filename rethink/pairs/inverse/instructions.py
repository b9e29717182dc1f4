"""From what an operation hid to the instruction that brings it back.

A vision-language model, or the user, names the place and describes what can no longer be seen there; that and the
operation's template variables go into one of its templates. For a black square over a face: “Remove the black square
from the man's face. He has brown hair and round glasses.”
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np

from ...errors import RethinkError
from ...text_files import one_line
from ...thinkers.asking import ChatFn, MapFn, ask, find_json_object, is_refusal, message, strip_reasoning
from ..pixels import from_pixels
from .operations import Box, bounding_box
from .templates import TEMPLATES

# → damaged, original uint8 [H, W, 3], changed bool [H, W]
LoadImages = Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]

MAX_DESCRIPTION = 400  # characters; a longer answer is rambling
NOTHING = frozenset(
    ("", "none", "null", "nil", "nan", "n/a", "na", "undefined", "unknown", "nothing", "not applicable", "no place")
)
DETERMINERS = frozenset(
    [
        "the",
        "a",
        "an",
        "this",
        "that",
        "these",
        "those",
        "his",
        "her",
        "its",
        "their",
        "my",
        "your",
        "our",
        "some",
        "both",
        "two",
        "three",
        "four",
    ]
)

DESCRIBE = """Two images. The first is what a user of an image editor sees; a part of it was changed{where}. \
The second shows the original of that part. Say what the user cannot see any more: {hidden}.
Answer with one JSON object and nothing else:
{{"place": "what that part is, as two to five words with an article or a possessive, e.g. the shop's window", \
"description": "one or two short sentences about what is hidden, e.g. It shows two red hats on a shelf."}}
Do not mention the change itself. Do not repeat what the first image still shows. Do not guess names."""

PARAPHRASE = """Say this instruction to an image editor in other words, as another person would. Keep every fact. \
Answer with the new instruction alone, in one line.

{instruction}"""


@dataclass(frozen=True)
class Description:
    """place: a noun phrase ("the man's face"), or "". hidden: what can no longer be seen, as sentences, or ""."""

    place: str = ""
    hidden: str = ""


UNDESCRIBED = Description()


@dataclass(frozen=True)
class InstructionWriter:
    """Writes the instruction of a pair.

    chat: describes what was hidden; None: only the user's own description is used. paraphrase: the chat rewords the
        instruction.
    templates: {operation id: [template, …]}, which replace the built-in ones.
    user_description: for every pair that has none of its own.
    map_fn: `map`, or a function that asks the chat about several pairs at once.
    """

    chat: ChatFn | None = None
    paraphrase: bool = False
    templates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    user_description: Description = UNDESCRIBED
    map_fn: MapFn = map

    def __post_init__(self):
        for id, templates in self.templates.items():
            known = set().union(
                *(_names(t) for key, group in TEMPLATES.items() if key.split("/")[0] == id for t in group)
            )
            if not known and not any(key.split("/")[0] == id for key in TEMPLATES):
                raise RethinkError(f"templates: there is no operation {id!r}.")
            if not templates or isinstance(templates, str):
                raise RethinkError(f"templates: {id} needs a list of at least one template.")
            for template in templates:
                if unknown := sorted(_names(template) - known - {"place"}):
                    raise RethinkError(
                        f"templates: {template!r} uses {{{unknown[0]}}}; {id} provides {', '.join(sorted(known | {'place'}))}."
                    )
        if self.paraphrase and self.chat is None:
            raise RethinkError("paraphrase: needs a thinker.")

    def write(
        self,
        operation_id: str,
        hidden_what: str,
        words: Mapping[str, str],
        load_images: LoadImages,
        known: Description,
        seed: int,
    ) -> tuple[str, Description]:
        """(instruction, description). known: the user's description of this pair, which takes precedence over the chat's.
        load_images: called only if the chat is asked.

        Raises RethinkError with the reason when the chat gives no usable answer (see `ask`).
        """
        known = Description(known.place or self.user_description.place, known.hidden or self.user_description.hidden)
        description = known if hidden_what else Description(known.place)
        templates = self.templates.get(operation_id) or find_templates(operation_id, words)
        if hidden_what and self.chat and not known.hidden:
            damage = next((words[name] for name in ("thing", "drawing") if name in words), "")
            latin = not is_non_latin(" ".join(templates))
            answer = describe(self.chat, *load_images(), hidden_what.format(**words), seed, damage=damage, latin=latin)
            description = Description(known.place or answer.place, answer.hidden)
        instruction = compose(templates, words, description, seed)
        if self.paraphrase and self.chat is not None:
            instruction = reword(self.chat, instruction, seed)
        return instruction, description


TEMPLATES_ONLY = InstructionWriter()


def find_templates(operation_id: str, words: Mapping[str, str]) -> Sequence[str]:
    """The built-in templates of an operation, or of its variant where the words have one."""
    variant = f"{operation_id}/{words.get('variant', '')}"
    return TEMPLATES.get(variant) or TEMPLATES[operation_id]


def compose(templates: Sequence[str], words: Mapping[str, str], description: Description, seed: int) -> str:
    """One of the templates whose names are all known, followed by what is hidden. Templates with {place} are preferred
    where the place has a name. Without a description, some lose their capital and period, as people write."""
    rng = np.random.default_rng([seed, 0xD0])
    known = {**words, "place": description.place} if description.place else dict(words)
    fitting = [t for t in templates if _names(t) <= set(known)]
    if description.place:
        fitting = [t for t in fitting if "place" in _names(t)] or fitting
    if not fitting:
        raise RethinkError(
            f"templates: none of {list(templates)} fits; this pair provides {', '.join(known) or 'no words'}."
        )
    core = fitting[int(rng.integers(len(fitting)))].format_map(known)
    if description.hidden:
        return f"{core} {_sentence(description.hidden)}"
    casual = rng.random() < 0.25 and core.count(".") == 1 and core.endswith(".")
    return core[0].lower() + core[1:-1] if casual else core


def describe(
    chat: ChatFn,
    damaged: np.ndarray,
    original: np.ndarray,
    changed: np.ndarray,
    hidden: str,
    seed: int,
    *,
    damage: str = "",
    latin: bool = True,
) -> Description:
    """Ask the chat what was hidden: it sees the damaged image and, of the original, the part that was changed.

    damaged, original: uint8 [H, W, 3]. changed: bool [H, W]. hidden: what to describe, for the prompt.
    damage: what covers it now; an answer that mentions it is rejected. latin: the script of the instruction.
    """
    box = bounding_box(changed)
    crop = original[box[1] : box[3], box[0] : box[2]]
    text = DESCRIBE.format(where=_where(box, changed.shape), hidden=hidden)
    images = [from_pixels(damaged), from_pixels(crop)]
    messages = [message("user", text, images=2)]

    def read(answer: str) -> Description:
        description = _read_description(answer)
        if damage and damage in f"{description.place} {description.hidden}".lower():
            raise RethinkError("the describer tells of the damage, not of what is hidden")
        if latin and is_non_latin(description.place + description.hidden):
            raise RethinkError("the describer answers in another language than the instruction's")
        return description

    return ask(chat, messages, images, seed, read)


def _read_description(answer: str) -> Description:
    record = find_json_object(answer)
    place, hidden = record.get("place") or "", record.get("description") or ""
    if not (isinstance(place, str) and isinstance(hidden, str) and not is_nothing(hidden)):
        raise RethinkError("the describer's answer has no description")
    if len(place) > 60 or len(hidden) > MAX_DESCRIPTION:
        raise RethinkError("the describer's answer is too long to go into an instruction")
    if is_refusal(hidden):
        raise RethinkError("the describer refused")
    return Description(as_noun_phrase(place), strip_markdown(hidden))


def reword(chat: ChatFn, instruction: str, seed: int) -> str:
    """The instruction in other words, in one line. Raises RethinkError when the chat fails or says nothing usable."""
    from ...thinkers.answer_text import prompt_words

    messages = [message("user", PARAPHRASE.format(instruction=instruction))]

    def read(answer: str) -> str:
        answer = strip_reasoning(answer)
        line = prompt_words(answer)
        if not line or len(line) > 2 * len(instruction) + 60 or "\n" in answer:
            raise RethinkError("the paraphrase is empty, more than a line, or babbles")
        if is_refusal(line):
            raise RethinkError("the thinker refused to paraphrase")
        return line

    return ask(chat, messages, [], seed, read)


def as_noun_phrase(place: str) -> str:
    """A place as a noun phrase within a sentence: “Face.” → “the face”; a proper name keeps its capital."""
    place = "" if is_nothing(place) else strip_markdown(place).rstrip(".")
    first, *more = place.split() or [""]
    if first.lower() in DETERMINERS:
        return " ".join([first.lower(), *more])
    possessive = first.endswith(("'s", "’s", "s'"))
    named = first[:1].isupper() and more and (possessive or all(word[0].isupper() for word in more))
    return place if not place or named or not first.isascii() else f"the {place[0].lower()}{place[1:]}"


def is_nothing(text: str) -> bool:
    """Whether a text is a placeholder that models write for a missing value."""
    return strip_markdown(text).strip(".-–—()[]<> ").lower() in NOTHING


def strip_markdown(text: str) -> str:
    """A text in one line, without Markdown."""
    return one_line(re.sub(r"\*\*|__|`|^\s*[-*#>]+\s", "", text, flags=re.M))


def is_non_latin(text: str) -> bool:
    """Whether most letters are not Latin; quotations, such as the text of a sign, do not count."""
    letters = [letter for letter in re.sub(r"[“\"‘「].*?[”\"’」]", "", text) if letter.isalpha()]
    return sum("LATIN" in unicodedata.name(letter, "") for letter in letters) < len(letters) / 2


def leaks_filename(instruction: str, source: str) -> bool:
    """Whether an instruction reveals the file name of its image."""
    stem = PurePath(source.replace("\\", "/")).stem.casefold()
    distinctive = len(stem) >= 5 and (re.search(r"\d", stem) or re.search(r"[_\-]", stem))
    return bool(distinctive) and stem in instruction.casefold()


def _where(box: Box, shape: tuple[int, int]) -> str:
    """Where the box is, as text for the prompt; "" where it is most of the image."""
    height, width = shape
    if (box[2] - box[0]) * (box[3] - box[1]) > 0.7 * height * width:
        return ""
    across = ("left", "center", "right")[min(2, int(1.5 * (box[0] + box[2]) / width))]
    down = ("top", "middle", "bottom")[min(2, int(1.5 * (box[1] + box[3]) / height))]
    return f", at the {down} {across}"


def _names(template: str) -> set[str]:
    try:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise RethinkError(f"templates: {template!r} has unpaired braces.") from error


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text.rstrip("\"”'’)").endswith((".", "!", "?")) else text + "."
