"""Stage one: what is encoded, once, and which examples come in which batch."""

from dataclasses import replace

import pytest

from rethink.errors import RethinkError
from rethink.training.edit_model import EditModel
from rethink.training.lora_examples import LoraExamples
from rethink.training.lora_pairs import read_pairs
from rethink.training.lora_settings import LoraSettings
from tests.support import editor_miniatures
from tests.support.lora_training import write_pairs

SETTINGS = LoraSettings(batch=3, keep="off")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return EditModel(editor_miniatures.opened("instruct_pix2pix", tmp_path_factory.mktemp("models")))


def test_every_pair_is_encoded_once_and_comes_in_batches_with_its_name(model, tmp_path, monkeypatch):
    pairs, room, seen = read_pairs(write_pairs(tmp_path / "pairs", 8)), [], []
    examples = LoraExamples(SETTINGS, model, pairs, tmp_path / "cache")
    examples.encode_all(room.append, lambda done, total: seen.append((done, total)))
    assert room == [7 * examples.cache.size(examples.keys[0])], "the first is there by then"
    assert seen == [(number, 8) for number in range(1, 9)]
    assert len(examples.keys) == 6 and len(examples.held_out_keys) == 2 and not examples.replay_keys
    batches = [examples.batch(number) for number in range(2)]
    assert sorted(name for _, names in batches for name in names) == sorted(pair.id for pair in examples.training)
    assert all(len(batch.target) == len(names) == 3 for batch, names in batches)
    monkeypatch.setattr(model, "encode", pytest.fail)
    again = LoraExamples(SETTINGS, model, pairs, tmp_path / "cache")
    again.encode_all(room.append, lambda done, total: None)
    assert again.keys == examples.keys and room[1:] == [0], "what is there takes no more room"


def test_edits_that_are_kept_take_room_until_they_are_there(model, tmp_path):
    model.editor.defaults = replace(model.editor.defaults, steps=1)
    pairs, room = read_pairs(write_pairs(tmp_path / "pairs", 4)), []
    for replay in (2, 2, 3):
        settings = LoraSettings(batch=3, hold_out=0.0, keep="high", replay=replay)
        examples = LoraExamples(settings, model, pairs, tmp_path / "cache")
        examples.encode_all(room.append, lambda done, total: None)
    one = examples.cache.size(examples.keys[0])
    assert room == [(3 + 2) * one, 0, one]


def test_a_pair_that_cannot_be_encoded_is_named(model, tmp_path):
    pairs = read_pairs(write_pairs(tmp_path / "pairs", 2))
    wide = read_pairs(write_pairs(tmp_path / "wide", 1 + 1, size=(32, 64)))
    mixed = [pairs[0], type(pairs[0])(**{**vars(pairs[1]), "target": wide[0].target, "digest": "other"})]
    with pytest.raises(RethinkError, match=f"pairs: {pairs[1].id}: its input has 32 × 32 pixels"):
        LoraExamples(SETTINGS, model, mixed, tmp_path / "cache").encode_all(lambda size: None, lambda done, total: None)
