"""One edit of a run with its critique, in memory and in trajectory.json.

A record may come from anyone: every value is checked when it is read.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, islice
from statistics import stdev
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from .records import replace_surrogates

MAX_DRAWS = 64  # of a critique
MAX_REGIONS = 16  # of a critique; more would point at nothing in particular
Box = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of the image
RegionKind = Literal["wrong", "changed", "place"]
Preferred = Literal["earlier", "later", "same", ""]
Status = Literal["ok", "repaired", "unparsed", "failed"]
PromptBy = Literal["user", "thinker", "human"]
StopReason = Literal["accepted", "turns", "plateau", "human", "failed"]


@dataclass(frozen=True)
class Continue:
    """The loop continues with this prompt."""

    prompt: str
    prompt_by: PromptBy

    def __post_init__(self):
        object.__setattr__(self, "prompt", replace_surrogates(self.prompt))  # no editor accepts half a character


@dataclass(frozen=True)
class Stop:
    """The loop ends. chosen: the index of the step that a person chose."""

    reason: StopReason
    message: str = ""
    chosen: int | None = None


class RunStopped(Exception):
    """Raised by a callback when a person ends the run in the middle of a turn."""

    def __init__(self, stop: Stop):
        super().__init__(stop.reason)
        self.stop = stop


@dataclass(frozen=True)
class ChecklistItem:
    """One atomic thing that the instruction asks for. passed: None if the critic did not say."""

    text: str
    passed: bool | None = None


@dataclass(frozen=True)
class Region:
    """Where something is in an edit. kind: still wrong, changed unasked, or the place where the edit belongs."""

    kind: RegionKind
    box: Box
    label: str = ""

    def __post_init__(self):
        if self.kind not in get_args(RegionKind) or not _is_box(self.box):
            raise ValueError(f"no region: {self.kind!r:.20} {self.box!r:.80}")


def _is_box(box: Any) -> bool:
    if not isinstance(box, tuple) or len(box) != 4 or not all(_fits(edge, float) and 0 <= edge <= 1 for edge in box):
        return False
    return box[0] < box[2] and box[1] < box[3]


@dataclass(frozen=True)
class Critique:
    """A thinker's critique of one edit.

    status: ok; repaired (the answer was malformed, but its meaning was clear); unparsed (no readable scores); failed
        (no answer). Only the first two have scores.
    semantic: instruction followed and nothing else changed; quality: natural, free of artifacts; 0…10, both or neither.
    next_prompt: the instruction to try next, "" for none. note: what was repaired, or what went wrong.
    draws: (semantic, quality) of each answer that the scores are the means of; empty if there was only one.
    """

    status: Status
    semantic: float | None = None
    quality: float | None = None
    reasoning: str = ""
    next_prompt: str = ""
    checklist: tuple[ChecklistItem, ...] = ()
    note: str = ""
    draws: tuple[tuple[float, float], ...] = ()
    regions: tuple[Region, ...] = ()

    def __post_init__(self):
        scores, scored = (self.semantic, self.quality), self.status in ("ok", "repaired")
        if self.status not in get_args(Status) or any((score is not None) != scored for score in scores):
            raise ValueError(f"a critique that is {self.status} cannot score {self.semantic}, {self.quality}")
        if not all(score is None or 0 <= score <= 10 for score in scores):
            raise ValueError("scores must be between 0 and 10")
        if len(self.draws) > MAX_DRAWS or (self.draws and not scored) or not all(map(_is_pair, self.draws)):
            raise ValueError("draws are pairs of scores between 0 and 10")

    @property
    def overall(self) -> float | None:
        """√(semantic · quality), as GEdit-Bench (arXiv 2504.17761) combines the two; None without scores.

        A checklist caps the semantic score at the share of its verified items that passed.
        """
        if self.semantic is None or self.quality is None:
            return None
        verified = [item.passed for item in self.checklist if item.passed is not None]
        bound = 10 * sum(verified) / len(verified) if verified else 10
        return (min(self.semantic, bound) * self.quality) ** 0.5

    @property
    def spread(self) -> float | None:
        """The standard deviation of the draws' `overall` scores; None for fewer than two."""
        return stdev((semantic * quality) ** 0.5 for semantic, quality in self.draws) if len(self.draws) > 1 else None


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, tuple) and len(value) == 2 and all(_fits(each, float) and 0 <= each <= 10 for each in value)
    )


