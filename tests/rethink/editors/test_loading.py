"""What opens as which editor, with which configuration; and every kind of file that must be refused."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rethink.editors.loading import load_editor
from rethink.editors.protocol import Settings
from rethink.editors.single_file import text_config, unet_config, vae_config
from rethink.errors import RethinkError
from tests.support import miniatures

KINDS = {"instruct_pix2pix": miniatures.INSTRUCT, "sdedit": miniatures.PLAIN}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: miniatures.write_folder(root / kind, name) for kind, name in KINDS.items()}


@pytest.fixture(scope="module")
def tokenizer(folders):
    return folders["sdedit"] / "tokenizer"


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request, tmp_path_factory, tokenizer):
    pipeline = miniatures.make_pipeline(KINDS[request.param], tokenizer)
    file = tmp_path_factory.mktemp("checkpoints") / f"{request.param}.safetensors"
    return request.param, pipeline, miniatures.write_checkpoint(file, pipeline)


@pytest.fixture
def folder(folders, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(folders["instruct_pix2pix"], tmp_path / "editor"))


def edit(editor):
    image = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    return editor.edit(editor.prepare(image), ["make it red"], [1], Settings(steps=2, sampler="ddim"))


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
        with pytest.raises(RethinkError, match="index.json lists no files of weights"):
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


def test_unknown_pipelines_are_named(folder):
    for name in ("KolorsPipeline", ["KolorsPipeline"], None):
        (folder / "model_index.json").write_text(json.dumps({"_class_name": name}))
        with pytest.raises(RethinkError, match="not supported.*StableDiffusionInstructPix2PixPipeline"):
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
    assert edit(load_editor(folder)).std() > 0


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


def test_paths_that_lead_nowhere(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    for name, complaint in (("nothing", "does not exist"), ("notes.txt", "neither"), (".", "model_index.json")):
        with pytest.raises(RethinkError, match=complaint):
            load_editor(tmp_path / name)


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
    assert edit(editor).std() > 0


def test_chosen_dtypes(folders):
    full = edit(load_editor(folders["instruct_pix2pix"]))
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)):
        editor = load_editor(folders["instruct_pix2pix"], dtype=name)
        assert {p.dtype for p in editor.module.parameters()} == {dtype}
        assert (edit(editor) - full).abs().mean() < 0.05


def test_offload_has_nothing_to_do_on_the_cpu(folders):
    for offload in ("model", "sequential"):
        editor = load_editor(folders["sdedit"], offload=offload)
        assert editor.device == torch.device("cpu") and edit(editor).shape == (1, 32, 32, 3)


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
    with pytest.raises(RethinkError, match="^offload: .* does not take “sequential”: these weights cannot be moved"):
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


def test_a_checkpoint_holds_the_same_editor(checkpoint, tokenizer):
    kind, pipeline, file = checkpoint
    editor = load_editor(file, tokenizer=tokenizer)
    assert editor.family.id == kind and editor.name == file.stem
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = editor.module[part].state_dict(), getattr(pipeline, part).state_dict()
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    for name in ("norm_num_groups", "attention_head_dim", "down_block_types", "up_block_types", "layers_per_block"):
        assert editor.module["unet"].config[name] == pipeline.unet.config[name]
    assert edit(editor).std() > 0


def test_a_checkpoint_of_full_depth(tokenizer, tmp_path):
    """All of Stable Diffusion 1's levels and layers, only narrower: block numbers run to two digits."""
    import diffusers

    pipeline = miniatures.make_pipeline(miniatures.INSTRUCT, tokenizer)
    pipeline.register_modules(
        unet=diffusers.UNet2DConditionModel(
            in_channels=8, sample_size=64, cross_attention_dim=32, block_out_channels=(32, 32, 64, 64)
        ),
        vae=diffusers.AutoencoderKL(
            block_out_channels=(32, 32, 64, 64),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        ),
    )
    editor = load_editor(miniatures.write_checkpoint(tmp_path / "deep.safetensors", pipeline), tokenizer=tokenizer)
    for part in ("unet", "vae"):
        ours, theirs = editor.module[part].state_dict(), getattr(pipeline, part).state_dict()
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    plan = editor.prepare(torch.rand(1, 100, 100, 3)).encoded.plan
    assert plan.padded == (512, 512)


def test_a_checkpoint_needs_a_tokenizer(checkpoint, tmp_path):
    with pytest.raises(RethinkError, match="has no tokenizer; give"):
        load_editor(checkpoint[2])
    with pytest.raises(RethinkError, match="^tokenizer: "):
        load_editor(checkpoint[2], tokenizer=tmp_path)


