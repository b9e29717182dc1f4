"""What the benchmarks share: items, the questions to a judge about each, and figures with their coverage."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from ...errors import RethinkError
from ...names import path_parts
from ...progress import format_count
from ...text_files import show_name

if TYPE_CHECKING:
    from torch import Tensor

# The numbers from a judge's replies about one item, by name; None for one that was not asked for or could not be read.
Scores = Mapping[str, float | None]
# The scores of every item that was judged, by its id; None where the replies cannot be read.
Judged = Mapping[str, Scores | None]
LoadBytes = Callable[[], bytes]  # an image file, read when needed


class UnreadableReply(RethinkError):
    """A judge's reply for which the benchmark's own script gives no number, a guessed one, or an error."""


@dataclass(frozen=True, eq=False)
class Item:
    """One thing to edit. id: unique in its benchmark. group: the group in which its score is averaged.

    images: by their role: "source", "source 2", …, "truth", or whatever else the judge is shown. tags: other data that
    the benchmark has about it.
    """

    id: str
    group: str
    instruction: str
    images: Mapping[str, LoadBytes] = field(default_factory=dict, repr=False)
    tags: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sources(self) -> list[LoadBytes]:
        """The images that are edited, in order."""
        return [load for role, load in self.images.items() if role.startswith("source")]


@dataclass(frozen=True)
class Shown:
    """An image in a question: the role of one of the item's images, or "edited"."""

    role: str


@dataclass(frozen=True)
class Question:
    """One call of the judge: texts and images in order."""

    name: str
    parts: tuple[str | Shown, ...]


@dataclass(frozen=True)
class Figure:
    """A number in the table. variant: which of several rules in use it follows. items: how many it is the mean of."""

    name: str
    measure: str
    value: float | None
    items: int
    variant: str = ""


@dataclass(frozen=True)
class Summary:
    """A benchmark's result for a set of edits.

    judged: items with a judgment. read: those of them with scores. missing: items without one. notes: sentences.
    """

    figures: tuple[Figure, ...]
    judged: int
    read: int
    missing: int = 0
    notes: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """The share of all items that have scores, 0…1."""
        total = self.judged + self.missing
        return self.read / total if total else 0.0

    def value(self, name: str, measure: str, variant: str = "") -> float | None:
        """One number of the summary. Raises KeyError where there is no such figure."""
        for figure in self.figures:
            if (figure.name, figure.measure, figure.variant) == (name, measure, variant):
                return figure.value
        raise KeyError((name, measure, variant))


@dataclass(frozen=True)
class Items:
    """The contents of a benchmark's files. problems: (item or file, what is wrong with it); such items are left out."""

    items: tuple[Item, ...]
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Published:
    """A number that others have published. judge: who scored. source: where it was published."""

    editor: str
    figure: str
    value: float
    judge: str
    source: str


@dataclass(frozen=True)
class Results:
    """What a benchmark's own scripts have left in a folder. items: those in it, twice where it has
    two rows for one. notes: sentences."""

    items: tuple[Item, ...]
    judged: Judged
    notes: tuple[str, ...] = ()


Prompts = Mapping[str, str]  # of the judge, by their names in the benchmark's code
# The replies that were received to an item's questions, by the question's name.
Replies = Mapping[str, str]


@dataclass(frozen=True)
class Benchmark:
    """A row of the table of benchmarks.

    read_items: (folder of its data, language) → Items. result_names: where an item's edit may be in a folder of
    results; the first is where it is written. read_prompts: from the folder of the benchmark's code. questions: about
    an item. read_reply: (item, question's name, reply) → scores; raises UnreadableReply. read_results: (folder, items
    of the data) → the results there, None where the benchmark's scripts have left none. write_results: writes (folder,
    model's name, items, their replies, their scores) to the files that those scripts read. headline: the figure that
    leaderboards rank by. scale: the range that the judge's scores should be in. measure: for a known world, the exact
    scores of an item's edit, IMAGE [1, H, W, 3]: no judge is asked, and the items need no files.
    """

    id: str
    title: str
    read_items: Callable[[Path, str], Items]
    result_names: Callable[[Item], tuple[str, ...]]
    read_prompts: Callable[[Path], Prompts]
    questions: Callable[[Item, Prompts], tuple[Question, ...]]
    read_reply: Callable[[Item, str, str], Scores]
    item_score: Callable[[Item, Scores], float | None]
    summarize: Callable[[Sequence[Item], Judged], Summary]
    read_results: Callable[[Path, Sequence[Item]], Results | None]
    write_results: Callable[[Path, str, Sequence[Item], Mapping[str, Replies], Judged], None]
    headline: tuple[str, str, str]
    headline_terms: Callable[[Sequence[Item], Judged], Mapping[str, tuple[float, float]]]
    judge: str
    max_tokens: int
    temperature: float
    published: tuple[Published, ...] = ()
    source_name: Callable[[Item], str] = lambda item: ""
    resizes: bool = False
    partial: bool = False
    scale: tuple[float, float] = (1, 5)
    measure: Callable[[Item, Tensor], Scores] | None = None


