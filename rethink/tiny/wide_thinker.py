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
from ..thinkers.critique import POLISH, SPLIT, TEMPLATE, critique_messages
from ..thinkers.transformers_chat import TransformersChat
from ..training.conversation_batches import IGNORED, DataCollator
from ..training.conversations import Conversation
from ..training.thinker_sft import freeze_vision
from ..training.train_loop import TrainConfig, TrainStep, main_process_first, train_loop
from . import build_thinker, teacher
from .english import GROUPS
from .english.meanings import word_meanings
from .scene import render
from .tasks import WIDE, Task, sample_task

ASKED, EXPECTED = ". Asked: ", ". Expected: "  # what a lesson on language ends with
# Shares of batches: what is asked for, from the source alone and from an edit; whole answers of both;
# checklists; boxes; old lessons.
SHARES = {
    "request": 0.30,
    "request of an edit": 0.28,
    "polish": 0.05,
    "critique": 0.08,
    "checklist": 0.06,
    "boxes": 0.06,
    "old": 0.17,
}
WIDE_SHARE = 0.7  # of requests; the others are of the old levels, most of those to be worked out
NEAR = 0.7  # how near to the plain word a new one begins: 1 is the same
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
        level = WIDE if rng.random() < WIDE_SHARE else rng.choice(("plain", "unusual", "reasoning", "reasoning"))
        return ask_for_request(sample_task(seed, level, split="train"))
    if kind == "polish":
        task = sample_task(seed, WIDE, split="train")
        return Lesson(_polish(task, teacher.write_polished(task)))
    if kind == "checklist":
        return Lesson(_with_checklist(teacher.draw_example(seed, level=rng.choice((WIDE, None))), rng))
    if kind == "boxes":
        return Lesson(_with_boxes(teacher.draw_example(seed, level=rng.choice((WIDE, None)))))
    example = teacher.draw_example(seed, level=WIDE)
    question = critique_messages(TEMPLATE, instruction=example.task.instruction, prompt=example.prompt)
    answer, cut = teacher.write_critique(example), kind == "request of an edit"
    images = example.source, example.edited
    return Lesson(Conversation(question, images, _up_to_request(answer) if cut else answer), cut)


def ask_for_request(task: Task) -> Lesson:
    """What the source shows and what is asked for in plain words, and no more."""
    return Lesson(_polish(task, _up_to_request(teacher.write_polished(task))), cut=True)


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

    def step(self, taken: TrainStep) -> None:
        pass

    def save(self, step: int, seconds: float) -> None:
        found = {name: understood(self.chat, held_out_tasks(name, CHECKED)) for name in ("known", *GROUPS)}
        self.report(f"step {step}, {seconds / 60:.1f} min: " + ", ".join(f"{k} {v:.1%}" for k, v in found.items()))

    def end(self) -> None:
        pass

    def rescue(self, why: str) -> bool:
        return False


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
        rows = {name: value.to(chat.device) for name, value in rows.items()}
        labels = rows.pop("labels")[:, 1:]
        guesses = cast(Any, chat.module)(**rows).logits[:, :-1].argmax(-1)
        after = (labels == asked).cumsum(1) - (labels == asked).long() > 0
        right += int((~after | (labels == IGNORED) | (guesses == labels)).all(1).sum())
    return right / len(tasks)


def begin(trained: Path, folder: Path) -> None:
    """Writes the thinker of `trained` into `folder` with the tokens of wide English: what is said by both keeps its embedding, and
    a new word begins near the plain word for it."""
    old = load_thinker(trained, dtype="fp32")
    build_thinker.write_folder(folder)
    model, tokenizer = build_thinker.make_model(folder), load_tokenizer(folder)
    rows = carry_over(old, tokenizer)
    state = {k: v for k, v in old.module.state_dict().items() if v.shape[:1] != (len(old.tokenizer),)}
    model.load_state_dict(state, strict=False)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(rows)
    model.save_pretrained(folder)


def load_tokenizer(folder: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def carry_over(old: TransformersChat, tokenizer) -> Tensor:
    """Embeddings [tokens, width] for `tokenizer`, from those that `old` has."""
    before, meanings = old.tokenizer.get_vocab(), word_meanings()
    weights = cast(Any, old.module).get_input_embeddings().weight
    rows = torch.empty(len(tokenizer), weights.shape[1])
    for token, number in tokenizer.get_vocab().items():
        if token in before:
            rows[number] = weights[before[token]]
            continue
        text = tokenizer.decode([number])
        pieces = old.tokenizer(text, add_special_tokens=False).input_ids
        rows[number] = weights[pieces].mean(0)
        plain = before.get(f"\u0120{meanings.get(text.strip(), '')}")
        if plain is not None:
            rows[number] = torch.lerp(rows[number], weights[plain], NEAR)
    return rows


def train(work: Path, plan: TrainConfig, report: Callable[[str], None]) -> None:
    """Trains work/thinker-trained, or the thinker that ships where there is none, into work/thinker-wide."""
    trained, folder = work / "thinker-trained", work / "wide" / "begin"
    with main_process_first():
        if not (folder / "model.safetensors").exists():
            begin(trained if (trained / "config.json").exists() else THINKER_FOLDER, folder)
    chat = load_thinker(folder, dtype="fp32")
    cast(Any, chat.module).set_attn_implementation("eager")  # the fastest for rows this short
    freeze_vision(chat.module)
    collate, watch = LessonCollator(chat, pack=False), RequestCheck(chat, report)
    lessons, loss = Lessons(plan.batch), AnswerLoss(chat.module)
    train_loop(loss, lessons, plan, work / "wide", collate=collate, report=report, watch=watch)
    with main_process_first() as first:
        if first:
            build_thinker.save(chat.module, folder, work / "thinker-wide")
