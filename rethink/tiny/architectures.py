"""The untrained built-in models: their sizes and tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import lazy_import
from ..training.train_loop import main_process_first, write_json
from .phrasings import HELD_OUT_WORDINGS, WORDINGS
from .scene import BACKGROUNDS, COLORS, PLACES, SHAPES, SIZE, SIZES

LATENT_CHANNELS = 16
WIDTH = 40  # channels of the autoencoder
TEXT_TOKENS = 32
CLIP_TOKENS = 56
VOCABULARY = 10_000  # tokens at most; there are fewer


def make_tokenizer(folder: Path, length: int):
    """A CLIPTokenizer whose vocabulary is every byte and the words of the built-in world."""
    from transformers import CLIPTokenizer

    with main_process_first() as first:
        if first and not (folder / "vocab.json").exists():  # resumed weights need their original tokens
            write_tokenizer(folder, length)
    return CLIPTokenizer.from_pretrained(folder, model_max_length=length)


def write_tokenizer(folder: Path, length: int) -> None:
    """Write the files of a CLIPTokenizer that has a token for every word of plain instructions."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    words = [*COLORS, *BACKGROUNDS, *SHAPES, *SIZES, *PLACES, "bigger", "smaller", "an", "on", "and", "nothing"]
    words += [w for table in (WORDINGS, HELD_OUT_WORDINGS) for lines in table.values() for w in lines]
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(r"\{\w+\}", "removed"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    words = [part for line in words for part in line.replace("{", " {").replace("}", "} ").split()]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, end_of_word_suffix="</w>", initial_alphabet=letters, show_progress=False
    )
    learner.train_from_iterator([w for w in words if "{" not in w], trainer)
    merges = [m if isinstance(m, list) else m.split() for m in json.loads(learner.to_str())["model"]["merges"]]
    tokens = letters + [f"{letter}</w>" for letter in letters] + ["".join(pair) for pair in merges]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "vocab.json", {token: index for index, token in enumerate(tokens)})
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "model_max_length": length})


def make_text_encoder(tokenizer, width: int = 128, layers: int = 2) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**text_config(tokenizer, width, layers)))


def text_config(tokenizer, width: int, layers: int) -> dict:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "projection_dim": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "hidden_act": "gelu",
    }


def make_vae():
    """An AutoencoderTiny that is 16× smaller each way, so that the U-Net works on 8×8 latents.

    Without normalization layers, it treats every place alike: single cells teach it what it needs for whole images.
    """
    return lazy_import("diffusers").AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(WIDTH,) * 5,
        decoder_block_out_channels=(WIDTH,) * 5,
        num_encoder_blocks=(0, 1, 1, 2, 2),
        num_decoder_blocks=(3, 2, 1, 1, 0),
    )


def make_unet(text_width: int = 128):
    return lazy_import("diffusers").UNet2DConditionModel(
        sample_size=SIZE // 16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(88, 128),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=8,
        cross_attention_dim=text_width,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def make_scheduler():
    return lazy_import("diffusers").DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="sample",
        clip_sample=False,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        set_alpha_to_one=True,
        steps_offset=0,
    )


def make_clip(tokenizer) -> Any:
    from transformers import CLIPConfig, CLIPModel

    vision = {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "image_size": SIZE,
        "patch_size": 16,
        "projection_dim": 128,
        "hidden_act": "gelu",
    }
    return CLIPModel(CLIPConfig(text_config=text_config(tokenizer, 128, 3), vision_config=vision, projection_dim=128))