def group_terms(
    items: Sequence[Item], judged: Judged, score: Callable[[Item, Scores], float | None]
) -> dict[str, tuple[float, float]]:
    """Every item's score, weighted by one over the number of scores in its group, for a mean of group means."""
    found = {item.id: score(item, scores) for item in items if (scores := judged.get(item.id)) is not None}
    values = {item: value for item in items if (value := found.get(item.id)) is not None}
    sizes = Counter(item.group for item in values)
    return {item.id: (value, 1 / sizes[item.group]) for item, value in values.items()}


def mean(values: Iterable[float]) -> float | None:
    """The mean; None for no values."""
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else None


def mean_figure(name: str, measure: str, values: Sequence[float], variant: str = "") -> Figure:
    """The mean of the values as a figure."""
    return Figure(name, measure, mean(values), len(values), variant)


def count(items: Sequence[Item], judged: Judged, is_read: Callable[[Scores], bool] = bool) -> tuple[int, int, int]:
    """How many of the items were judged, have scores, and were not judged at all."""
    known = [judged[item.id] for item in items if item.id in judged]
    read = sum(scores is not None and is_read(scores) for scores in known)
    return len(known), read, len(items) - len(known)


def describe_strangers(count: int) -> str:
    """A note on replies whose items are unknown."""
    left_out = format_count(count, "reply was left out: its item is", "replies were left out: their items are")
    return f"{left_out} not in the data."


def as_flag(value: Any) -> bool:
    """Whether a flag in a benchmark's file is set: such tables contain true, "True", 1, and nothing."""
    if isinstance(value, str):
        return value.strip().lower() in ("true", "yes", "1", "1.0")
    return value is not None and not (isinstance(value, float) and math.isnan(value)) and bool(value)


def is_given(value: Any) -> bool:
    """Whether a field in a benchmark's file has a value: it is not absent, null, NaN or empty."""
    return not (value is None or value == "" or (isinstance(value, float) and math.isnan(value)))


def natural_key(text: str) -> tuple[Any, ...]:
    """A key that sorts 2 before 10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text))


def find_result_files(folder: Path, pattern: str, levels: int = 0) -> list[Path]:
    """The files of one run's results in a folder or below it: of those that match, the ones highest in the tree.

    levels: how many folders a file is below its run's folder. Raises RethinkError where there are several runs.
    """
    files = [file for file in sorted(folder.glob(f"**/{pattern}")) if file.is_file()]
    highest = min((len(file.parts) for file in files), default=0)
    files = [file for file in files if len(file.parts) == highest]
    homes = sorted({file.parents[levels] for file in files})
    if len(homes) > 1:
        names = ", ".join(show_name(home.relative_to(folder)) for home in homes[:5])
        raise RethinkError(f"results: {folder} holds the results of several runs ({names}); give the folder of one.")
    return files


def image_below(name: str, roots: Sequence[Path]) -> Path:
    """The image of this name in the first of the folders that has it. Raises RethinkError where none has."""
    parts = path_parts(name)
    if not parts or ".." in parts or PureWindowsPath(name).anchor:  # on a disk, or at any system's root
        raise RethinkError(f"its image {show_name(name)} is outside the benchmark's folder")
    for root in roots:
        if (root / name).is_file():
            return root / name
    raise RethinkError(f"its image {show_name(name)} is missing")
