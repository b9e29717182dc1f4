"""The one copy of a model, and memory shared with ComfyUI."""

import gc
import importlib.util
import os
import shutil
import weakref

import pytest
import torch
from comfy import model_management

from tests.support.thinking import Says


@pytest.fixture
def memory(part):
    return part("nodes.comfy.memory")


@pytest.fixture
def mini(models, miniature):
    shutil.copytree(miniature, models.diffusers / "mini")
    return models.diffusers / "mini"


def test_a_model_is_in_memory_once_and_goes_with_its_last_user(memory, mini):
    first, second = (memory.load_editor("mini", "auto", "none") for _ in range(2))
    assert first is second
    assert memory.load_editor("built-in", "auto", "none").name == "built-in", "as it was chosen, whatever its folder"
    assert memory.load_editor("mini", "fp32", "none") is first  # what auto means here
    assert memory.load_editor("mini", "bf16", "none") is not first
    with memory.editor_on_device(first, torch.rand(1, 16, 16, 3), 1):
        pass
    editor, patcher = weakref.ref(first), model_management.loaded[0]
    del first, second
    gc.collect()
    assert editor() is None and patcher() is None


def test_the_built_in_editor_can_be_trained_on_a_card_that_prefers_half(memory, mini, monkeypatch):
    for name in ("should_use_fp16", "should_use_bf16"):
        monkeypatch.setattr(model_management, name, lambda device: True)
    kinds = [memory.load_editor(name, "auto", "none").module["unet"].dtype for name in ("mini", "built-in")]
    assert kinds == [torch.float16, torch.float32]


def test_a_replaced_file_is_loaded_anew(memory, mini, classes):
    old = memory.load_editor("mini", "auto", "none")
    print_before = classes["RethinkLoadEditor"].fingerprint_inputs(editor="mini", dtype="auto", offload="none")
    weights = mini / "unet" / "diffusion_pytorch_model.safetensors"
    os.utime(weights, ns=(1, weights.stat().st_mtime_ns + 10**9))
    assert classes["RethinkLoadEditor"].fingerprint_inputs(editor="mini", dtype="auto", offload="none") != print_before
    assert memory.load_editor("mini", "auto", "none") is not old


def test_what_comfyui_wants_back_it_gets_and_the_next_run_loads_again(memory, mini):
    editor = memory.load_editor("mini", "auto", "none")

    def edit():
        image = torch.rand(1, 16, 16, 3)
        with torch.inference_mode(), memory.editor_on_device(editor, image, 1):
            return editor.edit(editor.prepare(image), ["blue"], [0])

    edit()
    assert model_management.asked == 16 * 16 * memory.BYTES_PER_PIXEL
    patcher = model_management.loaded[0]()
    assert patcher.model is editor.module
    model_management.unload_all_models()
    assert edit().shape == (1, 16, 16, 3)
    assert patcher.loads == 2 and len(model_management.loaded) == 1


def test_running_out_of_memory_unloads_everything_and_the_next_run_works(
    memory, mini, classes, RethinkError, monkeypatch
):
    editor = memory.load_editor("mini", "auto", "none")

    def sample():
        inputs = {"editor": [editor], "image": [torch.rand(1, 16, 16, 3)], "instruction": ["blue"], "seed": [0]}
        return classes["RethinkSampleEdit"].execute(**inputs, steps=[2]).result[0]

    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    before = model_management.cleared
    with monkeypatch.context() as patch, pytest.raises(RethinkError, match="^editor: .* ran out of memory .*$"):
        patch.setattr(editor.module["unet"], "forward", full)
        sample()
    assert model_management.cleared == before + 1
    assert sample()[0].shape == (1, 16, 16, 3)


def test_a_model_too_large_for_the_device_says_what_to_choose(memory, mini, RethinkError, monkeypatch):
    editor = memory.load_editor("mini", "auto", "none")

    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    before = model_management.cleared
    with monkeypatch.context() as patch, pytest.raises(RethinkError, match="^mini does not fit into video memory .*$"):
        patch.setattr(model_management, "load_models_gpu", full)
        with memory.editor_on_device(editor, torch.rand(1, 16, 16, 3), 1):
            pass
    assert model_management.cleared == before + 1


