"""The training of the built-in thinker: what it begins with, what its loss is, and that it goes on where it stopped."""

from dataclasses import replace

import pytest
import torch

from rethink.builtin import THINKER_FOLDER
from rethink.errors import RethinkError
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.tiny import build_thinker, sample_task, train_thinker
from rethink.tiny.scene import COLORS
from rethink.tiny.tasks import WIDE
from rethink.tiny.thinker_lessons import LessonCollator, ask_for_request
from rethink.training.train_loop import TrainConfig

PLAN = TrainConfig(steps=1, batch=2, learning_rate=1e-4, warmup=1, workers=0, save_every=1, log_every=1)


@pytest.fixture(scope="module")
def chat():
    return load_thinker(THINKER_FOLDER, dtype="fp32")


def test_what_is_understood_is_measured(chat):
    plain = [sample_task(seed) for seed in range(8)]
    assert train_thinker.understood(chat, plain) >= 0.75
    others = [sample_task(seed + 1) for seed in range(8)]
    mixed = [
        type(task)(task.source, other.instruction, task.accepted, task.kind, task.level)
        for task, other in zip(plain, others)
    ]
    assert train_thinker.understood(chat, mixed) <= 0.25


def test_judging_is_measured(chat):
    edits = train_thinker.held_out_edits(16)
    assert train_thinker.judged(chat, edits) >= 0.5
    answers = [edit.conversation.answer for edit in edits]
    mixed = [
        replace(e, conversation=replace(e.conversation, answer=a)) for e, a in zip(edits, answers[1:] + answers[:1])
    ]
    assert train_thinker.judged(chat, mixed) == 0


def test_the_loss_is_that_of_transformers(chat):
    tasks = [sample_task(seed, WIDE, split="train") for seed in range(3)]
    batch = LessonCollator(chat, pack=False)([ask_for_request(task) for task in tasks])
    with torch.no_grad():
        loss, theirs = train_thinker.AnswerLoss(chat.module)(batch), chat.module(**batch).loss
    assert loss > 0 and torch.allclose(loss, theirs, rtol=1e-4)


def test_a_synonym_begins_near_the_plain_word_for_it(tmp_path):
    train_thinker.begin(tmp_path)
    begun = load_thinker(tmp_path, dtype="fp32")
    assert _nearest_color(begun, "crimson", at_least=0.6) == "red"


def test_a_new_word_begins_near_the_plain_word_for_it(chat, tmp_path, monkeypatch):
    meanings = {**train_thinker.word_meanings(), "zorbly": "purple"}
    for module in (build_thinker, train_thinker):
        monkeypatch.setattr(module, "word_meanings", lambda: meanings)
    train_thinker.go_on(THINKER_FOLDER, tmp_path)
    wide = load_thinker(tmp_path, dtype="fp32")
    assert _nearest_color(wide, "zorbly", at_least=0.6) == "purple"
    rows, before = (each.module.get_input_embeddings().weight for each in (wide, chat))
    for text in (" purple", " circle", "<think>"):
        (old,), (new,) = chat.tokenizer(text).input_ids, wide.tokenizer(text).input_ids
        assert torch.equal(rows[new], before[old])


def _nearest_color(chat, word: str, at_least: float) -> str:
    rows = chat.module.get_input_embeddings().weight
    (token,) = chat.tokenizer(f" {word}").input_ids
    colors = [chat.tokenizer(f" {color}").input_ids[0] for color in COLORS]
    alike = torch.nn.functional.cosine_similarity(rows[token], rows[colors])
    assert alike.max() > at_least
    return list(COLORS)[alike.argmax()]


def test_every_weight_has_one_optimizer(chat):
    weights = {id(weight) for weight in chat.module.parameters()}
    groups = [group["params"] for each in train_thinker.muon(chat.module, 1e-3) for group in each.param_groups]
    assert sorted(id(weight) for group in groups for weight in group) == sorted(weights)
    assert min(map(len, groups)) > 20


def test_a_torch_without_muon_is_named(chat, monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(RethinkError, match="2.9"):
        train_thinker.muon(chat.module, 1e-3)


def test_training_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(train_thinker, "CHECKED", 1)
    lines = []
    train_thinker.train("thinker", tmp_path, PLAN, lines.append)
    begun, seeing = (_weights(tmp_path / name) for name in ("thinker/begin", "thinker-trained"))
    assert any(".visual." in name for name in _moved(begun, seeing))
    train_thinker.train("wide", tmp_path, PLAN, lines.append)
    assert any("forms" in line and "mixed" in line and "judged" in line for line in lines)
    moved = _moved(seeing, _weights(tmp_path / "wide-trained"))
    assert moved and not any(".visual." in name for name in moved)
    assert not any("going on" in line for line in lines)
    train_thinker.train("wide", tmp_path, PLAN, lines.append)
    assert "resuming from step 1" in lines
    train_thinker.train("finish", tmp_path, PLAN, lines.append)
    finished = _moved(_weights(tmp_path / "wide-trained"), _weights(tmp_path / "finish-trained"))
    assert any(".visual." in name for name in finished) and moved <= finished
    assert train_thinker.find_trained(tmp_path) == tmp_path / "finish-trained"


def test_wide_english_begins_with_the_thinker_that_ships_where_no_other_was_made(chat, tmp_path, monkeypatch):
    monkeypatch.setattr(train_thinker, "CHECKED", 1)
    train_thinker.train("wide", tmp_path, PLAN, lambda line: None)
    moved = _moved(dict(chat.module.named_parameters()), _weights(tmp_path / "wide-trained"))
    assert moved and not any(".visual." in name for name in moved)


def _weights(folder):
    return dict(load_thinker(folder, dtype="fp32").module.named_parameters())


def _moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}
