"""The record of a thinking run, in memory and in a folder.

A folder holds `trajectory.json`, `source.png` and one picture a step. Every file appears whole or not at all, a step's
picture before the line that names it, so that a run that is killed anywhere goes on at its next turn.
"""

import json
import shutil
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from .errors import RethinkError
from .files import appearing, check_target
from .images import load_image, to_pil

SCHEMA = 1
FILE = "trajectory.json"
SOURCE = "source.png"
STATUSES = ("ok", "repaired", "unparsed", "failed")
NOTE = "rethink"  # the PNG text chunk of an edit that says how it was made, as JSON


@dataclass(frozen=True)
class Demand:
    """One atomic thing that the instruction asks for. met: verified or not; None when the critic did not say."""

    text: str
    met: bool | None = None


@dataclass(frozen=True)
class Critique:
    """What a thinker said of one edit.

    status: ok; repaired (the answer was out of shape, but what is here was clearly said); unparsed (no scores could be
        read); failed (there is no answer). Only the first two have scores.
    semantic: instruction followed and the rest left alone; quality: natural, free of artifacts; 0…10, both or neither.
    next_prompt: the instruction to try next, "" when none was given. note: what was repaired, or what went wrong.
    """

    status: str
    semantic: float | None = None
    quality: float | None = None
    reasoning: str = ""
    next_prompt: str = ""
    checklist: tuple[Demand, ...] = ()
    note: str = ""

    def __post_init__(self):
        scored = self.status in ("ok", "repaired")
        if self.status not in STATUSES or any((score is not None) != scored for score in (self.semantic, self.quality)):
            raise ValueError(f"a critique that is {self.status} cannot score {self.semantic}, {self.quality}")

    @property
    def overall(self) -> float | None:
        """√(semantic · quality), as GEdit-Bench (arXiv 2504.17761) joins the two; None without scores.

        A checklist bounds the semantic score by the share of its verified demands that are met.
        """
        if self.semantic is None:
            return None
        verified = [demand.met for demand in self.checklist if demand.met is not None]
        bound = 10 * sum(verified) / len(verified) if verified else 10
        return (min(self.semantic, bound) * self.quality) ** 0.5


@dataclass(frozen=True)
class Preservation:
    """How much of the source an edit left alone (see `evaluation.preservation`).

    changed: share of the picture that changed, 0…1. outside_psnr: dB of the rest against the source, at most 99.
    unchanged: nothing that anyone would see has changed, so that the edit has failed whatever a critic says.
    """

    changed: float
    outside_psnr: float
    unchanged: bool


@dataclass(frozen=True, eq=False)
class Step:
    """One edit that was made and looked at.

    turn: 1…; candidate: 0… within its turn. prompt: what the editor was told, written by `prompt_by`: "user",
    "thinker" or "human" (a person who stepped in). score: what steps are ranked by, None without one.
    judge: the independent judge's critique, which the score then comes from. demands: what a checklist verified.
    image: IMAGE [1, H, W, 3] while it is the current step, None once it is read from a folder. file: its name there, ""
    before it is written. settings: the sampling that this edit really used, plain JSON values; None where nobody knows.
    """

    turn: int
    candidate: int
    prompt: str
    prompt_by: str
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


def best_of(steps: Sequence[Step]) -> int:
    """The index of the best step: the argmax over all turns, ties to the earlier. There must be one.

    Where nothing has a score, an edit that changed something comes before one that did not.
    """
    if not steps:
        raise ValueError("no step, no best")
    ranks = [(not s.preservation.unchanged, s.score is not None, s.score or 0.0) for s in steps]
    return ranks.index(max(ranks))


