"""Examples in files: found by their content, and what is read is what was written."""

import os
from dataclasses import replace

import pytest
import torch
from safetensors import SafetensorError, safe_open

from rethink.editors.loading import add_lora
from rethink.errors import RethinkError
from rethink.training import example_cache
from rethink.training.edit_model import EditModel
from rethink.training.example import Example
from rethink.training.example_cache import ExampleCache, read_example, write_example
from tests.support import editor_miniatures


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return EditModel(editor_miniatures.opened("instruct_pix2pix", tmp_path_factory.mktemp("models")))


def example():
    inputs = {"text": torch.rand(1, 2), "added": {"pooled": torch.rand(1, 2)}, "shapes": [[(1, 2, 3)]], "guidance": 1.0}
    return Example(torch.rand(1, 4, 2), torch.rand(1, 4, 2), inputs, {})


def test_what_is_read_is_what_was_written(tmp_path):
    written = example()
    write_example(written, tmp_path / "one.safetensors")
    read = read_example(tmp_path / "one.safetensors")
    assert torch.equal(read.target, written.target) and read.inputs["shapes"] == [[(1, 2, 3)]]
    assert read.null == {} and torch.equal(read.inputs["added"]["pooled"], written.inputs["added"]["pooled"])
    assert read.shapes == written.shapes


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, model, monkeypatch):
    def refuse(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", refuse)
    cache = ExampleCache(tmp_path, model)
    with pytest.raises(RethinkError, match="^folder: .* cannot be written .*No space left.*; free some space"):
        cache.ensure("a", example)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()] and not cache.has(cache.key("a"))


def test_nothing_is_encoded_twice(tmp_path, model, monkeypatch):
    cache, calls = ExampleCache(tmp_path, model), []
    keys = [cache.ensure(digest, lambda: calls.append(1) or example()) for digest in ("a", "a", "b")]
    assert len(calls) == 2 and keys[0] == keys[1] != keys[2]
    assert cache.load(keys[0]) is cache.load(keys[0])
    assert ExampleCache(tmp_path, model).ensure("a", pytest.fail) == keys[0]
    monkeypatch.setattr(example_cache, "IN_MEMORY", 0)
    large = ExampleCache(tmp_path, model)
    assert large.load(keys[0]) is not large.load(keys[0])


def test_other_encoders_find_nothing_of_it(model):
    before = model.encoders
    weight = next(model.editor.module["vae"].parameters())
    with torch.no_grad():
        weight[0, 0, 0, 0] += 1
        assert model.encoders != before


def test_loras_on_the_text_encoder_find_nothing_of_it(model, tmp_path):
    editor = model.editor
    lora = editor_miniatures.write_lora(
        editor_miniatures.as_diffusers(editor_miniatures.factors(editor, "text_encoder")), tmp_path
    )
    models = [model, *(EditModel(add_lora(editor, lora, strength)[0]) for strength in (1.0, 0.5))]
    assert len({each.encoders for each in models}) == 3
    assert EditModel(add_lora(editor, lora, 1.0)[0]).encoders == models[1].encoders
    os.utime(lora, (1, 1))  # another file of this name
    assert EditModel(add_lora(editor, lora, 1.0)[0]).encoders != models[1].encoders


def test_references_of_any_size_are_read_as_they_were_written(tmp_path):
    written = replace(example(), references=tuple(torch.rand(1, 4, 2, 2 + number) for number in range(11)))
    write_example(written, tmp_path / "one.safetensors")
    read = read_example(tmp_path / "one.safetensors")
    assert all(torch.equal(one, other) for one, other in zip(read.references, written.references, strict=True))
    assert read.shapes == written.shapes != replace(written, references=written.references[:10]).shapes


def test_without_references_the_file_is_as_it_was(tmp_path):
    write_example(example(), tmp_path / "one.safetensors")
    with safe_open(tmp_path / "one.safetensors", "pt") as file:
        assert sorted(file.keys()) == ["inputs/added/pooled", "inputs/text", "source", "target"]
