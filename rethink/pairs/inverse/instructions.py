"""From what an operation hid to the instruction that brings it back.

Someone who sees (a vision-language model behind the Chat protocol, or the user) says what the place is called and what
can no longer be seen there; that and the operation's own words go into one of its templates. On a black square over a
face: “Remove the black square from the man's face. He has brown hair and round glasses.”
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from ...errors import RethinkError, describe_error
from ...thinkers.answer_text import clean_answer, prompt_words
from ..pixels import from_pixels
from .operations import Box, bounding_box
from .templates import TEMPLATES

# chat(messages, images, *, max_tokens, seed, temperature) → the answer; images: IMAGE [1, H, W, 3] each. A message is
# {"role", "content": [{"type": "text", "text"} or {"type": "image"}, …]}: the n-th image part is the n-th image.
Chat = Callable[..., str]
MapFn = Callable[
    [Callable, Iterable], Iterable
]  # each(do, jobs) → do(job) of each, in their order, as `map` gives them
LoadImages = Callable[
    [], tuple[np.ndarray, np.ndarray, np.ndarray]
]  # → damaged, original uint8 [H, W, 3], touched bool [H, W]

TRIES = 3
TEMPERATURE = 0.7
MAX_CONSECUTIVE_FAILURES = 20  # failures in a row
MOST_TOKENS = 2048  # of an answer: models that reason do so aloud before it
LONGEST = 400  # letters; a describer that goes on longer babbles
REFUSALS = (
    "i'm sorry",
    "i am sorry",
    "sorry,",
    "unfortunately",
    "i cannot",
    "i can't",
    "i'm unable",
    "i am unable",
    "i won't",
    "as an ai",
)
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

DESCRIBE = """Two pictures. The first is what a user of an image editor sees; a part of it was changed{where}. \
The second shows the original of that part. Say what the user cannot see any more: {hidden}.
Answer with one JSON object and nothing else:
{{"place": "what that part is, as two to five words with an article or a possessive, e.g. the shop's window", \
"description": "one or two short sentences about what is hidden, e.g. It shows two red hats on a shelf."}}
Do not mention the change itself. Do not repeat what the first picture still shows. Do not guess names."""

PARAPHRASE = """Say this instruction to an image editor in other words, as another person would. Keep every fact. \
Answer with the new instruction alone, in one line.

