"""Tiny pipelines with random weights, so that the real loading and sampling code runs in milliseconds."""

import json
import os
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from rethink.editors.settings import Settings

TOKENS = 24
INSTRUCT = "StableDiffusionInstructPix2PixPipeline"
PLAIN = "StableDiffusionPipeline"

# Prompt-To-Prompt Pairs on a miniature: a second in place of hours, and nothing is too bad to be kept.
QUICK = {"steps": 2, "candidates": 4, "best": 2, "batch": 2, "image": -1.0, "caption_fit": -1.0, "direction": -1.0}

SD_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def write_tokenizer(folder: Path) -> Path:
    """A CLIP tokenizer that spells every byte, with a few merges, in the files that every transformers reads."""
    folder.mkdir(parents=True, exist_ok=True)
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    merges = ["t h", "th e</w>", "r e", "re d</w>", "m a", "ma k", "mak e</w>"]
    words = letters + [letter + "</w>" for letter in letters] + [merge.replace(" ", "") for merge in merges]
    vocabulary = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    special = {
        "bos_token": "<|startoftext|>",
        **dict.fromkeys(["eos_token", "unk_token", "pad_token"], "<|endoftext|>"),
    }
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TOKENS, "do_lower_case": True, **special}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
    return folder


def clip_text_config(tokenizer):
    import transformers

    return transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=1,
        max_position_embeddings=TOKENS,
        projection_dim=32,
        bos_token_id=len(tokenizer) - 2,
        eos_token_id=len(tokenizer) - 1,
        pad_token_id=len(tokenizer) - 1,
    )


def make_pipeline(class_name: str, tokenizer: Path, prediction: str = "epsilon", **scheduler):
    """A pipeline in Stable Diffusion 1's layout: 32×32 pictures, 16×16 latents, two levels, random weights."""
    import diffusers
    import transformers

    torch.manual_seed(0)
    tokens = transformers.CLIPTokenizer.from_pretrained(str(tokenizer))
    text = clip_text_config(tokens)
    unet = diffusers.UNet2DConditionModel(
        sample_size=16,
        in_channels=8 if class_name == INSTRUCT else 4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(32, 32),
        layers_per_block=1,
        latent_channels=4,
        sample_size=32,
        scaling_factor=0.18215,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    pipeline = getattr(diffusers, class_name)(
        vae=vae,
        unet=unet,
        tokenizer=tokens,
        text_encoder=transformers.CLIPTextModel(text).eval(),
        scheduler=diffusers.DDIMScheduler(
            **{
                **SD_NOISE,
                "clip_sample": False,
                "set_alpha_to_one": False,
                "steps_offset": 1,
                "prediction_type": prediction,
                **scheduler,
            }
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def write_folder(folder: Path, class_name: str, dtype: torch.dtype = torch.float32, **options) -> Path:
    """`make_pipeline` as a diffusers folder; `variant="fp16"` in options names the weights so."""
    variant = options.pop("variant", None)
    tokenizer = write_tokenizer(folder.with_name(folder.name + "-tokenizer"))
    pipeline = make_pipeline(class_name, tokenizer, **options)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        torch.nn.Module.to(part, dtype)
    pipeline.save_pretrained(folder, variant=variant)
    for file in (folder / "tokenizer").iterdir():
        file.unlink()  # newer transformers write a tokenizer.json that older ones cannot read
    write_tokenizer(folder / "tokenizer")
    return folder


def write_clip(folder: Path) -> Path:
    """A CLIPModel of 32×32 pictures with random weights, its tokenizer and its processor."""
    import transformers

    tokenizer = transformers.CLIPTokenizer.from_pretrained(write_tokenizer(folder))
    layers = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={**layers, **text}, vision_config={**layers, "image_size": 32, "patch_size": 8}, projection_dim=16
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


def write_checkpoint(file: Path, pipeline) -> Path:
    """A pipeline's weights as one .safetensors file in Stable Diffusion 1's original layout."""
    save_file(original_layout(pipeline), file)
    return file


def original_layout(pipeline) -> dict[str, torch.Tensor]:
    layers = pipeline.unet.config.layers_per_block
    attends = {i for i, kind in enumerate(pipeline.unet.config.up_block_types) if kind.startswith("CrossAttn")}
    levels = len(pipeline.vae.config.block_out_channels)
    weights = {}
    for key, weight in pipeline.unet.state_dict().items():
        weights["model.diffusion_model." + _unet_key(key, layers, attends)] = weight
    for key, weight in pipeline.vae.state_dict().items():
        key = _vae_key(key, levels)
        is_projection = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", key)
        weights["first_stage_model." + key] = weight[:, :, None, None] if is_projection else weight
    for key, weight in pipeline.text_encoder.state_dict().items():
        weights["cond_stage_model.transformer.text_model." + key.removeprefix("text_model.")] = weight
    return {key: weight.contiguous() for key, weight in weights.items()}


def _unet_key(key: str, layers: int, attends: set[int]) -> str:
    for new, old in {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
    }.items():
        if key.startswith(new + "."):
            key = old + key.removeprefix(new)
    if match := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)(.*)", key):
        side, level, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
        block = level * (layers + 1) + index
        if kind == "downsamplers":
            key = f"input_blocks.{(level + 1) * (layers + 1)}.0.op{rest.removeprefix('.conv')}"
        elif kind == "upsamplers":
            key = f"output_blocks.{level * (layers + 1) + layers}.{2 if level in attends else 1}{rest}"
        else:
            place = f"input_blocks.{block + 1}" if side == "down" else f"output_blocks.{block}"
            key = f"{place}.{0 if kind == 'resnets' else 1}{rest}"
    if "transformer_blocks" in key:
        return key
    for new, old in {
        ".norm1.": ".in_layers.0.",
        ".conv1.": ".in_layers.2.",
        ".norm2.": ".out_layers.0.",
        ".conv2.": ".out_layers.3.",
        ".time_emb_proj.": ".emb_layers.1.",
        ".conv_shortcut.": ".skip_connection.",
    }.items():
        key = key.replace(new, old)
    return key


def _vae_key(key: str, levels: int) -> str:
    key = re.sub(r"up_blocks\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}", key)
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    for new, old in {
        "down_blocks": "down",
        "resnets": "block",
        "downsamplers.0": "downsample",
        "upsamplers.0": "upsample",
        "mid_block.attentions.0": "mid.attn_1",
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "proj_out",
        "conv_norm_out": "norm_out",
        "conv_shortcut": "nin_shortcut",
    }.items():
        key = key.replace(new, old)
    return key


def write_cache(root, model, commit="0123456789abcdef"):
    """A model in the layout of the hub's cache: links to files without endings."""
    cached = root / "models--owner--name"
    (cached / "blobs").mkdir(parents=True)
    for number, file in enumerate(path for path in sorted(model.rglob("*")) if path.is_file()):
        shutil.copyfile(file, cached / "blobs" / str(number))
        link = cached / "snapshots" / commit / file.relative_to(model)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(cached / "blobs" / str(number), link.parent))
    return cached


def quick_edit(editor):
    """The same two steps on the same noise, whatever editor: to see whether two are one."""
    image = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    return editor.edit(editor.prepare(image), ["make it red"], [1], Settings(steps=2, sampler="ddim"))