def test_quantized_editors_move_themselves(memory, part, mini, monkeypatch):
    """On a GPU; not every quantized layer can be moved from outside."""
    asked = {}
    monkeypatch.setattr(model_management, "get_torch_device", lambda: torch.device("meta"))

    class Loaded:
        module = torch.nn.Linear(1, 1)

    monkeypatch.setattr(
        part("rethink.editors.loading"), "load_editor", lambda path, **options: asked.update(options) or Loaded()
    )
    editor = memory.load_editor("mini", "auto", "none", "int8 (quanto)")
    assert (asked["offload"], asked["quantize"], asked["dtype"]) == ("model", "int8 (quanto)", "half")
    assert editor not in memory._patchers


def test_quantizing_wants_its_package(memory, mini, RethinkError):
    if importlib.util.find_spec("bitsandbytes") is not None:
        pytest.skip("it is installed")
    with pytest.raises(RethinkError, match="pip install bitsandbytes"):
        memory.load_editor("mini", "auto", "none", "nf4 (bitsandbytes)")


def test_room_is_made_for_an_editor_that_moves_itself(memory, fake):
    before = model_management.cleared
    with memory.editor_on_device(fake, torch.rand(1, 8, 8, 3), 1):
        assert model_management.cleared == before + 1


@pytest.mark.parametrize("placement", ["movable", "fixed", "elsewhere"])
def test_a_chat_is_placed_as_it_says(memory, part, placement):
    class Chat:
        name, module = "a folder", torch.nn.Linear(4, 4)

        def __init__(self):
            self.placement, self.cached = placement, True

        def chat(self, messages, images, **options):
            return "hello"

        def clear_cache(self):
            self.cached = False

    opened, loading = [], part("rethink.thinkers.loading")
    backend = loading.Backend("mine", "", None, lambda config, trust: opened.append(Chat()) or opened[-1])
    config = loading.ThinkerConfig("models/LLM/a")
    chat = memory.load_chat(backend, config, "a")
    assert memory.load_chat(backend, config, "a") is chat and len(opened) == 1
    assert (chat is opened[0]) == (placement == "elsewhere") and (chat in memory._patchers) == (placement == "movable")
    assert chat.chat([], []) == "hello"
    memory.release_caches(part("rethink.thinkers.critique").Thinker(chat), None)
    assert not opened[0].cached


def test_after_a_thinkers_answer_the_editor_is_back(memory, mini):
    editor = memory.load_editor("mini", "auto", "none")
    chat = memory.ChatBesides(Says("first", "second"), editor, 7)
    with memory.loaded_on_device(editor, 7):
        patcher = model_management.loaded[0]()
        for answer in (
            lambda: chat.chat([{"role": "user", "content": []}], [], max_tokens=1, seed=0, temperature=0.0),
            lambda: chat.chat_all([], max_tokens=1, temperature=0.0),
        ):
            model_management.unload_all_models()  # as ComfyUI does to make room for a thinker
            loads = patcher.loads
            answer()
            assert patcher.loads == loads + 1
    assert chat.name == "says"


def test_a_device_that_was_lent_has_the_editor_again(memory, mini):
    editor = memory.load_editor("mini", "auto", "none")
    with memory.loaded_on_device(editor, 7):
        patcher = model_management.loaded[0]()
        with memory.device_lent(editor, 7):
            model_management.unload_all_models()
            loads = patcher.loads
        assert patcher.loads == loads + 1


def test_a_managed_editor_with_a_lora_is_managed_too(memory, mini, tmp_path):
    from tests.support.editor_miniatures import as_diffusers, factors, write_lora

    editor = memory.load_editor("mini", "auto", "none")
    changed, report = memory.ManagedEditor(editor).with_lora(write_lora(as_diffusers(factors(editor)), tmp_path), 0.5)
    assert report.matched and changed.name == "mini + lora × 0.5"
    image = torch.rand(1, 16, 16, 3)
    changed.edit(changed.prepare(image), ["make it red"], [0])
    assert model_management.loaded[-1]() is memory._patchers[editor]


def test_what_is_trained_has_the_device_to_itself(memory, mini):
    editor = memory.load_editor("mini", "auto", "none")
    with memory.editor_on_device(editor, torch.rand(1, 16, 16, 3), 1):
        assert model_management.loaded
    with memory.device_to_itself():
        assert not model_management.loaded
        with memory.editor_on_device(editor, torch.rand(1, 16, 16, 3), 1):
            assert model_management.loaded, "what is used meanwhile comes back by itself"
