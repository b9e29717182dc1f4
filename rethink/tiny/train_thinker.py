"""Trains the built-in thinker: first to see and judge edits, then in wide English with frozen vision, and finally in
all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..builtin import THINKER_FOLDER
from ..errors import RethinkError
from ..thinkers.backends.local_folder import load_thinker
from ..thinkers.transformers_chat import TransformersChat
from ..training.conversation_batches import IGNORED
from ..training.thinker_sft import freeze_vision
from ..training.train_loop import TrainConfig, TrainStep, main_process_first, train_loop
from . import build_thinker
from .english import GROUPS
from .english.meanings import word_meanings
from .tasks import WIDE, Task, sample_task
from .teacher import draw_example
from .thinker_lessons import ASKED, SHARES, STAGES, Lesson, LessonCollator, Lessons, ask_for_critique, ask_for_request

NEAR = 0.7  # how near to the plain word a new one starts; 1 is the same
CHECKED = 48  # held-out sentences of each group, and held-out edits, that are checked with every checkpoint


def train(stage: str, work: Path, plan: TrainConfig, report: Callable[[str], None]) -> None:
    """Train the result of the previous stage in `work` (the first stage from scratch) into the folder from
    `trained_in`.

    It also learns from the trajectories in work/trajectories. If no earlier stage was run, it starts from the thinker
    that ships.
    """
    folder = work / stage / "begin"
    with main_process_first():
        if not (folder / "model.safetensors").exists():
            begin(folder) if stage == STAGES[0] else go_on(_last(work, stage), folder)
    chat = load_thinker(folder, dtype="fp32")
    cast(Any, chat.module).set_attn_implementation("eager")  # the fastest for rows this short
    if stage == "wide":
        freeze_vision(chat.module)
    lessons = Lessons(plan.batch, SHARES[stage], build_thinker.read_trajectories(work / "trajectories"))
    collate, watch = LessonCollator(chat, pack=False), HeldOutCheck(chat, report)
    loss = AnswerLoss(chat.module)
    train_loop(loss, lessons, plan, work / stage, collate=collate, report=report, watch=watch, optimizers=muon)
    with main_process_first() as first:
        if first:
            build_thinker.save(chat.module, folder, trained_in(work, stage))


def trained_in(work: Path, stage: str) -> Path:
    return work / f"{stage}-trained"


def find_trained(work: Path, stages: Sequence[str] = STAGES) -> Path | None:
    """The thinker from the last of these stages that was run."""
    folders = (trained_in(work, stage) for stage in reversed(stages))
    return next((folder for folder in folders if (folder / "config.json").exists()), None)


def _last(work: Path, stage: str) -> Path:
    return find_trained(work, STAGES[: STAGES.index(stage)]) or THINKER_FOLDER


def muon(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices (K. Jordan et al. 2024), AdamW for embeddings, norms and biases.

    Muon's steps are scaled to Adam's, as in section 2.2 of arXiv 2502.16982. Raises RethinkError if torch has no Muon.
    """
    if not hasattr(torch.optim, "Muon"):
        raise RethinkError(
            f"torch: this is {torch.__version__}, but training the thinker needs Muon; update torch to 2.9 or newer."
        )
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    matrices = [name for name, weight in weights.items() if weight.ndim == 2 and "embed" not in name]
    others = [weight for name, weight in weights.items() if name not in matrices]
    return [
        torch.optim.Muon([weights[name] for name in matrices], rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, rate, betas=(0.9, 0.99), weight_decay=0.01),
    ]


