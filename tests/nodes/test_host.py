"""Model folders, the one copy of a model, and memory shared with the host."""

import gc
import importlib.util
import os
import shutil
import weakref

import pytest
import torch
from comfy import model_management

from rethink.names import is_portable


@pytest.fixture
def host(part):
    return part("nodes.host")


@pytest.fixture
def mini(models, miniature):
    shutil.copytree(miniature, models.diffusers / "mini")
    return models.diffusers / "mini"


def test_lists_pipelines_and_safetensors_only(host, models):
    for folder in ("plain", "owner/nested"):
        (models.diffusers / folder).mkdir(parents=True)
        (models.diffusers / folder / "model_index.json").write_text("{}")
    (models.diffusers / "no-pipeline").mkdir()
    (models.checkpoints / "sub").mkdir()
    for file in ("one.safetensors", "sub/two.SAFETENSORS", "pickle.ckpt", "pickle.pt", "model.bin", "notes.txt"):
        (models.checkpoints / file).write_bytes(b"")
    names = ["built-in", "owner/nested", "plain", "one.safetensors", "sub/two.SAFETENSORS"]
    assert host.editor_names() == names
    assert host.editor_path("owner/nested") == models.diffusers / "owner" / "nested"
    assert host.editor_path("sub/two.SAFETENSORS") == models.checkpoints / "sub" / "two.SAFETENSORS"


def test_model_folders_may_be_missing(host, models):
    models.diffusers.rmdir()
    models.checkpoints.rmdir()
    assert host.editor_names() == ["built-in"]


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
def test_no_name_leaves_the_model_folders(host, mini, miniature, tmp_path, RethinkError, name):
    shutil.copytree(miniature, tmp_path / "secret")
    (tmp_path / "secret.safetensors").write_bytes(b"")
    with pytest.raises(RethinkError, match="editor: there is no"):
        host.load_editor(name, "auto", "none")


def test_a_model_is_in_memory_once_and_goes_with_its_last_user(host, mini):
    first, second = (host.load_editor("mini", "auto", "none") for _ in range(2))
    assert first is second
    assert host.load_editor("built-in", "auto", "none").name == "built-in", "as it was chosen, whatever its folder"
    assert host.load_editor("mini", "fp32", "none") is first  # what auto means here
    assert host.load_editor("mini", "bf16", "none") is not first
    with host.on_device(first, torch.rand(1, 16, 16, 3), 1):
        pass
    editor, patcher = weakref.ref(first), model_management.loaded[0]
    del first, second
    gc.collect()
    assert editor() is None and patcher() is None


def test_a_replaced_file_is_loaded_anew(host, mini, classes):
    old = host.load_editor("mini", "auto", "none")
    print_before = classes["RethinkLoadEditor"].fingerprint_inputs(editor="mini", dtype="auto", offload="none")
    weights = mini / "unet" / "diffusion_pytorch_model.safetensors"
    os.utime(weights, ns=(1, weights.stat().st_mtime_ns + 10**9))
    assert classes["RethinkLoadEditor"].fingerprint_inputs(editor="mini", dtype="auto", offload="none") != print_before
    assert host.load_editor("mini", "auto", "none") is not old


def test_what_the_host_wants_back_it_gets_and_the_next_run_loads_again(host, mini):
    editor = host.load_editor("mini", "auto", "none")

    def edit():
        image = torch.rand(1, 16, 16, 3)
        with torch.inference_mode(), host.on_device(editor, image, 1):
            return editor.edit(editor.prepare(image), ["blue"], [0])

    edit()
    assert model_management.asked == 16 * 16 * host.BYTES_A_PIXEL
    patcher = model_management.loaded[0]()
    assert patcher.model is editor.module
    model_management.unload_all_models()
    assert edit().shape == (1, 16, 16, 3)
    assert patcher.loads == 2 and len(model_management.loaded) == 1


def test_running_out_of_memory_unloads_everything_and_the_next_run_works(
    host, mini, classes, RethinkError, monkeypatch
):
    editor = host.load_editor("mini", "auto", "none")

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


def test_a_model_too_large_for_the_device_says_what_to_choose(host, mini, RethinkError, monkeypatch):
    editor = host.load_editor("mini", "auto", "none")

    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    before = model_management.cleared
    with monkeypatch.context() as patch, pytest.raises(RethinkError, match="^mini as a whole is larger .*$"):
        patch.setattr(model_management, "load_models_gpu", full)
        with host.on_device(editor, torch.rand(1, 16, 16, 3), 1):
            pass
    assert model_management.cleared == before + 1


def test_quantized_editors_move_themselves(host, part, mini, monkeypatch):
    """On a GPU; not every quantized layer can be moved from outside."""
    asked = {}
    monkeypatch.setattr(model_management, "get_torch_device", lambda: torch.device("meta"))

    class Loaded:
        module = torch.nn.Linear(1, 1)

    monkeypatch.setattr(
        part("rethink.editors.loading"), "load_editor", lambda path, **options: asked.update(options) or Loaded()
    )
    editor = host.load_editor("mini", "auto", "none", "int8 (quanto)")
    assert (asked["offload"], asked["quantize"], asked["dtype"]) == ("model", "int8 (quanto)", "half")
    assert editor not in host._patchers


