"""Opens a single checkpoint in Stable Diffusion 1's original layout as a diffusers pipeline.

Every component's configuration is derived from the shapes of the checkpoint's own tensors; the little that shapes do
not tell (8 attention heads, the noise schedule, the VAE's scale) is Stable Diffusion 1's own.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import RethinkError, lazy_import
from ..model_files import check_data
from ..weights import CHECKPOINT, check_filled, needless, shortened, some_of
from .families import FAMILIES, DenoisingLoop, Family

_UNET = "model.diffusion_model."
_VAE = "first_stage_model."
_TEXT = "cond_stage_model.transformer."
_OTHER_LAYOUTS = {
    "conditioner.embedders.": "a Stable Diffusion XL checkpoint",
    "cond_stage_model.model.": "a Stable Diffusion 2 checkpoint",
    "double_blocks.": "a FLUX model",
    "down_blocks.": "one part of a diffusers folder",
    "lora_": "a LoRA",
}
_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def open_checkpoint(path: Path, dtype: torch.dtype, tokenizer: str | PathLike | None) -> tuple[Any, Family]:
    """A checked .safetensors file → (diffusers pipeline in `dtype`, its family).

    tokenizer: a folder with CLIP's vocab.json and merges.txt.
    Raises RethinkError if the file is of another kind or incomplete, or there is no tokenizer for it.
    """
    diffusers, transformers = lazy_import("diffusers"), lazy_import("transformers")
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
    for prefix, part in ((_UNET, "UNet"), (_VAE, "VAE"), (_TEXT, "CLIP text encoder")):
        if not any(name.startswith(prefix) for name in names):
            raise RethinkError(f"editor: {path} {_what_is_wrong(names, part)}")
    if tokenizer is None:
        raise RethinkError(f"editor: {path} has no tokenizer; choose a folder with CLIP's vocab.json and merges.txt.")

    weights = load_file(path)
    text_weights = {f"text_model.{key.removeprefix('text_model.')}": w for key, w in _under(weights, _TEXT).items()}
    try:
        unet, vae = unet_config(_under(weights, _UNET)), vae_config(_under(weights, _VAE))
        text = text_config(text_weights)
    except (KeyError, IndexError, StopIteration) as error:
        raise RethinkError(
            f"editor: {path} is incomplete, {str(error) or 'a weight'} is missing; download it again."
        ) from error
    family = next(
        (
            f
            for f in FAMILIES
            if isinstance(f.engine, DenoisingLoop)
            and unet["in_channels"] == f.engine.input_channels(vae["latent_channels"])
        ),
        None,
    )
    if family is None:
        raise RethinkError(
            f"editor: the UNet of {path} takes {unet['in_channels']} channels, unlike any supported editor."
        )

    text_encoder = transformers.CLIPTextModel(transformers.CLIPTextConfig(**text))
    if not hasattr(text_encoder, "text_model"):  # newer versions of transformers have one level less
        text_weights = {key.removeprefix("text_model."): weight for key, weight in text_weights.items()}
    unet_weights, vae_weights = convert_ldm_unet_checkpoint(weights, unet), convert_ldm_vae_checkpoint(weights, vae)
    _check_all_used(path, weights, unet_weights, vae_weights, text_weights)
    with torch.device("meta"):  # no memory or time for weights that are replaced right away
        empty_unet, empty_vae = diffusers.UNet2DConditionModel(**unet), diffusers.AutoencoderKL(**vae)
    pipeline = getattr(diffusers, family.pipelines[0])(
        unet=_fill(empty_unet, unet_weights, dtype, path),
        vae=_fill(empty_vae, vae_weights, dtype, path),
        text_encoder=_fill(text_encoder, text_weights, dtype, path),
        tokenizer=_open_tokenizer(tokenizer),
        # The best general solver at few steps.
        scheduler=diffusers.DPMSolverMultistepScheduler(**_BETAS, timestep_spacing="trailing"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return pipeline, family


def unet_config(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The UNet2DConditionModel configuration of original-layout UNet weights (names without their prefix)."""
    channels, attends, blocks = [], [], []  # one entry per level
    level = 0
    for i in range(1, _count(weights, "input_blocks.{}.")):
        if f"input_blocks.{i}.0.op.weight" in weights:  # the downsampler ends the level
            level += 1
            continue
        if level == len(channels):
            channels.append(weights[f"input_blocks.{i}.0.out_layers.3.weight"].shape[0])
            attends.append(f"input_blocks.{i}.1.norm.weight" in weights)
            blocks.append(0)
        blocks[level] += 1
    cross_attention = next(w for key, w in weights.items() if key.endswith("attn2.to_k.weight"))
    return {
        "sample_size": 64,
        "in_channels": weights["input_blocks.0.0.weight"].shape[1],
        "out_channels": weights["out.2.weight"].shape[0],
        "block_out_channels": tuple(channels),
        "layers_per_block": blocks[0],
        "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        "up_block_types": tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
        "cross_attention_dim": cross_attention.shape[1],
        "attention_head_dim": 8,  # diffusers' name for the number of heads
    }


