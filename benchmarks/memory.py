"""Compute how much video memory each editor needs from the configurations of its parts: the table in Load Editor's help.

    python benchmarks/memory.py

No weights are needed: the parts are built on the meta device and their parameters counted. The memory of activations is
an estimate (WORK). Prints the table for people (Markdown); the last line is one JSON object.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from rethink.editors.quantization import QUANTIZERS

CARDS = (8, 12, 16, 24)  # GB
WORK = 2.5  # GB of activations for a one-megapixel image in the denoiser or the VAE
SYSTEM = 0.5  # GB used by the desktop and the driver
BITS = {"bf16": 16, "int8": 8, "nf4": QUANTIZERS["nf4 (bitsandbytes)"].bits}


def clip(**config):
    import transformers

    return lambda: transformers.CLIPTextModel(transformers.CLIPTextConfig(**config))


def t5():
    import transformers

    config = transformers.T5Config(
        vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu"
    )
    return transformers.T5EncoderModel(config)


def qwen_sees():  # Qwen2.5-VL 7B
    import transformers

    text = {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    }
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584}
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def qwen3_sees():  # Qwen3-VL 8B
    import transformers

    text = {
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
    }
    vision = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 4096}
    config = transformers.Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    return transformers.Qwen3VLForConditionalGeneration(config)


def qwen3(**config):
    import transformers

    fixed = {"vocab_size": 151936, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    return lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**fixed, num_hidden_layers=36, **config))


def mistral():  # Mistral Small 3 24B with its vision tower
    import transformers

    text = {
        "model_type": "mistral",
        "vocab_size": 131072,
        "hidden_size": 5120,
        "intermediate_size": 32768,
        "num_hidden_layers": 40,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 1540,
        "head_dim": 64,
    }
    return transformers.Mistral3ForConditionalGeneration(
        transformers.Mistral3Config(text_config=text, vision_config=vision)
    )


def model(name, **config):
    import diffusers

    return lambda: getattr(diffusers, name)(**config)


def unet(**config):
    return model("UNet2DConditionModel", sample_size=128, **config)


XL = {
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "in_channels": 8,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
CLIP_L = clip(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
CLIP_G = clip(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20)
VAE = model(
    "AutoencoderKL",
    block_out_channels=(128, 256, 512, 512),
    layers_per_block=2,
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
)
VAE_2 = model("AutoencoderKLFlux2")
QWEN_VAE = model("AutoencoderKLQwenImage")

EDITORS = {
    "InstructPix2Pix": (unet(in_channels=8, cross_attention_dim=768), CLIP_L, VAE),
    "InstructPix2Pix XL, CosXL-Edit": (unet(**XL), CLIP_L, CLIP_G, VAE),
    "FLUX.2 Klein 4B": (
        model(
            "Flux2Transformer2DModel",
            num_layers=5,
            num_single_layers=20,
            num_attention_heads=24,
            joint_attention_dim=7680,
            guidance_embeds=False,
        ),
        qwen3(hidden_size=2560, intermediate_size=9728, tie_word_embeddings=True),
        VAE_2,
    ),
    "FLUX.2 Klein 9B": (
        model(
            "Flux2Transformer2DModel",
            num_layers=8,
            num_single_layers=24,
            num_attention_heads=32,
            joint_attention_dim=12288,
            guidance_embeds=False,
        ),
        qwen3(hidden_size=4096, intermediate_size=12288, tie_word_embeddings=False),
        VAE_2,
    ),
    "LongCat-Image-Edit": (
        model("LongCatImageTransformer2DModel", num_layers=10, num_single_layers=20),
        qwen_sees,
        VAE,
    ),
    "FLUX.1 Kontext": (model("FluxTransformer2DModel", guidance_embeds=True), t5, CLIP_L, VAE),
    "JoyImage-Edit, Plus": (
        model("JoyImageEditTransformer3DModel", hidden_size=4096, num_attention_heads=32, num_layers=40),
        qwen3_sees,
        model("AutoencoderKLWan"),
    ),
    "Qwen-Image-Edit, Plus": (model("QwenImageTransformer2DModel"), qwen_sees, QWEN_VAE),
    "FLUX.2 dev": (model("Flux2Transformer2DModel"), mistral, VAE_2),
}


@dataclass(frozen=True)
class Choice:
    """A way to load: the two inputs of the node, and the bits per weight of a large part."""

    offload: str
    bits: str

    def __str__(self) -> str:
        return self.offload if self.bits == "bf16" else f"{self.offload}, {self.bits}"


# From the fastest at full precision to the slowest.
CHOICES = (
    Choice("none", "bf16"),
    Choice("model", "bf16"),
    Choice("model", "int8"),
    Choice("model", "nf4"),
    Choice("sequential", "bf16"),
)


@dataclass(frozen=True)
class Part:
    """A part. parameters: in total; largest: in its largest layer; small: never quantized."""

    parameters: int
    largest: int
    small: bool

    def gigabytes(self, bits):
        return self.parameters * (BITS["bf16"] if self.small else BITS[bits]) / 8 / 1e9


def measured(build, small):
    with torch.device("meta"):
        model = build()
    layers = [sum(weight.numel() for weight in layer.parameters(recurse=False)) for layer in model.modules()]
    return Part(sum(weight.numel() for weight in model.parameters()), max(layers), small)


def gigabytes(parts, choice):
    """Peak video memory of an editor with these parts."""
    if choice.offload == "sequential":
        weights = max(part.largest for part in parts) * BITS["bf16"] / 8 / 1e9
    else:
        sizes = [part.gigabytes(choice.bits) for part in parts]
        weights = sum(sizes) if choice.offload == "none" else max(sizes)
    return weights + WORK


def table():
    """(Markdown, {editor: billions of parameters})."""
    lines = [
        "| Editor | parameters (denoiser + text) | none | model | " + " | ".join(f"{card} GB" for card in CARDS) + " |",
        "| --- |" + " --- |" * (3 + len(CARDS)),
    ]
    totals = {}
    for name, builds in EDITORS.items():
        parts = [measured(build, small=build is builds[-1]) for build in builds]  # the VAE is the last
        needs = {choice: gigabytes(parts, choice) for choice in CHOICES}
        best = [next(str(c) for c in CHOICES if needs[c] + SYSTEM <= card) for card in CARDS]
        counts = f"{parts[0].parameters / 1e9:.1f} B + {sum(part.parameters for part in parts[1:-1]) / 1e9:.1f} B"
        whole = [f"{needs[choice]:.0f} GB" for choice in CHOICES[:2]]
        lines.append(f"| {name} | {counts} | " + " | ".join([*whole, *best]) + " |")
        totals[name] = round(sum(part.parameters for part in parts) / 1e9, 2)
    return "\n".join(lines), totals


if __name__ == "__main__":
    text, counted = table()
    print(text)
    print(json.dumps(counted))
