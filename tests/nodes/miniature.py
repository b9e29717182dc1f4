"""A diffusers InstructPix2Pix folder of 16-pixel pictures with random weights: the real code in milliseconds."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch


def save_miniature(folder: Path) -> Path:
    """Write the pipeline to `folder` and return it."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    characters = [chr(c) for c in range(33, 127)]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *characters, *(c + "</w>" for c in characters)]
    with TemporaryDirectory() as words:
        vocab, merges = Path(words, "vocab.json"), Path(words, "merges.txt")
        vocab.write_text(json.dumps({word: i for i, word in enumerate(vocabulary)}), encoding="utf-8")
        merges.write_text("#version: 0.2\n", encoding="utf-8")
        tokenizer = CLIPTokenizer(str(vocab), str(merges), model_max_length=16)
    text = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    blocks = dict(block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4, sample_size=16, **blocks,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=8, out_channels=4, cross_attention_dim=8, attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **blocks,
    )  # fmt: skip
    StableDiffusionInstructPix2PixPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), tokenizer=tokenizer, unet=unet, scheduler=DDIMScheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


if __name__ == "__main__":
    save_miniature(Path(sys.argv[1]))