@dataclass(frozen=True)
class Trajectory:
    """A run in its folder. Pictures stay on disk until they are asked for.

    options: how it was run (rules, settings, the names of editor and thinker, how it was asked), plain JSON values.
    stopped: why it ended ("accepted", "turns", "plateau", "human", "failed"), "" while it runs or when it was killed.
    message: the sentence that goes with it. chosen: the index of the step that a person took, None when nobody did.
    """

    folder: Path
    instruction: str
    options: dict[str, Any]
    steps: tuple[Step, ...] = ()
    stopped: str = ""
    message: str = ""
    chosen: int | None = None

    @property
    def best(self) -> int | None:
        """The index of the step whose image is the result; None before the first."""
        if self.chosen is not None:
            return self.chosen
        return best_of(self.steps) if self.steps else None

    @property
    def best_judged(self) -> bool:
        """Whether the result has a score: what nobody judged is not known to be any good."""
        return bool(self.steps) and self.steps[self.best].score is not None

    def check_judged(self) -> None:
        """Raise RethinkError where the thinker failed before any edit had a score: there is nothing to call a result."""
        if self.stopped != "failed" or any(step.score is not None for step in self.steps):
            return
        kept = f" No edit was judged; what was made is kept in {self.folder}." if any(self.folder.glob("turn-*.png")) else ""
        raise RethinkError(self.message + kept)

    @property
    def source(self) -> Tensor:
        """IMAGE [1, H, W, 3]."""
        return load_image(self.folder / SOURCE)

    def image(self, step: Step) -> Tensor:
        """IMAGE [1, H, W, 3] of one step."""
        return load_image(self.folder / step.file)

    def save_edits(self, turn: int, images: Tensor, notes: Sequence[dict[str, Any]]) -> tuple[str, ...]:
        """Write the edits of a turn before they are judged: whatever becomes of the thinker, they are kept.

        images: IMAGE [candidates, H, W, 3]; notes: how each was made, plain JSON values. Returns the files' names.
        """
        names = tuple(f"turn-{turn:04d}-{candidate:02d}.png" for candidate in range(len(images)))
        for name, image, note in zip(names, images.split(1), notes, strict=True):
            _save_image(image, self.folder / name, note)
        return names

    def with_step(self, step: Step) -> "Trajectory":
        """Write a step, its picture first where that is not there yet; what comes back holds it without its pixels."""
        name = step.file or f"turn-{step.turn:04d}-{step.candidate:02d}.png"
        if not step.file:
            _save_image(step.image, self.folder / name, note_of(step.prompt, step.seed, step.settings))
        return self._written(steps=(*self.steps, replace(step, image=None, file=name)))

    def stopped_by(self, reason: str, message: str = "", chosen: int | None = None) -> "Trajectory":
        """Write why the run ended, and which step a person took."""
        return self._written(stopped=reason, message=message, chosen=chosen)

    def going_on(self, candidates: int) -> tuple["Trajectory", tuple[Step, ...]]:
        """Write that the run goes on after its last whole turn; also those turns, the last with its images.

        A turn of fewer than `candidates`, and one that the thinker did not answer for, is made again.
        """
        steps = self.steps[: len(self.steps) - len(self.steps) % candidates]
        while steps and any(v.status == "failed" for s in steps[-candidates:] for v in (s.critique, s.judge) if v):
            steps = steps[:-candidates]
        seen = [replace(s, image=self.image(s)) if s.turn == steps[-1].turn else s for s in steps]
        return self._written(steps=steps, stopped="", message="", chosen=None), tuple(seen)

    def copied(self, folder: Path) -> "Trajectory":
        """The same run in another folder, which must not be there yet."""
        folder.mkdir(parents=True)
        for name in (SOURCE, *(step.file for step in self.steps)):
            shutil.copyfile(self.folder / name, folder / name)
        return self._written(folder=folder)

    def with_options(self, options: dict[str, Any]) -> "Trajectory":
        """Write how the run is run from here on."""
        return self._written(options=options)

    @property
    def record(self) -> dict[str, Any]:
        """What trajectory.json holds: plain JSON values."""
        return {
            "schema": SCHEMA,
            "instruction": self.instruction,
            "source": SOURCE,
            "options": self.options,
            "steps": [step_record(step) for step in self.steps],
            "best": self.best,
            "best_judged": self.best_judged,
            "chosen": self.chosen,
            "stopped": self.stopped,
            "message": self.message,
        }

    def _written(self, **changes) -> "Trajectory":
        after = replace(self, **changes)
        text = json.dumps(after.record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text = text.replace('{"turn"', '\n{"turn"')  # a line a step, for people and for diff
        with appearing(after.folder / FILE) as part:
            part.write_text(text + "\n", encoding="utf-8")
        return after


def new_trajectory(folder: str | PathLike, source: Tensor, instruction: str, options: dict[str, Any]) -> Trajectory:
    """Begin a run in a folder that is new or empty. source: IMAGE [1, H, W, 3].

    Raises RethinkError when the folder holds something, so that no record is ever written over.
    """
    folder = Path(folder)
    check_new_folder(folder)
    try:
        _save_image(source, folder / SOURCE)
        return Trajectory(folder, instruction, options)._written()
    except OSError as error:
        raise RethinkError(f"trajectory: {folder} cannot be written: {error}") from error


def check_new_folder(folder: Path) -> None:
    """See that a run can begin in a folder, which is made. Raises RethinkError where it holds something or is none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RethinkError(f"trajectory: {folder} is not empty; choose another folder, or resume the run in it.")
    except FileExistsError as error:
        raise RethinkError(f"trajectory: {folder} is a file; choose a folder.") from error
    except OSError as error:
        raise RethinkError(f"trajectory: {folder} cannot be written: {error}") from error
    check_target(folder / FILE, "trajectory")


def load_trajectory(folder: str | PathLike) -> Trajectory:
    """Read a run back, finished or not.

    Raises RethinkError when there is none, when it is damaged or newer than this version, or when a picture is missing.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RethinkError(f"trajectory: {folder / FILE} cannot be read: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("schema"), int):
        raise RethinkError(f"trajectory: {folder / FILE} is not the record of a thinking run.")
    if record["schema"] > SCHEMA:
        raise RethinkError(
            f"trajectory: {folder} was written by a newer Rethink (schema {record['schema']}); update to open it."
        )
    try:
        steps = tuple(_step_of(step) for step in record["steps"])
        keys = ("instruction", "options", "stopped", "message", "chosen")
        trajectory = Trajectory(folder, steps=steps, **{key: record[key] for key in keys})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RethinkError(f"trajectory: {folder / FILE} is damaged ({error!r}).") from error
    for name in (SOURCE, *(step.file for step in steps)):
        if Path(name).name != name or not (folder / name).is_file():  # a record names nothing outside its folder
            raise RethinkError(f"trajectory: {folder / name} is missing; copy the whole folder.")
    if trajectory.chosen is not None and trajectory.chosen not in range(len(steps)):
        raise RethinkError(f"trajectory: {folder / FILE} is damaged (no step {trajectory.chosen}).")
    return trajectory


def record(trajectory: Trajectory, run: Generator[Step, None, Any]) -> Iterator[Trajectory]:
    """Write every step of `run` (`loop.think_while_edit`) as it is made, and at the end why it stopped.

    Yields the Trajectory after each, the last one with its end.
    """
    while True:
        try:
            step = next(run)
        except StopIteration as end:
            yield trajectory.stopped_by(end.value.reason, end.value.message, end.value.chosen)
            return
        trajectory = trajectory.with_step(step)
        yield trajectory


def note_of(prompt: str, seed: int, settings: dict[str, Any] | None) -> dict[str, Any]:
    """How an edit was made, for the text chunk of its PNG."""
    return {"prompt": prompt, "seed": seed, "settings": settings}


def step_record(step: Step) -> dict[str, Any]:
    """A step as trajectory.json holds it: its fields by their names, all but the image."""
    values = asdict(replace(step, image=None))  # asdict would copy the pixels
    del values["image"]
    return values


def _step_of(record: dict[str, Any]) -> Step:
    judge = record["judge"]
    nested = {
        "critique": _critique_of(record["critique"]),
        "judge": None if judge is None else _critique_of(judge),
        "preservation": Preservation(**record["preservation"]),
    }
    return Step(**(record | nested))


def _critique_of(record: dict[str, Any]) -> Critique:
    return Critique(**(record | {"checklist": tuple(Demand(**demand) for demand in record["checklist"])}))


def _save_image(image: Tensor, path: Path, note: dict[str, Any] | None = None) -> None:
    info = PngInfo()
    if note is not None:
        info.add_text(NOTE, json.dumps(note))
    # The lightest compression: a large picture would otherwise take as long to pack as some editors to make it.
    with appearing(path) as part:
        to_pil(image)[0].save(part, format="PNG", compress_level=1, pnginfo=info)