class AnswerLoss(nn.Module):
    """`forward(batch)`: the loss of the answers in a batch of `LessonCollator`; only learned tokens are predicted."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        batch = dict(batch)
        labels = batch.pop("labels")[:, 1:]
        states = self.model.model(**batch).last_hidden_state[:, :-1]
        learned = labels != IGNORED
        return nn.functional.cross_entropy(self.model.lm_head(states[learned]).float(), labels[learned])


class HeldOutCheck:
    """A TrainWatch that reports how often held-out sentences are understood and held-out edits judged correctly."""

    def __init__(self, chat: TransformersChat, report: Callable[[str], None]):
        self.chat, self.report = chat, report

    def go_on(self, step: int) -> None:
        pass

    def step(self, taken: TrainStep) -> None:
        pass

    def save(self, step: int, seconds: float) -> None:
        found = {name: understood(self.chat, held_out_tasks(name, CHECKED)) for name in ("known", *GROUPS)}
        found["judged"] = judged(self.chat, held_out_edits(CHECKED))
        self.report(f"step {step}, {seconds / 60:.1f} min: " + ", ".join(f"{k} {v:.1%}" for k, v in found.items()))

    def end(self) -> None:
        pass

    def rescue(self, why: str) -> bool:
        return False


def held_out_tasks(wording: str, count: int) -> list[Task]:
    """Tasks of held-out scenes in wide English, by group ("known": rules that were trained on)."""
    return [sample_task(seed, WIDE, wording=wording) for seed in range(count)]


def held_out_edits(count: int) -> list[Lesson]:
    """Drawn edits of held-out scenes with plain instructions, to be judged."""
    return [ask_for_critique(draw_example(seed, "test", "plain")) for seed in range(count)]


def understood(chat: TransformersChat, tasks: Sequence[Task]) -> float:
    """The share of tasks whose plain wording the model would write word for word, given what the source shows."""
    asked, right = chat.tokenizer.convert_tokens_to_ids(ASKED), 0
    for labels, correct in _guess(chat, [ask_for_request(task) for task in tasks]):
        after = (labels == asked).cumsum(1) - (labels == asked).long() > 0
        right += int((~after | correct).all(1).sum())
    return right / len(tasks)


def judged(chat: TransformersChat, lessons: Sequence[Lesson]) -> float:
    """The share of lessons whose answer the model would write word for word."""
    return sum(int(correct.all(1).sum()) for _, correct in _guess(chat, lessons)) / len(lessons)


@torch.no_grad()
def _guess(chat: TransformersChat, lessons: Sequence[Lesson], batch: int = 24) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (labels, whether the likeliest token after all labels before is the label) [lessons, tokens], true where there is no label."""
    collate = LessonCollator(chat, pack=False)
    for start in range(0, len(lessons), batch):
        rows = {name: value.to(chat.device) for name, value in collate(list(lessons[start : start + batch])).items()}
        labels = rows.pop("labels")[:, 1:]
        guesses = cast(Any, chat.module)(**rows).logits[:, :-1].argmax(-1)
        yield labels, (labels == IGNORED) | (guesses == labels)


def begin(folder: Path) -> None:
    """Write an untrained thinker to `folder`; the embedding of a synonym is near that of the plain word."""
    build_thinker.write_folder(folder)
    torch.manual_seed(0)
    model, tokenizer = build_thinker.make_model(folder), load_tokenizer(folder)
    rows = model.get_input_embeddings().weight
    draw_near(rows, tokenizer, set(tokenizer.get_vocab()))
    model.save_pretrained(folder)


def go_on(trained: Path, folder: Path) -> None:
    """Write the thinker in `trained` to `folder` with the current tokens: shared tokens keep their embeddings, and a
    new word starts near its plain word."""
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
    """Embeddings [tokens, width] for `tokenizer`, from those of `old`."""
    before = old.tokenizer.get_vocab()
    weights = cast(Any, old.module).get_input_embeddings().weight
    rows = torch.empty(len(tokenizer), weights.shape[1])
    for token, number in tokenizer.get_vocab().items():
        if token in before:
            rows[number] = weights[before[token]]
        else:
            pieces = old.tokenizer(tokenizer.decode([number]), add_special_tokens=False).input_ids
            rows[number] = weights[pieces].mean(0)
    draw_near(rows, tokenizer, tokenizer.get_vocab().keys() - before.keys())
    return rows


@torch.no_grad()
def draw_near(rows: Tensor, tokenizer, tokens: Set[str]) -> None:
    """Move the embeddings of `tokens`, in `rows` [tokens, width], toward that of the plain word for each."""
    numbers = tokenizer.get_vocab()
    for word, plain in word_meanings().items():
        token, there = f"\u0120{word}", numbers.get(f"\u0120{plain}")
        if token in tokens and there is not None:
            rows[numbers[token]].lerp_(rows[there], NEAR)
