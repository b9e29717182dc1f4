"""What opens as which editor, with which configuration; and every kind of file that must be refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rethink.builtin import EDITOR_FOLDER
from rethink.editors.loading import load_editor
from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from tests.support import miniatures

# ── folders ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_family_follows_from_the_folder(folders):
    for kind, folder in folders.items():
        editor = load_editor(folder)
        assert editor.family.id == kind and editor.name == kind and editor.defaults == editor.family.defaults
        assert editor.device == torch.device("cpu")


def test_an_editor_is_called_after_its_folder_or_file(folders, tmp_path):
    folder = Path(shutil.copytree(folders["sdedit"], tmp_path / "model-v1.5"))
    assert load_editor(folder).name == "model-v1.5"


def test_an_image_to_image_folder_is_sdedit(folders, tmp_path):
    folder = Path(shutil.copytree(folders["sdedit"], tmp_path / "editor"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionImg2ImgPipeline"}))
    assert load_editor(folder).family.id == "sdedit"


def test_a_folders_own_recommendations(folder):
    (folder / "rethink.json").write_text('{"steps": 4, "text_guidance": 1.0, "sampler": "unipc"}')
    defaults = load_editor(folder).defaults
    assert defaults == Settings(steps=4, text_guidance=1.0, image_guidance=1.5, sampler="unipc")
    for wrong in ('{"stepz": 4}', '{"steps": -4}', "[4]", "{"):
        (folder / "rethink.json").write_text(wrong)
        with pytest.raises(RethinkError):
            load_editor(folder)


def test_unknown_pipelines_are_named(folder):
    for name in ("KolorsPipeline", ["KolorsPipeline"], None):
        (folder / "model_index.json").write_text(json.dumps({"_class_name": name}))
        with pytest.raises(RethinkError, match="not supported.*StableDiffusionInstructPix2PixPipeline"):
            load_editor(folder)


def test_paths_that_lead_nowhere(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    for name, complaint in (("nothing", "does not exist"), ("notes.txt", "neither"), (".", "model_index.json")):
        with pytest.raises(RethinkError, match=complaint):
            load_editor(tmp_path / name)


def test_an_address_is_no_file():
    with pytest.raises(RethinkError, match="editor: http://127.0.0.1:9/v1 is a server address"):
        load_editor("http://127.0.0.1:9/v1")


def test_a_unet_of_another_family(folders, folder):
    shutil.rmtree(folder / "unet")
    shutil.copytree(folders["sdedit"] / "unet", folder / "unet")
    with pytest.raises(RethinkError, match="takes 4 channels.*needs 8"):
        load_editor(folder)


# ── dtype, device, offload ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_half_precision_folders_compute_in_full_on_the_cpu(tmp_path, variant):
    folder = miniatures.write_folder(tmp_path / "half", miniatures.INSTRUCT, torch.float16, variant=variant)
    weights = f"diffusion_pytorch_model{f'.{variant}' if variant else ''}.safetensors"
    assert load_file(folder / "unet" / weights)["conv_in.weight"].dtype == torch.float16
    editor = load_editor(folder)
    assert {p.dtype for p in editor.module.parameters()} == {torch.float32}
    assert miniatures.quick_edit(editor).std() > 0


def test_chosen_dtypes(folders):
    full = miniatures.quick_edit(load_editor(folders["instruct_pix2pix"]))
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)):
        editor = load_editor(folders["instruct_pix2pix"], dtype=name)
        assert {p.dtype for p in editor.module.parameters()} == {dtype}
        assert (miniatures.quick_edit(editor) - full).abs().mean() < 0.05


def test_auto_is_half_beside_the_cpu_but_not_for_the_built_in_editor(folders):
    device = "meta"  # any that is not the CPU
    kinds = [
        {weight.dtype for weight in load_editor(path, device=device, **options).module.parameters()}
        for path, options in (
            (folders["instruct_pix2pix"], {}),
            (EDITOR_FOLDER, {}),
            (EDITOR_FOLDER, {"dtype": "half"}),
        )
    ]
    assert kinds == [{torch.float16}, {torch.float32}, {torch.float16}]


def test_offload_has_nothing_to_do_on_the_cpu(folders):
    for offload in ("model", "sequential"):
        editor = load_editor(folders["sdedit"], offload=offload)
        assert editor.device == torch.device("cpu") and miniatures.quick_edit(editor).shape == (1, 32, 32, 3)


def test_offload_asks_diffusers(folders, monkeypatch):
    import diffusers

    asked = []
    for method in ("enable_model_cpu_offload", "enable_sequential_cpu_offload"):
        monkeypatch.setattr(
            diffusers.DiffusionPipeline, method, lambda self, device, method=method: asked.append((method, device))
        )
    for offload in ("model", "sequential"):
        assert load_editor(folders["sdedit"], device="meta", offload=offload).device == torch.device("meta")
    device = torch.device("meta")  # any that is not the CPU
    assert asked == [("enable_model_cpu_offload", device), ("enable_sequential_cpu_offload", device)]


def test_an_offload_that_diffusers_refuses(folders, monkeypatch):
    import diffusers

    def refuse(self, device):
        raise ValueError("these weights cannot be moved")

    monkeypatch.setattr(diffusers.DiffusionPipeline, "enable_sequential_cpu_offload", refuse)
    with pytest.raises(RethinkError, match="^offload: .* does not support “sequential”: these weights cannot be moved"):
        load_editor(folders["sdedit"], device="meta", offload="sequential")


def test_the_editor_follows_its_weights(folders):
    editor = load_editor(folders["sdedit"])
    editor.module.to("meta")
    assert editor.device == torch.device("meta")


@pytest.mark.parametrize("option", [{"dtype": "fp8"}, {"offload": "disk"}, {"device": "abacus"}, {"device": "cuda:99"}])
def test_unknown_choices(folders, option):
    with pytest.raises(RethinkError, match=f"^{next(iter(option))}: .*unknown"):
        load_editor(folders["sdedit"], **option)


# ── single files ─────────────────────────────────────────────────────────────────────────────────────────────────────