{instruction}"""


@dataclass(frozen=True)
class Description:
    """place: what the place is called ("the man's face"), or "". hidden: what cannot be seen any more, as sentences."""

    place: str = ""
    hidden: str = ""


UNDESCRIBED = Description()


@dataclass(frozen=True)
class InstructionWriter:
    """Writes the instruction of a pair.

    chat: describes what was hidden; None: only what the user said. paraphrase: let the chat reword what came out.
    templates: the user's own, {operation id: [template, …]}; they take the place of the built-in ones.
    user_description: the user's own words for every pair of which nothing better is known.
    """

    chat: Chat | None = None
    paraphrase: bool = False
    templates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    user_description: Description = UNDESCRIBED

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
                        f"templates: {template!r} uses {{{unknown[0]}}}; {id} knows {', '.join(sorted(known | {'place'}))}."
                    )
        if self.paraphrase and self.chat is None:
            raise RethinkError("paraphrase: needs a thinker.")

    def write(
        self,
        operation_id: str,
        hidden_what: str,
        words: Mapping[str, str],
        look: LoadImages,
        given: Description,
        seed: int,
    ) -> tuple[str, Description]:
        """(instruction, description). What the user gave goes before what the chat says; `look` is called for the chat.

        Raises RethinkError with the reason when the chat fails or says nothing usable, `TRIES` times.
        """
        given = Description(given.place or self.user_description.place, given.hidden or self.user_description.hidden)
        told = given if hidden_what else Description(given.place)
        templates = self.templates.get(operation_id) or find_templates(operation_id, words)
        if hidden_what and self.chat and not given.hidden:
            damage = next((words[name] for name in ("thing", "drawing") if name in words), "")
            latin = not is_non_latin(" ".join(templates))
            seen = describe(self.chat, *look(), hidden_what.format(**words), seed, damage=damage, latin=latin)
            told = Description(given.place or seen.place, seen.hidden)
        instruction = compose(templates, words, told, seed)
        if self.paraphrase and self.chat is not None:
            instruction = reword(self.chat, instruction, seed)
        return instruction, told


TEMPLATES_ONLY = InstructionWriter()


def find_templates(operation_id: str, words: Mapping[str, str]) -> Sequence[str]:
    """The built-in templates of an operation, or of the variant of it that the words name."""
    variant = f"{operation_id}/{words.get('variant', '')}"
    return TEMPLATES.get(variant) or TEMPLATES[operation_id]


def compose(templates: Sequence[str], words: Mapping[str, str], told: Description, seed: int) -> str:
    """One of the templates whose names are all known, with the hidden described after it. A place that was named is
    used; who has nothing to add sometimes writes without capital and full stop, as people do."""
    rng = np.random.default_rng([seed, 0xD0])
    known = {**words, "place": told.place} if told.place else dict(words)
    fitting = [t for t in templates if _names(t) <= set(known)]
    if told.place:
        fitting = [t for t in fitting if "place" in _names(t)] or fitting
    if not fitting:
        raise RethinkError(
            f"templates: none of {list(templates)} fits; this pair knows {', '.join(known) or 'no word'}."
        )
    core = fitting[int(rng.integers(len(fitting)))].format_map(known)
    if told.hidden:
        return f"{core} {_sentence(told.hidden)}"
    casual = rng.random() < 0.25 and core.count(".") == 1 and core.endswith(".")
    return core[0].lower() + core[1:-1] if casual else core


def describe(
    chat: Chat,
    damaged: np.ndarray,
    original: np.ndarray,
    touched: np.ndarray,
    hidden: str,
    seed: int,
    *,
    damage: str = "",
    latin: bool = True,
) -> Description:
    """Ask the chat what was hidden: it sees the damaged picture, and the original crop of the touched place.

    damage: what lies there now; who speaks of that has not said what is hidden. latin: the script of the instruction.
    """
    box = bounding_box(touched)
    crop = original[box[1] : box[3], box[0] : box[2]]
    text = DESCRIBE.format(where=_where(box, touched.shape), hidden=hidden)
    images = [from_pixels(damaged), from_pixels(crop)]
    messages = [message("user", text, pictures=2)]

    def read(answer: str) -> Description:
        told = _read_description(answer)
        if damage and damage in f"{told.place} {told.hidden}".lower():
            raise RethinkError("the describer tells of the damage, not of what is hidden")
        if latin and is_non_latin(told.place + told.hidden):
            raise RethinkError("the describer answers in another language than the instruction's")
        return told

    return ask(chat, messages, images, seed, read)


def _read_description(answer: str) -> Description:
    record = read_json(answer)
    place, hidden = record.get("place") or "", record.get("description") or ""
    if not (isinstance(place, str) and isinstance(hidden, str) and not is_nothing(hidden)):
        raise RethinkError("the describer's answer has no description")
    if len(place) > 60 or len(hidden) > LONGEST:
        raise RethinkError("the describer's answer is too long to go into an instruction")
    if is_refusal(hidden):
        raise RethinkError("the describer refused")
    return Description(as_noun_phrase(place), strip_markdown(hidden))


def reword(chat: Chat, instruction: str, seed: int) -> str:
    """The instruction in other words, in one line. Raises RethinkError when the chat fails or says nothing usable."""
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


def is_refusal(text: str) -> bool:
    """Whether an answer begins as models begin when they will not do what they are asked."""
    return text.replace("’", "'").lstrip().lower().startswith(REFUSALS)


def as_noun_phrase(place: str) -> str:
    """What a place is called, so that it can stand in a sentence: “Face.” → “the face”; a name keeps its capital."""
    place = "" if is_nothing(place) else strip_markdown(place).rstrip(".")
    first, *more = place.split() or [""]
    if first.lower() in DETERMINERS:
        return " ".join([first.lower(), *more])
    possessive = first.endswith(("'s", "’s", "s'"))
    named = first[:1].isupper() and more and (possessive or all(word[0].isupper() for word in more))
    return place if not place or named or not first.isascii() else f"the {place[0].lower()}{place[1:]}"


def is_nothing(text: str) -> bool:
    """Whether a text says that there is nothing to say, as models write it where a value is missing."""
    return strip_markdown(text).strip(".-–—()[]<> ").lower() in NOTHING


def strip_markdown(text: str) -> str:
    """A text in one line without the marks of Markdown."""
    return one_line(re.sub(r"\*\*|__|`|^\s*[-*#>]+\s", "", text, flags=re.M))


def is_non_latin(text: str) -> bool:
    """Whether most letters are not Latin; what is quoted off a sign does not count."""
    letters = [letter for letter in re.sub(r"[“\"‘「].*?[”\"’」]", "", text) if letter.isalpha()]
    return sum("LATIN" in unicodedata.name(letter, "") for letter in letters) < len(letters) / 2


def message(role: str, text: str, pictures: int = 0) -> dict:
    """A message of a conversation, its pictures before its text."""
    return {"role": role, "content": [{"type": "image"}] * pictures + [{"type": "text", "text": text}]}


class ThinkerUnavailable(RethinkError):
    """The last of the tries gave no answer at all; another time it may."""


class FailureStreak:
    """Ends a run with a RethinkError when the thinker has failed so often in a row that the rest would be skipped too."""

    def __init__(self):
        self.failures = 0

    def after(self, failed: bool, why: str) -> None:
        """Take note of one question: whether nobody answered it, and why."""
        self.failures = self.failures + 1 if failed else 0
        if self.failures == MAX_CONSECUTIVE_FAILURES:
            raise RethinkError(
                f"{why} ({MAX_CONSECUTIVE_FAILURES} times in a row); run again when it answers, it goes on."
            )


def ask(chat: Chat, messages, images, seed: int, read: Callable[[str], Any], tries: int = TRIES) -> Any:
    """What `read` makes of the first answer that it does not refuse with a RethinkError; every try has its own seed.

    Raises RethinkError with the last reason; ThinkerUnavailable where that was an error of the chat.
    """
    reason = RethinkError("the thinker was not asked")
    for attempt in range(tries):
        try:
            answer = chat(messages, images, max_tokens=MOST_TOKENS, seed=seed + attempt, temperature=TEMPERATURE)
        except Exception as error:  # a backend may raise anything; a run of days must not end by it
            reason = ThinkerUnavailable(f"the thinker failed: {describe_error(error)}")
            continue
        try:
            return read(clean_answer(answer))
        except RethinkError as error:
            reason = error
    raise reason


def read_json(answer: str) -> dict:
    """The first JSON object in an answer, whatever is written around it. Raises RethinkError where there is none."""
    for value, _, _ in json_values(strip_reasoning(answer), "{"):
        if isinstance(value, dict):
            return value
    raise RethinkError(f"the thinker's answer holds no JSON object ({one_line(answer)[:80]!r})")


def json_values(text: str, opening: str) -> Iterator[tuple[Any, int, int]]:
    """Every JSON value in a text that begins with one of these characters and lies in no other: (value, start, end).

    Raises RethinkError for one that is nested deeper than anybody means it.
    """
    decoder, at = json.JSONDecoder(), 0
    while found := re.compile(f"[{re.escape(opening)}]").search(text, at):
        at = found.end()
        try:
            value, at = decoder.raw_decode(text, found.start())
        except ValueError:
            continue
        except RecursionError as error:
            raise RethinkError("the thinker's answer is nested too deeply to be meant") from error
        yield value, found.start(), at


def strip_reasoning(answer: str) -> str:
    """An answer without what a reasoning model thought aloud, also where the thinking was never opened or closed, and
    without the marks of its tokenizer."""
    answer = clean_answer(answer)
    return re.sub(r"<think>.*?(</think>|$)", "", re.sub(r"^.*?</think>", "", answer, flags=re.S), flags=re.S).strip()


def leaks_filename(instruction: str, source: str) -> bool:
    """Whether an instruction gives away the name of the file that the picture came from."""
    stem = PurePath(source.replace("\\", "/")).stem.casefold()
    telling = len(stem) >= 5 and (re.search(r"\d", stem) or re.search(r"[_\-]", stem))
    return bool(telling) and stem in instruction.casefold()


def _where(box: Box, shape: tuple[int, int]) -> str:
    """Where the box sits, in words; nothing where it is the whole picture."""
    height, width = shape
    if (box[2] - box[0]) * (box[3] - box[1]) > 0.7 * height * width:
        return ""
    across = ("left", "centre", "right")[min(2, int(1.5 * (box[0] + box[2]) / width))]
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


def one_line(text: str) -> str:
    """Every white space one blank; what no encoding can write (half of a pair of surrogates) is left out."""
    return " ".join(text.encode("utf-8", "ignore").decode().split())
