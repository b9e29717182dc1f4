"""Other edits to be kept: the editor's own, each made once."""

from dataclasses import replace

import pytest
import torch

from rethink.training.edit_model import EditModel
from rethink.training.example import Example
from rethink.training.example_cache import ExampleCache
from rethink.training.lora_pairs import read_pairs
from rethink.training.replay import EVERYDAY_EDITS, make_replay, mix_identity
from tests.support import editor_miniatures
from tests.support.lora_training import write_pairs


def test_every_instruction_is_edited_by_the_editor_once(tmp_path, monkeypatch):
    editor = editor_miniatures.opened("instruct_pix2pix", tmp_path)
    editor.defaults = replace(editor.defaults, steps=2)
    model, pairs, asked = EditModel(editor), read_pairs(write_pairs(tmp_path / "pairs", 3)), []
    edit = editor.edit
    monkeypatch.setattr(editor, "edit", lambda *arguments: asked.append(arguments[1]) or edit(*arguments))
    cache = ExampleCache(tmp_path / "cache", model)
    keys = make_replay(model, pairs, ("add a hat", "make it red"), 4, cache, 0, lambda done: None, range(4))
    assert [text for (text,) in asked] == ["add a hat", "make it red"] * 2 and len(set(keys)) == 4
    monkeypatch.setattr(editor, "edit", pytest.fail)
    assert make_replay(model, pairs, ("add a hat", "make it red"), 4, cache, 0, lambda done: None, range(4)) == keys


def test_another_process_encodes_what_is_not_in_the_share(tmp_path):
    editor = editor_miniatures.opened("instruct_pix2pix", tmp_path)
    editor.defaults = replace(editor.defaults, steps=1)
    model, pairs = EditModel(editor), read_pairs(write_pairs(tmp_path / "pairs", 3))
    cache = ExampleCache(tmp_path / "cache", model)
    keys = make_replay(model, pairs, ("add a hat", ""), 4, cache, 0, lambda done: None, range(1, 4, 2))
    assert [cache.has(key) for key in keys] == [False, True, False, True]
    same = cache.load(keys[1])  # left as it is
    assert torch.allclose(same.target, same.source * editor._pipeline.vae.config.scaling_factor)


def test_empty_instructions_are_spread_evenly():
    assert mix_identity(("a", "b"), 5, 0.0) == ["a", "b", "a", "b", "a"]
    texts = mix_identity(("a", "b"), 8, 0.25)
    assert texts.count("") == 2 and texts[:4].count("") == 1 and [text for text in texts if text] == ["a", "b"] * 3


def test_an_instruction_of_a_certain_image_goes_with_that_one(tmp_path, monkeypatch):
    editor = editor_miniatures.opened("instruct_pix2pix", tmp_path)
    model, pairs, sources = EditModel(editor), read_pairs(write_pairs(tmp_path / "pairs", 3)), []
    monkeypatch.setattr(editor, "edit", lambda prepared, texts, seeds: sources[-1])
    prepare = editor.prepare
    monkeypatch.setattr(editor, "prepare", lambda image, more=(): sources.append(image) or prepare(image, more))
    own = [(pair.source, f"make {pair.id} red") for pair in pairs]
    cache = ExampleCache(tmp_path / "cache", model)
    assert (
        len(make_replay(model, pairs, [("elsewhere", "add a hat"), *own], 3, cache, 0, lambda done: None, range(3)))
        == 3
    )
    assert all((sources[3 * number] == pair.images()[1]).all() for number, pair in enumerate(pairs))
    assert make_replay(model, pairs, [("elsewhere", "add a hat")], 3, cache, 0, lambda done: None, range(3)) == []


def test_common_edits_are_instructions():
    assert len(EVERYDAY_EDITS) == len(set(EVERYDAY_EDITS)) == 20


def test_an_input_is_edited_with_its_references_and_a_target_without(tmp_path, monkeypatch):
    editor = editor_miniatures.opened("instruct_pix2pix", tmp_path)
    model, pairs = EditModel(editor), read_pairs(write_pairs(tmp_path / "pairs", 3, references=(2,)))
    prepared, encoded = [], []
    monkeypatch.setattr(editor, "prepare", lambda *images: prepared.append(images))
    monkeypatch.setattr(editor, "edit", lambda *_: torch.zeros(1))

    def encode(source, target, text, references):
        encoded.append((source, references))
        return Example(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), {}, {})

    monkeypatch.setattr(model, "encode", encode)
    cache = ExampleCache(tmp_path / "cache", model)
    make_replay(model, pairs, ("add a hat",), 12, cache, 0, lambda done: None, range(12))
    assert {len(references) for _, references in encoded} == {0, 2}
    inputs = [pair.images()[0] for pair in pairs]
    for (source, references), (image, others) in zip(encoded, prepared, strict=True):
        assert source is image and len(references) == len(others)
        assert bool(references) == any(torch.equal(source, input) for input in inputs)