@dataclass(frozen=True)
class Preservation:
    """How much of the source an edit left alone (see `evaluation.preservation`).

    changed: share of the image that changed, 0…1. outside_psnr: dB of the rest against the source, at most 99.
    unchanged: nothing visible has changed, so the edit has failed whatever a critic says.
    """

    changed: float
    outside_psnr: float
    unchanged: bool


@dataclass(frozen=True)
class Comparison:
    """An edit shown side by side with the best one before it, in both orders.

    turn, candidate: of the earlier one. answers: which one was preferred in each order, "" if that could not be read.
    note: what went wrong.
    """

    turn: int
    candidate: int
    answers: tuple[Preferred, ...]
    note: str = ""

    def __post_init__(self):
        if len(self.answers) != 2 or not all(answer in get_args(Preferred) for answer in self.answers):
            raise ValueError(f"a comparison cannot answer {self.answers}")

    @property
    def kept(self) -> Literal["earlier", "later", ""]:
        """The later one if both orders prefer it, else the earlier one; "" if an answer is missing: scores decide."""
        if "" in self.answers:
            return ""
        return "later" if set(self.answers) == {"later"} else "earlier"


@dataclass(frozen=True, eq=False)
class Step:
    """One edit and its critique.

    turn: 1…; candidate: 0… within its turn. prompt: the editor's instruction, written by the user, the thinker, or a
    human who stepped in. score: what steps are ranked by, None without one.
    judge: the independent judge's critique, which the score then comes from.
    image: IMAGE [1, H, W, 3] while it is the current step or the best, None once it is only on disk. file: its name
    there, "" until it is written. settings: the sampling settings actually used, plain JSON values; None if unknown.
    comparison: if it was shown next to the best edit of the earlier turns. focus: the boxes that it was limited to.
    accepted: whether its run's rules found it good enough to stop at.
    """

    turn: int
    candidate: int
    prompt: str
    prompt_by: PromptBy
    seed: int
    critique: Critique
    preservation: Preservation
    score: float | None
    edit_seconds: float
    think_seconds: float
    judge: Critique | None = None
    image: Tensor | None = field(default=None, repr=False)
    file: str = ""
    settings: dict[str, Any] | None = None
    comparison: Comparison | None = None
    focus: tuple[Box, ...] = ()
    accepted: bool = False


def best_of(steps: Sequence[Step]) -> int:
    """The index of the best step: the argmax over all turns, ties to the earlier. There must be at least one step.

    An accepted edit beats all others: a run that stops at it has it as its result, even if another overall score is
    higher. Without any scores, an edit that changed something beats one that did not. If the best of a turn was
    compared side by side with the best of the earlier turns, that decides between the two, provided that both are
    accepted or neither is.
    """
    if not steps:
        raise ValueError("no step, no best")
    best = None
    for _, turn in groupby(range(len(steps)), lambda index: steps[index].turn):
        lead = max(turn, key=lambda index: _rank(steps[index]))
        if best is None or _is_better(steps[lead], steps[best]):
            best = lead
    assert best is not None
    return best


def _rank(step: Step) -> tuple[bool, bool, bool, float]:
    return step.accepted, not step.preservation.unchanged, step.score is not None, step.score or 0.0


def _is_better(step: Step, before: Step) -> bool:
    compared = step.comparison
    if (
        compared is not None
        and compared.kept
        and step.accepted == before.accepted
        and (compared.turn, compared.candidate) == (before.turn, before.candidate)
    ):
        return compared.kept == "later"
    return _rank(step) > _rank(before)


