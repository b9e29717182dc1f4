"""Every kind of folder that must be refused."""

import json
from pathlib import Path

import pytest

from rethink.editors.loading import load_editor
from rethink.errors import RethinkError
from tests.support import miniatures


@pytest.mark.parametrize(
    "file",
    [
        "model_index.json",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "scheduler/scheduler_config.json",
    ],
)
def test_half_downloaded_folders(folder, file):
    (folder / file).unlink()
    with pytest.raises(RethinkError, match=f"^editor: .*{Path(file).name} is missing"):
        load_editor(folder)


def test_a_missing_shard(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model-00001-of-00002.safetensors"))
    index = {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors", "b": "second.safetensors"}}
    weights.with_suffix(".safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(RethinkError, match="second.safetensors is missing"):
        load_editor(folder)
    for listed in (None, [], {"a": 1}, {"a": "../b"}, {"a": ""}):
        nothing = {"weight_map": listed}
        weights.with_suffix(".safetensors.index.json").write_text(json.dumps(nothing))
        with pytest.raises(RethinkError, match="index.json lists no weight files"):
            load_editor(folder)


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1", None])
def test_damaged_weights(folder, part, content):
    whole = (folder / part).read_bytes()
    (folder / part).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(RethinkError, match=f"{Path(part).name} is damaged or incomplete"):
        load_editor(folder)


@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"])
def test_damaged_configurations(folder, file):
    (folder / file).write_text('{"broken')
    with pytest.raises(RethinkError, match="^editor: .*editor"):
        load_editor(folder)


@pytest.mark.parametrize("value", [None, [None, None], ["diffusers"], "UNet2DConditionModel"])
def test_an_index_without_a_unet(folder, value):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "unet": value}))
    with pytest.raises(RethinkError, match="names no unet"):
        load_editor(folder)


def test_code_in_the_folder_is_not_run(folder):
    index = json.loads((folder / "model_index.json").read_text())
    code = folder / "unet" / "diffusers.py"  # which diffusers 0.35 takes before its own module
    code.write_text("raise SystemExit('run!')")
    with pytest.raises(RethinkError, match="unet/diffusers.py is code.*remove the .py files"):
        load_editor(folder)
    code.unlink()
    wrong = {
        "unet": ["surprise", "U"],
        "extra": ["surprise", "E"],
        "vae": ["a/../b", "C"],
        "_class_name": ["mine", "C"],
    }
    for part, entry in wrong.items():
        (folder / "model_index.json").write_text(json.dumps({**index, part: entry}))
        with pytest.raises(RethinkError, match=f"code of its own for {part} "):
            load_editor(folder)
    safety = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}  # as the published folders have
    (folder / "model_index.json").write_text(json.dumps(index | safety))
    assert miniatures.quick_edit(load_editor(folder)).std() > 0


def test_pickles_are_refused(folder, tmp_path):
    for suffix in (".ckpt", ".pt", ".bin"):
        file = tmp_path / f"model{suffix}"
        file.write_bytes(b"\x80\x04.")
        with pytest.raises(RethinkError, match="is a pickle.*safetensors"):
            load_editor(file)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(RethinkError, match="pickles"):
        load_editor(folder)
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "model.ckpt").write_bytes(b"")
    with pytest.raises(RethinkError, match="only pickles"):
        load_editor(tmp_path / "only")