def test_other_and_incomplete_checkpoints(checkpoint, tokenizer, tmp_path):
    weights = load_file(checkpoint[2])
    file = tmp_path / "model.safetensors"

    def refused(content, complaint):
        save_file(content, file)
        with pytest.raises(RethinkError, match=complaint):
            load_editor(file, tokenizer=tokenizer)

    for prefix, part in (("model.diff", "UNet"), ("first_stage", "VAE"), ("cond_stage", "CLIP text encoder")):
        refused({key: w for key, w in weights.items() if not key.startswith(prefix)}, f"has no {part}")
    refused({"conditioner.embedders.0.x": torch.zeros(1)}, "Stable Diffusion XL")
    refused({"down_blocks.0.weight": torch.zeros(1)}, "one part of a diffusers folder")
    refused({"lora_unet_down.alpha": torch.zeros(1)}, "is a LoRA")
    missing = "model.diffusion_model.middle_block.0.in_layers.0.bias"
    refused({key: w for key, w in weights.items() if key != missing}, "no whole UNet2DCond.*lacks mid_block")
    for prefix in (
        "model.diffusion_model.input",
        "first_stage_model.encoder",
        "cond_stage_model.transformer.text_model.em",
    ):
        refused({key: w for key, w in weights.items() if not key.startswith(prefix)}, "is incomplete")
    widened = {**weights, "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)}
    refused(widened, "takes 9 channels")
    file.write_bytes(checkpoint[2].read_bytes()[:5000])
    with pytest.raises(RethinkError, match="damaged or incomplete"):
        load_editor(file, tokenizer=tokenizer)


def test_every_tensor_of_a_checkpoint_is_used_or_known_to_be_needless(checkpoint, tokenizer, tmp_path):
    weights, file = load_file(checkpoint[2]), tmp_path / "model.safetensors"
    needless = (
        "model_ema.decay",
        "betas",
        "alphas_cumprod_prev",
        "sqrt_one_minus_alphas_cumprod",
        "posterior_variance",
        "first_stage_model.loss.logvar",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
        "global_step",
        "cond_stage_model.logit_scale",
        "optimizer.state.0",
        "sqrt_recipm1_alphas_cumprod",
    )
    save_file(weights | {key: torch.zeros(2) for key in needless}, file)
    assert edit(load_editor(file, tokenizer=tokenizer)).std() > 0
    for prefix in (
        "model.diffusion_model.",
        "first_stage_model.",
        "cond_stage_model.transformer.",
        "control_model.",
        "",
    ):
        save_file(weights | {f"{prefix}v_pred": torch.zeros(2)}, file)
        with pytest.raises(RethinkError, match="model.safetensors (holds|is no whole .* holds) .*v_pred"):
            load_editor(file, tokenizer=tokenizer)


def test_the_shapes_of_stable_diffusion_1_give_its_configuration(tokenizer):
    """The configurations of the released models, from tensors that have a shape and nothing else."""
    import diffusers
    import transformers

    kinds = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    with torch.device("meta"):
        pipeline = miniatures.make_pipeline(miniatures.INSTRUCT, tokenizer)
        pipeline.unet = diffusers.UNet2DConditionModel(
            in_channels=8, sample_size=64, cross_attention_dim=768, down_block_types=kinds[0], up_block_types=kinds[1]
        )
        pipeline.vae = diffusers.AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            sample_size=512,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
        pipeline.text_encoder = transformers.CLIPTextModel(
            transformers.CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12)
        )
    weights = miniatures.original_layout(pipeline)

    def under(prefix):
        return {key.removeprefix(prefix): weight for key, weight in weights.items() if key.startswith(prefix)}

    assert unet_config(under("model.diffusion_model.")) == {
        "sample_size": 64,
        "in_channels": 8,
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "down_block_types": kinds[0],
        "up_block_types": kinds[1],
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    }
    assert vae_config(under("first_stage_model.")) == {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "sample_size": 512,
        "scaling_factor": 0.18215,
    }
    assert text_config(under("cond_stage_model.transformer.")) == {
        "vocab_size": 49408,
        "hidden_size": 768,
        "projection_dim": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 49407,
    }


def test_a_checkpoints_noise_schedule(checkpoint, tokenizer):
    scheduler = load_editor(checkpoint[2], tokenizer=tokenizer)._pipeline.scheduler.config
    assert scheduler.prediction_type == "epsilon" and scheduler.beta_schedule == "scaled_linear"
    assert (scheduler.beta_start, scheduler.beta_end, scheduler.num_train_timesteps) == (0.00085, 0.012, 1000)


def test_comfyuis_tokenizer_serves():
    from rethink.editors.single_file import _open_tokenizer

    root = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "comfy" / "ComfyUI")
    folder = root / "comfy" / "sd1_tokenizer"
    if not folder.is_dir():
        pytest.skip("no ComfyUI here")
    tokens = _open_tokenizer(folder)("make it red", padding="max_length", max_length=8).input_ids
    assert tokens == [49406, 1078, 585, 736, 49407, 49407, 49407, 49407]