def vae_config(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The AutoencoderKL configuration of original-layout VAE weights (names without their prefix)."""
    levels = _count(weights, "encoder.down.{}.")
    return {
        "in_channels": weights["encoder.conv_in.weight"].shape[1],
        "out_channels": weights["decoder.conv_out.weight"].shape[0],
        "latent_channels": weights["post_quant_conv.weight"].shape[1],
        "block_out_channels": tuple(weights[f"encoder.down.{i}.block.0.conv2.weight"].shape[0] for i in range(levels)),
        "layers_per_block": _count(weights, "encoder.down.0.block.{}."),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "sample_size": 512,
        "scaling_factor": 0.18215,
    }


def text_config(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The CLIPTextConfig of CLIP text weights in transformers' layout, named `text_model.…`."""
    vocabulary, width = weights["text_model.embeddings.token_embedding.weight"].shape
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "projection_dim": width,
        "intermediate_size": weights["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": _count(weights, "text_model.encoder.layers.{}."),
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": weights["text_model.embeddings.position_embedding.weight"].shape[0],
        "hidden_act": "quick_gelu",
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }


def _under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): weight for key, weight in weights.items() if key.startswith(prefix)}


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """How many of pattern.format(0), pattern.format(1), … are the start of a weight's name."""
    count = 0
    while any(key.startswith(pattern.format(count)) for key in weights):
        count += 1
    return count


def _what_is_wrong(names: list[str], part: str) -> str:
    for sign, layout in _OTHER_LAYOUTS.items():
        if any(sign in name for name in names):
            return f"is {layout}; single files must be complete Stable Diffusion 1 checkpoints."
    return f"has no {part}; single files must be complete Stable Diffusion 1 checkpoints."


def _fill(model: torch.nn.Module, weights: dict[str, Tensor], dtype: torch.dtype, path: Path) -> torch.nn.Module:
    try:
        missing, unused = model.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:  # a wrong shape
        raise RethinkError(f"editor: {path} is not a complete {type(model).__name__}: {shortened(error)}") from error
    check_filled("editor", path, model, missing, unused)
    return torch.nn.Module.to(model, dtype).eval()  # diffusers' own `to` warns needlessly at every cast


def _check_all_used(path: Path, weights: Mapping[str, Tensor], *used: Mapping[str, Tensor]) -> None:
    """Raise RethinkError for tensors of a checkpoint that no part uses: they would change what it does."""
    places = {weight.data_ptr() for part in used for weight in part.values()}
    left = [key for key, w in weights.items() if w.data_ptr() not in places and not needless(key, CHECKPOINT)]
    if left:
        raise RethinkError(
            f"editor: {path} contains {some_of(left)}, which does not belong to Stable Diffusion 1; single files "
            "must be complete Stable Diffusion 1 checkpoints and nothing else."
        )


def _open_tokenizer(folder: str | PathLike) -> Any:
    folder = Path(folder)
    check_data("tokenizer", folder)
    if not all((folder / name).is_file() for name in ("vocab.json", "merges.txt")):  # otherwise an empty one would open
        raise RethinkError(f"tokenizer: {folder} contains no CLIP tokenizer (vocab.json and merges.txt).")
    return lazy_import("transformers").CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
