"""Checkpoints in one file."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rethink.editors.loading import load_editor
from rethink.editors.single_file import text_config, unet_config, vae_config
from rethink.errors import RethinkError
from tests.support import miniatures

KINDS = {"instruct_pix2pix": miniatures.INSTRUCT, "sdedit": miniatures.PLAIN}


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request, tmp_path_factory, tokenizer):
    pipeline = miniatures.make_pipeline(KINDS[request.param], tokenizer)
    file = tmp_path_factory.mktemp("checkpoints") / f"{request.param}.safetensors"
    return request.param, pipeline, miniatures.write_checkpoint(file, pipeline)


def test_a_checkpoint_holds_the_same_editor(checkpoint, tokenizer):
    kind, pipeline, file = checkpoint
    editor = load_editor(file, tokenizer=tokenizer)
    assert editor.family.id == kind and editor.name == file.stem
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = editor.module[part].state_dict(), getattr(pipeline, part).state_dict()
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    for name in ("norm_num_groups", "attention_head_dim", "down_block_types", "up_block_types", "layers_per_block"):
        assert editor.module["unet"].config[name] == pipeline.unet.config[name]
    assert miniatures.quick_edit(editor).std() > 0


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
    with pytest.raises(RethinkError, match="has no tokenizer; choose"):
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
    refused({key: w for key, w in weights.items() if key != missing}, "not a complete UNet2DCond.*lacks mid_block")
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
    assert miniatures.quick_edit(load_editor(file, tokenizer=tokenizer)).std() > 0
    prefixes = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.", "control_model.", "")
    for prefix in prefixes if checkpoint[0] == "sdedit" else prefixes[:1]:
        save_file(weights | {f"{prefix}v_pred": torch.zeros(2)}, file)
        with pytest.raises(RethinkError, match="model.safetensors (contains|is not a complete .* contains) .*v_pred"):
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
