"""Going on in wide English: what a lesson ends with, and that a training goes on where it stopped."""

from random import Random

import pytest
import torch

from rethink.builtin import THINKER_FOLDER
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.tiny import build_thinker, sample_task, wide_thinker
from rethink.tiny.scene import COLORS
from rethink.tiny.tasks import WIDE
from rethink.tiny.teacher import plain_requests
from rethink.training.conversation_batches import IGNORED
from rethink.training.train_loop import TrainConfig


@pytest.fixture(scope="module")
def chat():
    return load_thinker(THINKER_FOLDER, dtype="fp32")


def test_a_lesson_on_language_ends_with_the_plain_request(chat):
    tasks = [sample_task(seed, WIDE, split="train") for seed in range(3)]
    lessons = [wide_thinker.ask_for_request(task) for task in tasks]
    batch = wide_thinker.LessonCollator(chat, pack=False)(lessons)
    for task, labels in zip(tasks, batch["labels"]):
        learned = chat.tokenizer.decode(labels[labels != IGNORED])
        assert learned.startswith("<think>Source: ")
        assert learned.endswith(
            f". Asked: {plain_requests(task)[0]}{wide_thinker.EXPECTED}"
        )  # and no end of the answer


def test_other_lessons_are_learned_to_their_end(chat):
    rng = Random(0)
    for kind in wide_thinker.SHARES:
        lesson = wide_thinker.draw_lesson(rng, kind)
        labels = wide_thinker.LessonCollator(chat, pack=False)([lesson])["labels"]
        ends = labels[labels != IGNORED][-1] == chat.tokenizer.eos_token_id
        assert ends == (not kind.startswith("request")) == (not lesson.cut), kind


def test_a_batch_has_one_kind_of_lesson():
    lessons = iter(wide_thinker.Lessons(4))
    for _ in range(6):
        batch = [next(lessons) for _ in range(4)]
        assert len({(lesson.cut, len(lesson.conversation.images)) for lesson in batch}) == 1 or not batch[0].cut


def test_what_is_understood_is_measured(chat):
    plain = [sample_task(seed) for seed in range(8)]
    assert wide_thinker.understood(chat, plain) >= 0.75
    others = [sample_task(seed + 1) for seed in range(8)]
    mixed = [
        type(task)(task.source, other.instruction, task.accepted, task.kind, task.level)
        for task, other in zip(plain, others)
    ]
    assert wide_thinker.understood(chat, mixed) <= 0.25


def test_a_new_word_begins_near_the_plain_word_for_it(chat, tmp_path, monkeypatch):
    meanings = {**wide_thinker.word_meanings(), "zorbly": "purple"}
    for module in (build_thinker, wide_thinker):
        monkeypatch.setattr(module, "word_meanings", lambda: meanings)
    wide_thinker.begin(THINKER_FOLDER, tmp_path)
    wide = load_thinker(tmp_path, dtype="fp32")
    (token,) = wide.tokenizer(" zorbly").input_ids
    rows, before = (each.module.get_input_embeddings().weight for each in (wide, chat))
    colors = [wide.tokenizer(f" {color}").input_ids[0] for color in COLORS]
    alike = torch.nn.functional.cosine_similarity(rows[token], rows[colors])
    assert list(COLORS)[alike.argmax()] == "purple" and alike.max() > 0.6
    for text in (" purple", " circle", "<think>"):
        (old,), (new,) = chat.tokenizer(text).input_ids, wide.tokenizer(text).input_ids
        assert torch.equal(rows[new], before[old])


def test_training_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(wide_thinker, "CHECKED", 1)
    lines = []
    plan = TrainConfig(steps=1, batch=2, learning_rate=1e-4, warmup=1, workers=0, save_every=1, log_every=1)
    wide_thinker.train(tmp_path, plan, lines.append)
    assert any("forms" in line and "mixed" in line for line in lines)
    trained = load_thinker(tmp_path / "thinker-wide", dtype="fp32")
    assert trained.tokenizer("RED").input_ids == trained.tokenizer("red").input_ids
    shipped = load_thinker(THINKER_FOLDER, dtype="fp32")
    before, after = (dict(each.module.named_parameters()) for each in (shipped, trained))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and not any(".visual." in name for name in moved)
    wide_thinker.train(tmp_path, plan, lines.append)
    assert "going on from step 1" in lines
