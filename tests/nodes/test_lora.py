"""Edit LoRA Loader: what it lays over an editor, what it shares with it, and what it refuses."""

import gc
import os
import shutil
import weakref

import pytest
import torch
from comfy import model_management

from tests.support.editor_miniatures import as_diffusers, factors, write_lora


@pytest.fixture
def memory(part):
    return part("nodes.comfy.memory")


@pytest.fixture
def mini(models, miniature):
    shutil.copytree(miniature, models.diffusers / "mini")


@pytest.fixture
def lora(memory, mini, models):
    """The name of a LoRA that fits."""
    return write_lora(as_diffusers(factors(memory.load_editor("mini", "auto", "none"))), models.loras).name


@pytest.fixture
def add(classes):
    return lambda editor, lora, strength=1.0: classes["RethinkEditLoraLoader"].execute(editor, lora, strength).result


@pytest.fixture
def edit(classes):
    def call(editor):
        inputs = {
            "editor": editor,
            "image": torch.full((1, 16, 16, 3), 0.4),
            "instruction": "blue",
            "seed": 1,
            "steps": 2,
        }
        return classes["RethinkSampleEdit"].execute(**{name: [value] for name, value in inputs.items()}).result[0][0]

    return call


def test_it_changes_the_edit_and_leaves_the_editor_as_it_was(memory, lora, add, edit):
    editor = memory.load_editor("mini", "auto", "none")
    before = edit(editor)
    changed, report = add(editor, lora)
    assert report == f"lora: {len(factors(editor))} of {len(factors(editor))} layers fit."
    stacked, _ = add(changed, lora, 0.5)
    assert editor.name == "mini" and stacked.name == "mini + lora × 1 + lora × 0.5"  # by which runs know each other
    results = [edit(changed), edit(stacked), edit(add(editor, lora, -1.0)[0])]
    assert all((result - before).abs().max() > 1e-3 for result in results)
    assert not torch.equal(results[0], results[1])
    assert torch.equal(edit(add(editor, lora, 0.0)[0]), before)
    assert torch.equal(edit(editor), before)


def test_all_share_one_model_that_comfyui_moves_as_one(memory, lora, add, edit):
    editor = memory.load_editor("mini", "auto", "none")
    changed = [add(editor, lora)[0] for _ in range(2)]
    assert all(one.module is editor.module for one in changed)
    for one in (editor, *changed):
        edit(one)
    (patcher,) = [ref() for ref in model_management.loaded]
    assert patcher.model is editor.module and patcher.loads == 6, "for each, to prepare and to edit"


def test_a_loader_finds_the_model_that_lives_under_a_lora(memory, mini, lora, add):
    changed, _ = add(memory.load_editor("mini", "auto", "none"), lora)
    module = weakref.ref(changed.module)
    gc.collect()
    assert memory.load_editor("mini", "auto", "none").module is module()
    del changed
    gc.collect()
    assert module() is None


def test_a_file_that_was_replaced_is_read_anew(mini, lora, models, classes):
    stamp = classes["RethinkEditLoraLoader"].fingerprint_inputs
    before = stamp(editor=None, lora=lora, strength=1.0)
    assert stamp(editor=None, lora=lora, strength=1.0) == before
    os.utime(models.loras / lora, ns=(1, (models.loras / lora).stat().st_mtime_ns + 10**9))
    assert stamp(editor=None, lora=lora, strength=1.0) != before


def test_the_list_has_safetensors_only_and_may_be_empty(classes, models):
    def choice():
        return classes["RethinkEditLoraLoader"].describe()["input"]["required"]["lora"][1]

    assert choice()["options"] == []
    (models.loras / "sub").mkdir()
    for file in ("one.safetensors", "sub/two.SAFETENSORS", "pickle.pt", "notes.txt"):
        (models.loras / file).write_bytes(b"")
    assert choice()["options"] == ["one.safetensors", "sub/two.SAFETENSORS"]
    assert choice()["default"] == "one.safetensors"


@pytest.mark.parametrize("name", ["", "..", "../secret.safetensors", "absent.safetensors", "/etc/passwd", None, 3])
def test_no_name_leaves_the_model_folders(part, models, tmp_path, RethinkError, name):
    (tmp_path / "models" / "secret.safetensors").write_bytes(b"")
    with pytest.raises(RethinkError, match=r"^lora: there is no [^\n]*$"):
        part("nodes.comfy.model_folders").lora_path(name)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("other", "lora: 0 of 1 layers .* fit InstructPix2Pix; it was made for another model"),
        ("rank", "lora: .* two factors that do not belong together"),
        ("nan", "lora: .* NaN or infinite values in "),
        ("cut", "lora: .* is damaged or incomplete"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_the_editor_works_on(
    memory, mini, models, add, edit, RethinkError, wrong, sentence
):
    editor = memory.load_editor("mini", "auto", "none")
    before = edit(editor)
    weights = as_diffusers(factors(editor))
    first = next(iter(weights))
    if wrong == "other":
        weights = {
            name.replace(first.rpartition(".lora")[0], "unet.elsewhere"): w for name, w in list(weights.items())[:2]
        }
    elif wrong == "rank":
        weights[first] = weights[first][:2]
    elif wrong == "nan":
        weights[first][0, 0] = float("nan")
    file = write_lora(weights, models.loras, "bad")
    if wrong == "cut":
        file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(RethinkError, match=rf"^{sentence}[^\n]*$"):
        add(editor, "bad.safetensors")
    assert torch.equal(edit(editor), before)