def test_quantizing_wants_its_package(host, mini, RethinkError):
    if importlib.util.find_spec("bitsandbytes") is not None:
        pytest.skip("it is installed")
    with pytest.raises(RethinkError, match="pip install bitsandbytes"):
        host.load_editor("mini", "auto", "none", "nf4 (bitsandbytes)")


def test_room_is_made_for_an_editor_that_moves_itself(host, fake):
    before = model_management.cleared
    with host.on_device(fake, torch.rand(1, 8, 8, 3), 1):
        assert model_management.cleared == before + 1


# Names of folders, and files that the front end names


@pytest.fixture
def folders(part):
    return part("nodes.comfy.folders")


@pytest.mark.parametrize(
    "prefix", ["rethink/run", "a\\b", " run ", "./run", "犬/🔵", "a" + "/" * 4000 + "b", "%year%/run", "run/"]
)
def test_a_prefix_makes_a_folder_within_output_that_every_system_can_open(folders, results, prefix):
    folder = folders.new_folder(prefix)
    assert folder.is_relative_to(results.output) and folder.parent.is_dir() and not folder.exists()
    assert all(is_portable(part) for part in folder.relative_to(results.output).parts)


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        " ",
        ".",
        "/",
        "CON",
        "con/run",
        "a/nul.txt",
        "a:b",
        "C:\\run",
        "run.",
        "a./b",
        ".hidden",
        "a/.b",
        "a\0b",
        "a\nb",
        "\ud83d",
        "x" * 300,
        "a/" * 2000 + "b",
        "a<b>",
        'a"b',
        "a|b",
        "a?",
        "a\u202eb",
    ],
)
def test_a_prefix_that_some_system_cannot_open_is_refused_and_leaves_nothing(folders, results, RethinkError, prefix):
    with pytest.raises(RethinkError, match="^prefix: “.*” (is no name for a folder|leads out)") as refused:
        folders.new_folder(prefix)
    assert (
        len(str(refused.value)) < 200
        and len(str(refused.value).splitlines()) == 1
        and not list(results.output.iterdir())
    )


@pytest.mark.parametrize("prefix", ["..", "../run", "a/../../run", "..\\run", "/tmp/run"])
def test_a_prefix_that_leads_out_is_refused(folders, results, RethinkError, prefix):
    with pytest.raises(RethinkError, match="leads out of ComfyUI's output folder"):
        folders.new_folder(prefix)


def test_a_prefix_through_a_link_or_a_file_is_refused(folders, results, RethinkError, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (results.output / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(RethinkError, match="link that leads out"):
        folders.new_folder("link/run")
    (results.output / "file").write_text("")
    with pytest.raises(RethinkError, match="^prefix: “file/run” cannot be made"):
        folders.new_folder("file/run")


@pytest.mark.parametrize("name", ["", "..", "CON", "a:b", "a.", ".a", "a\0", "\ud83d", "x" * 300, "/a"])
def test_a_data_set_has_a_name_by_the_same_rule(folders, models, RethinkError, name):
    with pytest.raises(RethinkError, match="^name: “.*” is no name for a folder"):
        folders.dataset_path(name, "name")


def test_a_data_set_that_is_offered_can_be_opened_whatever_its_name(folders, models):
    odd = models.datasets / "what is this?"
    odd.mkdir()
    (odd / "manifest.jsonl").write_text("")
    assert folders.dataset_names() == [odd.name] and folders.dataset_path(odd.name, "dataset") == odd


def test_a_reference_names_a_file_of_ours_and_nothing_else(folders, results, RethinkError, tmp_path):
    (results.output / "run").mkdir()
    (tmp_path / "outside").mkdir()
    (results.output / "link").symlink_to(tmp_path / "outside", target_is_directory=True)
    good = {"type": "output", "subfolder": "run", "filename": "trajectory.json"}
    assert folders.referred(good) == results.output / "run" / "trajectory.json"
    climbing = ("..", "../..", "/etc", "link", "run/../..", "a\0", "\ud83d", "/" * 4000 + "etc")
    wrong = [{"subfolder": text} for text in climbing]
    wrong += [{"filename": name} for name in (".", "..", "", "a/b", "../x", "/etc/passwd", "a\0", "\ud83d")]
    wrong += [{"type": kind} for kind in ("models", "", "outputs", None, 3, ["output"])]
    for change in wrong:
        with pytest.raises(RethinkError, match="^trajectory: "):
            folders.referred(good | change)
    for none in (None, 3, "run", [], {}, {"type": "output"}):
        with pytest.raises(RethinkError, match="^trajectory: expected"):
            folders.referred(none)
