"""Other edits to be kept: the editor's own, each made once."""

from dataclasses import replace

import pytest

from rethink.training.edit_model import EditModel
from rethink.training.example_cache import ExampleCache
from rethink.training.lora_pairs import read_pairs
from rethink.training.replay import EVERYDAY_EDITS, make_replay
from tests.support import editor_miniatures
from tests.support.lora_training import write_pairs


def test_every_instruction_is_edited_by_the_editor_once(tmp_path, monkeypatch):
    editor = editor_miniatures.opened("instruct_pix2pix", tmp_path)
    editor.defaults = replace(editor.defaults, steps=2)
    model, pairs, asked = EditModel(editor), read_pairs(write_pairs(tmp_path / "pairs", 3)), []
    edit = editor.edit
    monkeypatch.setattr(editor, "edit", lambda *arguments: asked.append(arguments[1]) or edit(*arguments))
    cache = ExampleCache(tmp_path / "cache", model)
    keys = make_replay(model, pairs, ("add a hat", "make it red"), 4, cache, 0, lambda done: None)
    assert [text for (text,) in asked] == ["add a hat", "make it red"] * 2 and len(set(keys)) == 4
    monkeypatch.setattr(editor, "edit", pytest.fail)
    assert make_replay(model, pairs, ("add a hat", "make it red"), 4, cache, 0, lambda done: None) == keys


def test_an_instruction_of_a_certain_image_goes_with_that_one(tmp_path, monkeypatch):
    editor = editor_miniatures.opened("instruct_pix2pix", tmp_path)
    model, pairs, sources = EditModel(editor), read_pairs(write_pairs(tmp_path / "pairs", 3)), []
    monkeypatch.setattr(editor, "edit", lambda prepared, texts, seeds: sources[-1])
    prepare = editor.prepare
    monkeypatch.setattr(editor, "prepare", lambda image: sources.append(image) or prepare(image))
    own = [(pair.source, f"make {pair.id} red") for pair in pairs]
    cache = ExampleCache(tmp_path / "cache", model)
    assert len(make_replay(model, pairs, [("elsewhere", "add a hat"), *own], 3, cache, 0, lambda done: None)) == 3
    assert all((sources[3 * number] == pair.images()[1]).all() for number, pair in enumerate(pairs))
    assert make_replay(model, pairs, [("elsewhere", "add a hat")], 3, cache, 0, lambda done: None) == []


def test_common_edits_are_instructions():
    assert len(EVERYDAY_EDITS) == len(set(EVERYDAY_EDITS)) == 20