def note_of(prompt: str, seed: int, settings: dict[str, Any] | None) -> dict[str, Any]:
    """How an edit was made, for the text chunk of its PNG."""
    return {"prompt": prompt, "seed": seed, "settings": settings}


def step_record(step: Step) -> dict[str, Any]:
    """A step as trajectory.json stores it: all its fields by name, except the image."""
    values = asdict(replace(step, image=None))  # asdict would copy the pixels
    del values["image"]
    for name in ("focus", "accepted"):  # as in records older than these fields
        if not values[name]:
            del values[name]
    if step.comparison is None:
        del values["comparison"]
    else:
        values["comparison"]["kept"] = step.comparison.kept
    for critique in filter(None, (values["critique"], values["judge"])):
        for name in ("draws", "regions"):  # as in records older than these fields
            if not critique[name]:
                del critique[name]
        critique["checklist"] = [{"text": item["text"], "met": item["passed"]} for item in critique["checklist"]]
    return values


_RANGES = {
    "turn": (1, 10**6),
    "candidate": (0, 10**6),
    "seed": (0, 2**64 - 1),
    "score": (-100, 100),
    "edit_seconds": (0, 10**9),
    "think_seconds": (0, 10**9),
}


def read_step(data: dict[str, Any]) -> Step:
    """Read a step of trajectory.json. Raises KeyError, TypeError or ValueError for a damaged one."""
    judge, comparison = data["judge"], data.get("comparison")
    nested = {
        "critique": _read_critique(data["critique"]),
        "judge": None if judge is None else _read_critique(judge),
        "preservation": build_checked(Preservation, data["preservation"]),
        "comparison": None if comparison is None else _read_comparison(comparison),
        "focus": tuple(tuple(box) for box in data.get("focus", ())[:MAX_REGIONS]),
    }
    step = build_checked(Step, data | nested)
    if not all(map(_is_box, step.focus)):
        raise ValueError("focus is not a list of boxes")
    for name, (low, high) in _RANGES.items():
        if (value := getattr(step, name)) is not None and not low <= value <= high:
            raise ValueError(f"{name} is out of range")
    return step


def _read_critique(data: dict[str, Any]) -> Critique:
    items = ({"text": item["text"], "passed": item["met"]} for item in data["checklist"])
    draws = tuple(tuple(each) for each in data.get("draws", ()))
    checklist = tuple(build_checked(ChecklistItem, item) for item in items)
    regions = tuple(islice(_read_regions(data.get("regions")), MAX_REGIONS))
    return build_checked(Critique, data | {"checklist": checklist, "draws": draws, "regions": regions})


def _read_regions(data: Any) -> Iterator[Region]:
    """The readable boxes. As in an answer, others are dropped: the run matters more than what is drawn on it."""
    for each in data if isinstance(data, list) else ():
        with suppress(KeyError, TypeError, ValueError):
            yield build_checked(Region, each | {"box": tuple(each["box"])})


def _read_comparison(data: dict[str, Any]) -> Comparison:
    if not isinstance(data, dict):
        raise TypeError("comparison is not an object")
    values = {name: value for name, value in data.items() if name != "kept"}  # it follows from the answers
    return build_checked(Comparison, values | {"answers": tuple(data["answers"])})


def build_checked(kind: type, values: dict[str, Any]) -> Any:
    """Build a dataclass from values. Raises TypeError if one does not have its field's type."""
    hints = get_type_hints(kind)
    for name in hints.keys() & values.keys():
        if not _fits(values[name], hints[name]):
            raise TypeError(f"{name} is {type(values[name]).__name__} {values[name]!r:.40}")
    return kind(**values)


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    kind = get_origin(hint) or hint
    if isinstance(value, bool):  # a number to Python
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
