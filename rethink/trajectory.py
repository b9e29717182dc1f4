"""The record of a thinking run, in memory and in a folder.

A folder holds `trajectory.json`, `source.png` and one image per step. Every file appears complete or not at all, a
step's image before its record, so that a run that is killed at any point resumes at its next turn. A record may come
from anyone: it is checked when it is read, and may only refer to images in its own folder.
"""

import errno
import os
import re
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from .atomic import atomic_write, check_target, locked
from .errors import RethinkError, reason_of
from .images import load_image, to_pil
from .records import json_text, read_json_file, replace_surrogates_in
from .steps import RunStopped, Step, Stop, StopReason, best_of, build_checked, note_of, read_step, step_record

SCHEMA = 1
RECORD_FILE = "trajectory.json"
SOURCE_FILE = "source.png"
LOCK = ".lock"
IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\.png", re.ASCII)  # of an image, in a record
NOTE = "rethink"  # the PNG text chunk of an edit that says how it was made, as JSON


@dataclass(frozen=True)
class Trajectory:
    """A run in its folder. Images stay on disk until they are needed.

    options: how it was made (rules, settings, the names of editor and thinker, how the thinker was asked), plain JSON
        values.
    stopped: why it ended ("accepted", "turns", "plateau", "human", "failed"), "" while it runs or if it was killed.
        A run that can no longer be written has failed; its images are in memory.
    message: the sentence that goes with it. chosen: the index of the step that the user accepted, or None.
    """

    folder: Path
    instruction: str
    options: dict[str, Any]
    steps: tuple[Step, ...] = ()
    stopped: StopReason | Literal[""] = ""
    message: str = ""
    chosen: int | None = None

    @property
    def best(self) -> int | None:
        """The index of the step whose image is the result; None before the first step."""
        if self.chosen is not None:
            return self.chosen
        return best_of(self.steps) if self.steps else None

    @property
    def best_judged(self) -> bool:
        """Whether the result has a score: an edit that was not judged may be bad."""
        return self.best is not None and self.steps[self.best].score is not None

    def check_judged(self) -> None:
        """Raise RethinkError if the thinker failed before any edit had a score: there is nothing to call a result."""
        if self.stopped != "failed" or self.is_unwritten or any(step.score is not None for step in self.steps):
            return
        kept = (
            f" No edit was judged; the edits made so far are kept in {self.folder}."
            if any(self.folder.glob("turn-*.png"))
            else ""
        )
        raise RethinkError(self.message + kept)

    @property
    def source(self) -> Tensor:
        """IMAGE [1, H, W, 3]."""
        return load_image(self.folder / SOURCE_FILE)

    def image(self, step: Step) -> Tensor:
        """IMAGE [1, H, W, 3] of one step. Raises RethinkError if its file is gone."""
        return load_image(self.folder / step.file) if step.image is None else step.image

    def has_image(self, step: Step) -> bool:
        """Whether the image of a step is still available."""
        return step.image is not None or is_own_image(self.folder, step.file)

    @property
    def is_unwritten(self) -> bool:
        """Whether some step could not be written and exists only in memory."""
        return any(step.file == "" for step in self.steps)

    @property
    def candidates(self) -> int:
        """Steps per turn."""
        return self.options.get("rules", {}).get("candidates", 1)

    def save_edits(self, turn: int, images: Tensor, notes: Sequence[dict[str, Any]]) -> tuple[str, ...]:
        """Write the edits of a turn before they are judged, so that they are kept even if the thinker fails.

        images: IMAGE [candidates, H, W, 3]; notes: how each was made, plain JSON values. Returns the file names; none
        if they cannot be written, which `append_step` then finds too.
        """
        names = tuple(f"turn-{turn:04d}-{candidate:02d}.png" for candidate in range(len(images)))
        try:
            with _writable(self.folder):
                for name, image, note in zip(names, images.split(1), notes, strict=True):
                    _save_image(image, self.folder / name, note)
        except WriteError:
            return ()
        return names

    def append_step(self, step: Step) -> "Trajectory":
        """Write a step, its image first if that does not exist yet.

        The returned trajectory holds the pixels of the best step only, so that a run has its result whatever happens
        to the disk. If the step cannot be written, the run ends: the returned trajectory has the step with its pixels,
        and the reason.
        """
        name = _name_of(step)
        unwritten = replace(self, steps=(*self.steps, replace(step, file="")))
        if self.stopped:
            return unwritten
        steps = (*self.steps, replace(step, file=name))
        best = best_of(steps)
        lean = (s if s.image is None or index == best else replace(s, image=None) for index, s in enumerate(steps))
        try:
            if not step.file:
                assert step.image is not None  # until a file has it
                with _writable(self.folder):
                    _save_image(step.image, self.folder / name, note_of(step.prompt, step.seed, step.settings))
            return self._written(steps=tuple(lean))
        except WriteError as error:
            return replace(unwritten, stopped="failed", message=str(error))

    def finish(self, reason: StopReason, message: str = "", chosen: int | None = None) -> "Trajectory":
        """Write why the run ended, and which step a person chose. If that cannot be written, the run has failed."""
        if self.is_unwritten:  # it has ended, and no record may name a missing image
            return replace(self, chosen=chosen)
        try:
            return self._written(stopped=reason, message=message, chosen=chosen)
        except WriteError as error:
            return replace(self, stopped="failed", message=str(error), chosen=chosen)

    def rewind_to_resume(self, candidates: int) -> tuple["Trajectory", tuple[Step, ...]]:
        """Write the run as continuing after its last complete turn.

        Returns it with its steps, those of the last turn and the best one with images. A turn with fewer than
        `candidates` steps, or without an answer from the thinker, is made again.
        """
        steps = self.steps[: len(self.steps) - len(self.steps) % candidates]
        while steps and any(v.status == "failed" for s in steps[-candidates:] for v in (s.critique, s.judge) if v):
            steps = steps[:-candidates]
        best = best_of(steps) if steps else None
        steps = tuple(replace(s, image=self.image(s)) if index == best else s for index, s in enumerate(steps))
        seen = [replace(s, image=self.image(s)) if s.turn == steps[-1].turn else s for s in steps]
        return self._written(steps=steps, stopped="", message="", chosen=None), tuple(seen)

    def copy_to(self, folder: Path) -> "Trajectory":
        """Copy the run to another folder, which must not exist yet.

        Raises RethinkError if it cannot be written, or if an image of this run is gone.
        """
        steps = tuple(replace(step, file=_name_of(step)) for step in self.steps)
        with _writable(folder):
            folder.mkdir(parents=True)
            for name, image in ((SOURCE_FILE, None), *((step.file, step.image) for step in steps)):
                if is_own_image(self.folder, name):
                    shutil.copyfile(self.folder / name, folder / name)
                elif image is not None:
                    _save_image(image, folder / name)
                else:
                    raise RethinkError(f"trajectory: the image {self.folder / name} is gone; the run cannot be copied.")
        return self._written(folder=folder, steps=steps)

    def save_options(self, options: dict[str, Any]) -> "Trajectory":
        """Write how the run is made from here on."""
        return self._written(options=options)

    def as_dict(self) -> dict[str, Any]:
        """What trajectory.json holds: plain JSON values."""
        return {
            "schema": SCHEMA,
            "instruction": self.instruction,
            "source": SOURCE_FILE,
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
        text = json_text(after.as_dict(), (",", ":")).replace(
            '{"turn"', '\n{"turn"'
        )  # one line per step, for people and for diff
        with _writable(after.folder), atomic_write(after.folder / RECORD_FILE) as part:
            part.write_text(text + "\n", encoding="utf-8")
        return after


class WriteError(RethinkError):
    """A run cannot be written. Everything written before is intact, and the run can be resumed."""


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Turn a failure to write to a run's folder into a WriteError."""
    try:
        yield
    except OSError as error:
        why = "it is gone" if error.errno == errno.ENOENT else reason_of(error)
        raise WriteError(
            f"trajectory: {folder} cannot be written ({why}); free some space and resume the run, or choose another "
            "folder."
        ) from error


def new_trajectory(folder: str | PathLike, source: Tensor, instruction: str, options: dict[str, Any]) -> Trajectory:
    """Start a run in a new or empty folder. source: IMAGE [1, H, W, 3].

    Raises RethinkError if the folder is not empty, so that no record is ever overwritten.
    """
    folder = Path(folder)
    check_new_folder(folder)
    with _writable(folder):
        _save_image(source, folder / SOURCE_FILE)
    return Trajectory(folder, instruction, options)._written()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the write lock of the run in a folder; a process that dies releases it.

    Raises RethinkError if it is already held, even by this process, or if the folder cannot be written.
    """
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / LOCK))
        except BlockingIOError as error:
            raise RunningError(
                f"trajectory: the run in {folder} is already running, here or in another process; wait until it ends, "
                "or choose another folder."
            ) from error
        except OSError as error:
            raise WriteError(f"trajectory: {folder} cannot be written ({error.strerror}).") from error
        yield


class RunningError(RethinkError):
    """The run is being continued elsewhere right now."""


class NewerRunError(RethinkError):
    """A record has a newer version than this one can read."""


class MissingImageError(RethinkError):
    """A record names an image that is not in its folder."""


def check_new_folder(folder: Path) -> None:
    """Check that a run can start in a folder, and create it. Raises RethinkError if it is not empty or not a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(file.name != LOCK for file in folder.iterdir()):
            raise RethinkError(f"trajectory: {folder} is not empty; choose another folder, or resume the run in it.")
    except FileExistsError as error:
        raise RethinkError(f"trajectory: {folder} is a file; choose a folder.") from error
    except OSError as error:
        raise RethinkError(f"trajectory: {folder} cannot be written: {reason_of(error)}") from error
    check_target(folder / RECORD_FILE, "trajectory")


def load_trajectory(folder: str | PathLike) -> Trajectory:
    """Read a run back, finished or not.

    Raises RethinkError if there is none, if it is damaged or newer than this version, or if an image is missing.
    """
    trajectory = load_record(Path(folder))
    for name in (SOURCE_FILE, *(step.file for step in trajectory.steps)):
        if not is_own_image(trajectory.folder, name):
            raise MissingImageError(
                f"trajectory: {folder} names the image {name!r:.80}, which is missing or not a PNG file in that "
                "folder; copy the whole folder."
            )
    return trajectory


def load_record(folder: Path) -> Trajectory:
    """`load_trajectory` without looking for the images: their names may be anything."""
    try:
        data = replace_surrogates_in(
            read_json_file(folder / RECORD_FILE)
        )  # no tokenizer and no file accepts half a character
    except (OSError, ValueError) as error:
        raise RethinkError(f"trajectory: {folder / RECORD_FILE} cannot be read: {reason_of(error)}") from error
    if not isinstance(data, dict) or type(data.get("schema")) is not int:
        raise RethinkError(f"trajectory: {folder / RECORD_FILE} is not the record of a thinking run.")
    if data["schema"] > SCHEMA:
        raise NewerRunError(
            f"trajectory: {folder} was written by a newer Rethink (schema {data['schema']}); update to open it."
        )
    try:
        steps = tuple(read_step(step) for step in data["steps"])
        keys = ("instruction", "options", "stopped", "message", "chosen")
        trajectory = build_checked(Trajectory, {"folder": folder, "steps": steps, **{key: data[key] for key in keys}})
        _check_rules(trajectory.options)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RethinkError(f"trajectory: {folder / RECORD_FILE} is damaged ({error!r:.200}).") from error
    if trajectory.chosen is not None and trajectory.chosen not in range(len(steps)):
        raise RethinkError(f"trajectory: {folder / RECORD_FILE} is damaged (no step {trajectory.chosen}).")
    return trajectory


def is_own_image(folder: Path, name: str) -> bool:
    """Whether a name in a record is that of an image in its folder: a file, not a link to one elsewhere."""
    file = folder / name if IMAGE_NAME.fullmatch(name) else None
    return (
        file is not None and file.is_file() and os.path.realpath(file.parent) == os.path.dirname(os.path.realpath(file))
    )


def record_run(trajectory: Trajectory, run: Generator[Step, None, Stop]) -> Iterator[Trajectory]:
    """Write every step of `run` (`think_loop.think_while_edit`), and at the end why it stopped.

    Yields the Trajectory after each step, and last with its end, even if it can no longer be written or the user ended
    it in the middle of a turn (`RunStopped`).
    """
    while True:
        try:
            step = next(run)
        except (StopIteration, RunStopped) as end:
            stop: Stop = end.value if isinstance(end, StopIteration) else end.stop
            yield trajectory.finish(stop.reason, stop.message, stop.chosen)
            return
        trajectory = trajectory.append_step(step)
        yield trajectory
        if trajectory.stopped and step.candidate + 1 >= trajectory.candidates:
            return


def _check_rules(options: dict[str, Any]) -> None:
    rules = options.get("rules", {})
    if not isinstance(rules, dict) or type(rules.get("candidates", 1)) is not int or rules.get("candidates", 1) < 1:
        raise TypeError("rules are none")


def _name_of(step: Step) -> str:
    return step.file or f"turn-{step.turn:04d}-{step.candidate:02d}.png"


def _save_image(image: Tensor, path: Path, note: dict[str, Any] | None = None) -> None:
    info = PngInfo()
    if note is not None:
        info.add_text(NOTE, json_text(note))
    # The fastest compression: otherwise a large image would take as long to pack as some editors need to make it.
    with atomic_write(path) as part:
        to_pil(image)[0].save(part, format="PNG", compress_level=1, pnginfo=info)
