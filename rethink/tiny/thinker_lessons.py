"""What the built-in thinker learns from: conversations about this world, drawn on demand.

Most lessons in wide English end as soon as the answer has stated in plain words what is asked for: the rest follows
from that. A batch has one kind of lesson, so that little of it is padding.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch
from torch import Tensor

from ..thinkers.critique import POLISH, SPLIT, TEMPLATE, critique_messages
from ..training.conversation_batches import IGNORED, DataCollator
from ..training.conversations import Conversation
from . import teacher
from .scene import render
from .tasks import WIDE, Task, sample_task

POLISH_SHARE, SPLIT_SHARE, WITH_CHECKLIST = 0.04, 0.02, 0.05  # shares of examples that are not plain critiques
GAPS, GAP = 0.3, 0.25  # share of examples whose instruction lacks words, and of the words in `LIGHT` that it lacks
ASKED, EXPECTED = ". Asked: ", ". Expected: "  # what a lesson on language ends with
# Shares of batches in every stage of the training. First to see and to judge: drawn edits in the words of `phrasings`, and edits that
# were really made. Then wide English: what is asked for, from the source alone and from an edit, and what was learned before.
# At last all of it, most of it edits to be judged.
SHARES = {
    "thinker": {"drawn edit": 0.5, "real edit": 0.12, "request": 0.2, "request of an edit": 0.1, "critique": 0.08},
    "wide": {
        "drawn edit": 0.12,
        "real edit": 0.05,
        "request": 0.30,
        "request of an edit": 0.28,
        "critique": 0.08,
        "polish": 0.05,
        "checklist": 0.06,
        "boxes": 0.06,
    },
    "finish": {
        "drawn edit": 0.20,
        "real edit": 0.12,
        "request": 0.10,
        "request of an edit": 0.10,
        "critique": 0.30,
        "polish": 0.04,
        "checklist": 0.06,
        "boxes": 0.08,
    },
}
STAGES = tuple(SHARES)
WIDE_SHARE = 0.7  # of requests; the others are of the old levels, most of those to be worked out
# Words that an instruction can do without, mostly: who learns from the others understands wordings never seen.
LIGHT = {
    "make",
    "turn",
    "change",
    "paint",
    "color",
    "draw",
    "put",
    "place",
    "set",
    "move",
    "shift",
    "bring",
    "take",
    "give",
    "let",
    "go",
    "show",
    "insert",
    "i'd",
    "i",
    "like",
    "see",
    "want",
    "should",
    "would",
    "how",
    "about",
    "be",
    "become",
    "to",
    "into",
    "at",
    "in",
    "of",
    "it",
    "is",
    "so",
    "that",
}


@dataclass(frozen=True, eq=False)
class Lesson:
    """A conversation; cut: whether its answer continues after what is learned."""

    conversation: Conversation
    cut: bool = False


class Lessons(torch.utils.data.IterableDataset):
    """Endless Lessons, `batch` of a kind in a row, in `shares`; every worker draws different ones.

    edits: conversations about edits that were actually made; without any, that kind is left out.
    """

    def __init__(self, batch: int, shares: Mapping[str, float], edits: Sequence[Conversation] = ()):
        self.batch, self.edits = batch, edits
        self.shares = {kind: share for kind, share in shares.items() if edits or kind != "real edit"}

    def __iter__(self) -> Iterator[Lesson]:
        worker = torch.utils.data.get_worker_info()
        # The clock is part of the seed, so that a resumed training run does not see the same lessons again.
        rng = Random(f"lessons-{time.time_ns()}-{worker.id if worker else os.getpid()}")
        while True:
            kind = rng.choices(list(self.shares), list(self.shares.values()))[0]
            for _ in range(self.batch):
                yield Lesson(rng.choice(self.edits)) if kind == "real edit" else draw_lesson(rng, kind)


def draw_lesson(rng: Random, kind: str) -> Lesson:
    """A lesson of one of the kinds in `SHARES`, except real edits."""
    seed = rng.getrandbits(60)
    if kind == "drawn edit":
        return Lesson(as_conversation(teacher.draw_example(seed), rng))
    if kind == "request":
        level = WIDE if rng.random() < WIDE_SHARE else rng.choice(("plain", "unusual", "reasoning", "reasoning"))
        return ask_for_request(sample_task(seed, level, split="train"))
    if kind == "polish":
        task = sample_task(seed, WIDE, split="train")
        return Lesson(_polish(task, teacher.write_polished(task)))
    if kind == "checklist":
        return Lesson(_with_checklist(teacher.draw_example(seed, level=rng.choice((WIDE, None))), rng))
    if kind == "boxes":
        return Lesson(_with_boxes(teacher.draw_example(seed, level=rng.choice((WIDE, None)))))
    return ask_for_critique(teacher.draw_example(seed, level=WIDE), cut=kind == "request of an edit")


def ask_for_request(task: Task) -> Lesson:
    """What the source shows and what is asked for in plain words, and no more."""
    return Lesson(_polish(task, _up_to_request(teacher.write_polished(task))), cut=True)


def ask_for_critique(example: teacher.CritiqueExample, cut: bool = False) -> Lesson:
    """An edit to be judged; cut: no further than what is asked for."""
    question = critique_messages(TEMPLATE, instruction=example.task.instruction, prompt=example.prompt)
    answer = teacher.write_critique(example)
    images = example.source, example.edited
    return Lesson(Conversation(question, images, _up_to_request(answer) if cut else answer), cut)


def _with_checklist(example: teacher.CritiqueExample, rng: Random) -> Conversation:
    """A task to be split into statements, or an edit to be judged by them."""
    task = example.task
    if rng.random() < 0.5:
        question = critique_messages(SPLIT, instruction=task.instruction)
        return Conversation(question, (example.source,), teacher.write_checklist(task))
    asked = {"instruction": task.instruction, "prompt": example.prompt, "checklist": teacher.split(task)}
    answer = teacher.write_critique(example, with_checklist=True)
    return Conversation(critique_messages(TEMPLATE, **asked), (example.source, example.edited), answer)


def _with_boxes(example: teacher.CritiqueExample) -> Conversation:
    """An edit to be judged and pointed at."""
    asked = {"instruction": example.task.instruction, "prompt": example.prompt}
    answer = teacher.write_critique(example) + teacher.write_regions(example.task, example.observation)
    return Conversation(critique_messages(TEMPLATE, **asked, regions=True), (example.source, example.edited), answer)


def _polish(task: Task, answer: str) -> Conversation:
    return Conversation(critique_messages(POLISH, instruction=task.instruction), (render([task.source]),), answer)


def _up_to_request(answer: str) -> str:
    return answer[: answer.index(EXPECTED) + len(EXPECTED)]


class LessonCollator(DataCollator):
    """Batches of Lessons, padded; the end of a cut answer is not learned."""

    def __call__(self, rows: list[Any]) -> dict[str, Tensor]:
        batch = super().__call__([{"conversation": lesson.conversation} for lesson in rows])
        for labels, lesson in zip(batch["labels"], rows):
            if lesson.cut:
                labels[(labels != IGNORED).nonzero()[-1]] = IGNORED
        return batch


def as_conversation(example: teacher.CritiqueExample, rng: Random) -> Conversation:
    """An example as what is asked and what is to be answered: mostly a critique."""
    task, draw = example.task, rng.random()
    if rng.random() < GAPS:
        example = _with_gaps(example, rng)
        task = example.task
    if draw < POLISH_SHARE:
        return Conversation(
            critique_messages(POLISH, instruction=task.instruction), (example.source,), teacher.write_polished(task)
        )
    if draw < POLISH_SHARE + SPLIT_SHARE:
        return Conversation(
            critique_messages(SPLIT, instruction=task.instruction), (example.source,), teacher.write_checklist(task)
        )
    checklist = teacher.split(task) if draw > 1 - WITH_CHECKLIST else ()
    question = critique_messages(TEMPLATE, instruction=task.instruction, prompt=example.prompt, checklist=checklist)
    return Conversation(
        question, (example.source, example.edited), teacher.write_critique(example, with_checklist=bool(checklist))
    )


def _with_gaps(example: teacher.CritiqueExample, rng: Random) -> teacher.CritiqueExample:
    """The example with words left out of its instruction, and of a prompt that repeats it."""
    before = example.task.instruction
    words = [word for word in before.split() if word.lower() not in LIGHT or rng.random() >= GAP]
    task = replace(example.task, instruction=" ".join(words))
    return replace(example, task=task, prompt=task.instruction if example.prompt == before else example.prompt)
