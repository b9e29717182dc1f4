"""The questions for reinforcement learning of a thinker: the steps of recorded runs, for each of which new answers are sampled.

They come from folders of runs, or from the `trl-rl.jsonl` that `rethink collect` writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import RethinkError
from ..pairs.jsonl_log import JsonlLog, fields_are
from ..thinkers.critique import TEMPLATE, image_slots
from ..thinkers.protocol import Messages
from ..trajectory import RECORD_FILE, SOURCE_FILE, Trajectory
from .conversations import did_no_harm, scored_steps, unroll
from .recorded_runs import read_runs

COLLECTED = "trl-rl.jsonl"
_FIELDS = {"prompt": list, "images": list, "source": str, "edited": str, "instruction": str, "last_prompt": str}


@dataclass(frozen=True)
class ThinkerStep:
    """A question to a thinker: how good is this edit, and what should the next prompt be?

    messages, images: the question, with an image file for each of its image parts. source, edited: those files by what they
    show. last_prompt: the prompt that the edit was made with.
    """

    messages: Messages
    images: tuple[Path, ...]
    source: Path
    edited: Path
    instruction: str
    last_prompt: str

    @cached_property
    def source_id(self) -> str:
        return _digest(self.source)

    @cached_property
    def edited_id(self) -> str:
        return _digest(self.edited)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def read_steps(folders: Sequence[Path], template: str = TEMPLATE) -> tuple[list[ThinkerStep], int]:
    """(the steps in all folders, the number of runs left out, see `read_runs`). For a collected dataset, the steps are those of its
    reinforcement learning file; otherwise those of every run in the folder or below that thinking did not harm, up to the best.

    Raises RethinkError for a folder that does not exist, and if nothing is left.
    """
    read = [_read_folder(Path(folder), template) for folder in folders]
    steps = [step for some, _ in read for step in some]
    if not steps:
        raise RethinkError(
            f"data: there is nothing to learn from in {', '.join(map(str, folders))}; give folders with recorded runs, or a dataset "
            f"made by `collect` that contains {COLLECTED}."
        )
    return steps, sum(left_out for _, left_out in read)


def _read_folder(folder: Path, template: str) -> tuple[list[ThinkerStep], int]:
    if folder.is_file() and folder.suffix == ".jsonl":
        return list(_read_collected(folder)), 0
    if not folder.is_dir():
        raise RethinkError(f"data: there is no folder {folder}; give one that contains recorded runs, at any depth.")
    if (folder / COLLECTED).is_file():
        return list(_read_collected(folder / COLLECTED)), 0
    steps, left_out = [], 0
    for run in read_runs(record.parent for record in sorted(folder.rglob(RECORD_FILE))):
        if run is None:
            left_out += 1
        else:
            steps += _unroll(run, template)
    return steps, left_out


def _read_collected(file: Path) -> Iterator[ThinkerStep]:
    """The rows whose images exist."""
    for row in JsonlLog(file, fields_are(**_FIELDS)):
        images = tuple(file.parent / str(name) for name in row["images"])
        source, edited = file.parent / row["source"], file.parent / row["edited"]
        if all(image.is_file() for image in (*images, source, edited)):
            yield ThinkerStep(row["prompt"], images, source, edited, row["instruction"], row["last_prompt"])


def _unroll(run: Trajectory, template: str) -> Iterator[ThinkerStep]:
    """The steps of a run up to its best, as in `conversations.unroll`; none for a run that thinking harmed."""
    if not did_no_harm(run):
        return
    for step, conversation in zip(scored_steps(run), unroll(run, template)):
        files = {"source": run.folder / SOURCE_FILE, "edited": run.folder / step.file}
        images = tuple(files[slot] for slot in image_slots(template))
        yield ThinkerStep(conversation.messages, images, files["source"], files["edited"], run.instruction, step.prompt)


def hold_out(steps: Sequence[ThinkerStep], tasks: int) -> tuple[list[ThinkerStep], list[ThinkerStep]]:
    """(steps to train on, the first step of every held-out task). At most `tasks` tasks are held out, on at most a
    fifth of the sources, and none of these sources is trained on in any wording. The choice depends on their images alone."""
    sources = sorted({step.source_id for step in steps}, key=lambda id: hashlib.sha256(id.encode()).digest())
    held_out, kept_apart = set(), {}
    for source in sources[: min(tasks, len(sources) // 5)]:
        held_out.add(source)
    for step in steps:
        if step.source_id in held_out:
            kept_apart.setdefault((step.source_id, step.instruction), step)
    return [step for step in steps if step.source_id not in held_out], list(kept_apart.values())[:tasks]
