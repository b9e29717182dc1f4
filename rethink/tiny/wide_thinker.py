"""Goes on training the built-in thinker in wide English: short questions, since language is what is to be learned.

Most lessons end as soon as it was said what is asked for, in plain words; the rest of an answer follows from that, and
is known already. A batch has one kind of question, so that little of it is padding. The vision tower stays as it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..builtin import THINKER_FOLDER
from ..thinkers.backends.local_folder import load_thinker
from ..thinkers.critique import POLISH, TEMPLATE, critique_messages
from ..thinkers.transformers_chat import TransformersChat
from ..training.conversation_batches import IGNORED, DataCollator
from ..training.conversations import Conversation
from ..training.thinker_sft import freeze_vision
from ..training.train_loop import TrainConfig, train_loop
from . import build_thinker, teacher
from .english import GROUPS
from .scene import render
from .tasks import WIDE, Task, sample_task

ASKED, EXPECTED = ". Asked: ", ". Expected: "  # what a lesson on language ends with
# Shares of batches: what is asked for, from the source alone and from an edit; whole answers of both; old lessons.
SHARES = {"request": 0.5, "request of an edit": 0.16, "polish": 0.06, "critique": 0.13, "old": 0.15}
CHECKED = 48  # held-out sentences of each group that are looked at with every checkpoint


@dataclass(frozen=True, eq=False)
class Lesson:
    """A conversation; cut: whether its answer goes on after what is learned."""

    conversation: Conversation
    cut: bool = False


class Lessons(torch.utils.data.IterableDataset):
    """Endless Lessons, `batch` of a kind one after another; every worker draws others."""

    def __init__(self, batch: int):
        self.batch = batch

    def __iter__(self) -> Iterator[Lesson]:
        worker = torch.utils.data.get_worker_info()
        # The clock is in it, so that a training that goes on does not see the same lessons again.
        rng = Random(f"wide-{time.time_ns()}-{worker.id if worker else os.getpid()}")
        while True:
            kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
            for _ in range(self.batch):
                yield draw_lesson(rng, kind)


def draw_lesson(rng: Random, kind: str) -> Lesson:
    """A lesson of one of the kinds of `SHARES`."""
    seed = rng.getrandbits(60)
    if kind == "old":
        return Lesson(build_thinker.conversation(teacher.draw_example(seed), rng))
    if kind == "request":
        return ask_for_request(sample_task(seed, WIDE, split="train"))
    if kind == "polish":
        task = sample_task(seed, WIDE, split="train")
        return Lesson(_polish(task, teacher.write_polished(task)))
    example = teacher.draw_example(seed, level=WIDE)
    question = critique_messages(TEMPLATE, instruction=example.task.instruction, prompt=example.prompt)
    answer, cut = teacher.write_critique(example), kind == "request of an edit"
    images = example.source, example.edited
    return Lesson(Conversation(question, images, _up_to_request(answer) if cut else answer), cut)


def ask_for_request(task: Task) -> Lesson:
    """What the source shows and what is asked for in plain words, and no more."""
    return Lesson(_polish(task, _up_to_request(teacher.write_polished(task))), cut=True)


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


class AnswerLoss(nn.Module):
    """`forward(batch)`: of the answers of a batch of `LessonCollator`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.model(**batch).loss


class RequestCheck:
    """A TrainWatch that reports how often held-out sentences are understood."""

    def __init__(self, chat: TransformersChat, report: Callable[[str], None]):
        self.chat, self.report = chat, report

    def go_on(self, step: int) -> None:
        pass

    def step(self, step: int, loss: Tensor, rate: float) -> None:
        pass

    def save(self, step: int, seconds: float) -> None:
        found = {name: understood(self.chat, held_out_tasks(name, CHECKED)) for name in ("known", *GROUPS)}
        self.report(f"step {step}, {seconds / 60:.1f} min: " + ", ".join(f"{k} {v:.1%}" for k, v in found.items()))

    def end(self) -> None:
        pass


def held_out_tasks(wording: str, count: int) -> list[Task]:
    """Tasks of held-out scenes in wide English, by group ("known": rules that were trained on)."""
    return [sample_task(seed, WIDE, wording=wording) for seed in range(count)]


@torch.no_grad()
def understood(chat: TransformersChat, tasks: list[Task], batch: int = 24) -> float:
    """The share of tasks whose plain wording the model would write word for word, given what the source shows."""
    collate, right = LessonCollator(chat, pack=False), 0
    asked = chat.tokenizer.convert_tokens_to_ids(ASKED)
    for start in range(0, len(tasks), batch):
        rows = collate([ask_for_request(task) for task in tasks[start : start + batch]])
        labels = rows.pop("labels")[:, 1:]
        guesses = cast(Any, chat.module)(**rows).logits[:, :-1].argmax(-1)
        after = (labels == asked).cumsum(1) - (labels == asked).long() > 0
        right += int((~after | (labels == IGNORED) | (guesses == labels)).all(1).sum())
    return right / len(tasks)


def train(work: Path, plan: TrainConfig, report: Callable[[str], None]) -> None:
    """Trains work/thinker-trained, or the thinker that ships where there is none, into work/thinker-wide."""
    trained = work / "thinker-trained"
    folder = trained if (trained / "config.json").exists() else THINKER_FOLDER
    chat = load_thinker(folder, dtype="fp32")
    build_thinker.read_lower_case(chat.tokenizer)
    cast(Any, chat.module).set_attn_implementation("eager")  # the fastest for rows this short
    freeze_vision(chat.module)
    watch = RequestCheck(chat, report)
    train_loop(
        AnswerLoss(chat.module),
        Lessons(plan.batch),
        plan,
        work / "wide",
        collate=LessonCollator(chat, pack=False),
        report=report,
        watch=watch,
    )
    build_thinker.save(chat.module, folder, work / "thinker-wide")
    chat.tokenizer.save_pretrained(work / "thinker-wide")
    build_thinker.add_old_names(work / "thinker-wide")
