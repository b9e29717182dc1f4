"""The steps of runs as rows of a dataset: question, images and answer, whatever its layout."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import atomic_write
from ..errors import RethinkError
from ..thinkers.critique import TEMPLATE
from ..thinkers.protocol import Messages
from ..trajectory import SOURCE_FILE, is_own_image, load_record
from .runs import RunFacts, require_unchanged, with_scores

if TYPE_CHECKING:
    from ..training.conversations import Conversation

IMAGES = "images"
_PLACEHOLDER = re.compile(r"<(image|video|audio)>")


@dataclass(frozen=True)
class Row:
    """One question to a thinker and the answer to learn.

    images: files relative to the dataset, one for each image part of the messages. source, edited: the same files by what they
    show. prompt: the prompt of the edit. semantic, quality: its scores, 0…10. turn: its turn in the run, from 1.
    """

    id: str
    messages: Messages
    images: tuple[str, ...]
    answer: str
    instruction: str
    prompt: str
    source: str
    edited: str
    semantic: float
    quality: float
    kind: str
    turn: int
    run: str

    @property
    def task(self) -> dict[str, str | float | int]:
        """What a reward needs: it edits `source` by the prompt of a new answer and compares the scores with these."""
        names = ("instruction", "prompt", "source", "edited", "semantic", "quality", "kind", "turn", "run", "answer")
        return {name: getattr(self, name) for name in names}

    @property
    def task_json(self) -> str:
        """`task` in one line of JSON."""
        return json.dumps(self.task)


def rows_of(facts: RunFacts, places: Sequence[int], folder: Path, template: str = TEMPLATE) -> Iterator[Row]:
    """The rows of some turns of a run, up to its best; their images are copied into the dataset in `folder`.

    Images that were copied before may be gone from the run. Raises RethinkError or OSError if the run is gone or has changed
    since its facts were read.
    """
    from ..training.conversations import unroll

    run = Path(facts.run)
    trajectory = with_scores(load_record(run), facts.scores)
    has_source = (run / SOURCE_FILE).is_file()
    require_unchanged(facts, run / SOURCE_FILE if has_source else folder / _copy_name(SOURCE_FILE, facts.content))
    conversations = unroll(trajectory, template)
    for place in places:
        turn, conversation = facts.turns[place], conversations[place]
        step = trajectory.steps[turn.index]
        files = {name: _copy(run, name, facts.content, folder) for name in (SOURCE_FILE, step.file)}
        yield Row(
            id=f"{facts.content}-{step.turn}",
            messages=conversation.messages,
            images=_names(conversation, files),
            answer=conversation.answer,
            instruction=trajectory.instruction,
            prompt=step.prompt,
            source=files[SOURCE_FILE],
            edited=files[step.file],
            semantic=float(turn.semantic),  # an integer in the first row would set the column's type
            quality=float(turn.quality),
            kind=facts.kind,
            turn=step.turn,
            run=run.name,
        )


def flat_text(messages: Messages) -> str:
    """The first message's text with `<image>` in place of its images; an `<image>` that the user wrote is defused."""
    parts = messages[0]["content"]
    return "".join("<image>" if part["type"] == "image" else defuse_placeholders(part["text"]) for part in parts)


def defuse_placeholders(text: str) -> str:
    """The text without anything that trainers take for an image, video or audio placeholder."""
    return _PLACEHOLDER.sub(r"< \1>", text)


def _names(conversation: Conversation, files: dict[str, str]) -> tuple[str, ...]:
    assert all(isinstance(image, Path) for image in conversation.images), "a recorded run has its images in files"
    return tuple(files[image.name] for image in conversation.images if isinstance(image, Path))


def _copy(run: Path, name: str, content: str, folder: Path) -> str:
    """Copy an image of a run into the dataset, once; returns its name there, which no image of another run has."""
    copied = _copy_name(name, content)
    if not (folder / copied).exists():
        if not is_own_image(run, name):
            raise RethinkError(f"runs: the image {run / name} is gone.")
        _check_sums(run / name)
        (folder / copied).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / copied) as part:
            shutil.copyfile(run / name, part)
    return copied


def _copy_name(name: str, content: str) -> str:
    return f"{IMAGES}/{content[:2]}/{content}-{name}"


def _check_sums(file: Path) -> None:
    """Raise RethinkError for a PNG with wrong checksums, without decoding it: it would stop a trainer after hours."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError) as error:
        raise RethinkError(f"runs: {file} is damaged: {error}") from error
