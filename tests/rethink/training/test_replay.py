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


def test_common_edits_are_instructions():
    assert len(EVERYDAY_EDITS) == len(set(EVERYDAY_EDITS)) == 20
