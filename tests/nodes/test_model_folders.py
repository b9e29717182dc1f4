"""Models in folders, behind links and in the hub's cache: listed under readable names as ComfyUI lists its own, and opened."""

import shutil

import pytest
import torch

from tests.rethink.test_opening import write_cache


@pytest.fixture
def host(part):
    return part("nodes.host")


@pytest.fixture
def link():
    def make(place, target):
        try:
            place.symlink_to(target, target_is_directory=target.is_dir())
        except OSError:
            pytest.skip("this system lets nobody make links")

    return make


def pipeline(folder):
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")


def test_links_and_hub_folders_are_listed_and_open(host, models, miniature, vision_folder, tmp_path, link):
    cached = write_cache(tmp_path / "cache", miniature)
    shutil.copytree(cached, models.diffusers / cached.name, symlinks=True)
    link(models.diffusers / "linked", miniature)
    link(models.diffusers / "from-the-cache", cached)
    link(models.LLM / "linked", vision_folder)
    write_cache(models.LLM / "hub", vision_folder)
    names = ["built-in", "from-the-cache", "linked", "owner/name"]
    assert host.editor_names() == names and host.thinker_names() == ["linked", "owner/name"]
    image = torch.rand(1, 16, 16, 3)
    for name in names[1:]:
        editor = host.load_editor(name, "auto", "none")
        assert editor.name == name
        with torch.inference_mode(), host.on_device(editor, image, 1):
            assert editor.edit(editor.prepare(image), ["blue"], [0]).shape == image.shape
    for name in host.thinker_names():
        assert host.load_chat(name).name == name


def test_linked_files_open_and_broken_links_are_not_offered(host, models, tmp_path, link, RethinkError):
    for kind in (models.checkpoints, models.loras):
        (tmp_path / "real.safetensors").write_bytes(b"")
        link(kind / "linked.safetensors", tmp_path / "real.safetensors")
        link(kind / "broken.safetensors", tmp_path / "nothing.safetensors")
    link(models.diffusers / "broken", tmp_path / "nothing")
    (models.diffusers / "torn").mkdir()
    link(models.diffusers / "torn" / "model_index.json", tmp_path / "nothing.json")
    assert host.editor_names() == ["built-in", "linked.safetensors"] and host.lora_names() == ["linked.safetensors"]
    assert host.editor_path("linked.safetensors") == models.checkpoints / "linked.safetensors"
    assert host.lora_path("linked.safetensors") == models.loras / "linked.safetensors"
    for name in ("broken", "torn", "broken.safetensors"):
        with pytest.raises(RethinkError, match="editor: there is no"):
            host.editor_path(name)
    with pytest.raises(RethinkError, match="lora: there is no"):
        host.lora_path("broken.safetensors")


def test_folders_lie_as_deep_as_people_put_them_and_circles_end(host, models, link):
    pipeline(models.diffusers / "a" / "b" / "c" / "deep")
    pipeline(models.diffusers / "outer")
    pipeline(models.diffusers / "outer" / "part")  # within a model
    pipeline(models.diffusers / ".hidden" / "model")
    link(models.diffusers / "a" / "circle", models.diffusers)
    assert host.editor_names() == ["built-in", "a/b/c/deep", "outer"]


def test_of_two_models_with_one_name_the_first_roots_counts(host, models, tmp_path, monkeypatch):
    import folder_paths

    second = tmp_path / "second"
    monkeypatch.setitem(folder_paths.folders, "diffusers", [str(models.diffusers), str(second)])
    (models.diffusers / "other").mkdir()  # is no model, and hides none
    for folder in (models.diffusers / "same", second / "same", second / "other"):
        pipeline(folder)
    assert host.editor_names() == ["built-in", "other", "same"]
    assert host.editor_path("same") == models.diffusers / "same" and host.editor_path("other") == second / "other"


def test_a_file_behind_a_link_that_is_replaced_is_seen(host, models, miniature, tmp_path, link):
    elsewhere = shutil.copytree(miniature / "unet", tmp_path / "unet")
    folder = shutil.copytree(miniature, models.diffusers / "mini", ignore=shutil.ignore_patterns("unet"))
    link(folder / "unet", elsewhere)
    before = host.stamp(folder)
    (elsewhere / "more.safetensors").write_bytes(b"1")
    assert host.stamp(folder) != before


def test_clip_folders_behind_links_and_in_the_hubs_cache(part, models, tmp_path, link):
    folders = part("nodes.comfy.folders")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"architectures": ["CLIPModel"], "model_type": "clip"}')
    link(models.clip_vision / "linked", model)
    write_cache(models.text_encoders, model)
    assert folders.clip_names() == ["none", "built-in", "linked", "owner/name"]
    assert (folders.clip_path("owner/name") / "config.json").is_file()
