"""Models in folders, behind links and in the hub's cache: listed under readable names as ComfyUI lists its own, and opened."""

import shutil

import pytest
import torch

from tests.support.miniatures import write_cache


@pytest.fixture
def model_folders(part):
    return part("nodes.comfy.model_folders")


@pytest.fixture
def memory(part):
    return part("nodes.comfy.memory")


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


def test_lists_pipelines_and_safetensors_only(model_folders, models):
    for folder in ("plain", "owner/nested"):
        (models.diffusers / folder).mkdir(parents=True)
        (models.diffusers / folder / "model_index.json").write_text("{}")
    (models.diffusers / "no-pipeline").mkdir()
    (models.checkpoints / "sub").mkdir()
    for file in ("one.safetensors", "sub/two.SAFETENSORS", "pickle.ckpt", "pickle.pt", "model.bin", "notes.txt"):
        (models.checkpoints / file).write_bytes(b"")
    names = ["built-in", "owner/nested", "plain", "one.safetensors", "sub/two.SAFETENSORS"]
    assert model_folders.editor_names() == names
    assert model_folders.editor_path("owner/nested") == models.diffusers / "owner" / "nested"
    assert model_folders.editor_path("sub/two.SAFETENSORS") == models.checkpoints / "sub" / "two.SAFETENSORS"


def test_model_folders_may_be_missing(model_folders, models):
    models.diffusers.rmdir()
    models.checkpoints.rmdir()
    assert model_folders.editor_names() == ["built-in"]


def test_links_and_hub_folders_are_listed_and_open(
    model_folders, memory, models, miniature, vision_folder, tmp_path, link
):
    cached = write_cache(tmp_path / "cache", miniature)
    shutil.copytree(cached, models.diffusers / cached.name, symlinks=True)
    link(models.diffusers / "linked", miniature)
    link(models.diffusers / "from-the-cache", cached)
    link(models.LLM / "linked", vision_folder)
    write_cache(models.LLM / "hub", vision_folder)
    names = ["built-in", "from-the-cache", "linked", "owner/name"]
    assert model_folders.editor_names() == names and model_folders.thinker_names() == ["linked", "owner/name"]
    image = torch.rand(1, 16, 16, 3)
    for name in names[1:]:
        editor = memory.load_editor(name, "auto", "none")
        assert editor.name == name
        with torch.inference_mode(), memory.editor_on_device(editor, image, 1):
            assert editor.edit(editor.prepare(image), ["blue"], [0]).shape == image.shape
    for name in model_folders.thinker_names():
        assert memory.load_chat(name).name == name


def test_linked_files_open_and_broken_links_are_not_offered(model_folders, models, tmp_path, link, RethinkError):
    for kind in (models.checkpoints, models.loras):
        (tmp_path / "real.safetensors").write_bytes(b"")
        link(kind / "linked.safetensors", tmp_path / "real.safetensors")
        link(kind / "broken.safetensors", tmp_path / "nothing.safetensors")
    link(models.diffusers / "broken", tmp_path / "nothing")
    (models.diffusers / "torn").mkdir()
    link(models.diffusers / "torn" / "model_index.json", tmp_path / "nothing.json")
    assert model_folders.editor_names() == ["built-in", "linked.safetensors"] and model_folders.lora_names() == [
        "linked.safetensors"
    ]
    assert model_folders.editor_path("linked.safetensors") == models.checkpoints / "linked.safetensors"
    assert model_folders.lora_path("linked.safetensors") == models.loras / "linked.safetensors"
    for name in ("broken", "torn", "broken.safetensors"):
        with pytest.raises(RethinkError, match="editor: there is no"):
            model_folders.editor_path(name)
    with pytest.raises(RethinkError, match="lora: there is no"):
        model_folders.lora_path("broken.safetensors")


def test_folders_lie_as_deep_as_people_put_them_and_circles_end(model_folders, models, link):
    pipeline(models.diffusers / "a" / "b" / "c" / "deep")
    pipeline(models.diffusers / "outer")
    pipeline(models.diffusers / "outer" / "part")  # within a model
    pipeline(models.diffusers / ".hidden" / "model")
    link(models.diffusers / "a" / "circle", models.diffusers)
    assert model_folders.editor_names() == ["built-in", "a/b/c/deep", "outer"]


def test_of_two_models_with_one_name_the_first_roots_counts(model_folders, models, tmp_path, monkeypatch):
    import folder_paths

    second = tmp_path / "second"
    monkeypatch.setitem(folder_paths.folders, "diffusers", [str(models.diffusers), str(second)])
    (models.diffusers / "other").mkdir()  # is no model, and hides none
    for folder in (models.diffusers / "same", second / "same", second / "other"):
        pipeline(folder)
    assert model_folders.editor_names() == ["built-in", "other", "same"]
    assert (
        model_folders.editor_path("same") == models.diffusers / "same"
        and model_folders.editor_path("other") == second / "other"
    )


def test_a_file_behind_a_link_that_is_replaced_is_seen(model_folders, models, miniature, tmp_path, link):
    elsewhere = shutil.copytree(miniature / "unet", tmp_path / "unet")
    folder = shutil.copytree(miniature, models.diffusers / "mini", ignore=shutil.ignore_patterns("unet"))
    link(folder / "unet", elsewhere)
    before = model_folders.files_fingerprint(folder)
    (elsewhere / "more.safetensors").write_bytes(b"1")
    assert model_folders.files_fingerprint(folder) != before


def test_clip_folders_behind_links_and_in_the_hubs_cache(model_folders, models, tmp_path, link):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"architectures": ["CLIPModel"], "model_type": "clip"}')
    link(models.clip_vision / "linked", model)
    write_cache(models.text_encoders, model)
    assert model_folders.clip_names() == ["built-in", "linked", "owner/name"]
    assert (model_folders.clip_path("owner/name") / "config.json").is_file()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../secret",
        "mini/../../../secret",
        "..\\secret",
        "/etc",
        "C:\\Windows",
        "mini/unet",
        "secret",
        "../../secret.safetensors",
        "file:///secret",
        "stabilityai/stable-diffusion-2",
        "mini\0",
        None,
        3,
    ],
)
def test_no_name_leaves_the_model_folders(model_folders, models, miniature, tmp_path, RethinkError, name):
    shutil.copytree(miniature, models.diffusers / "mini")
    shutil.copytree(miniature, tmp_path / "secret")
    (tmp_path / "secret.safetensors").write_bytes(b"")
    with pytest.raises(RethinkError, match="editor: there is no"):
        model_folders.editor_path(name)
