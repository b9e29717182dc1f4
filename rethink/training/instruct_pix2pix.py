"""Trains an InstructPix2Pix editor (Brooks et al. 2022, arXiv 2211.09800, section 3.2) from a diffusers folder.

The folder is a Stable Diffusion text-to-image pipeline (its U-Net is widened to take the source's latents as well) or
an InstructPix2Pix pipeline to train further. The data is a store of pairs, or a folder with `metadata.jsonl`, one line a pair:
{"input_image_file_name": …, "edited_image_file_name": …, "edit_prompt": …}, paths relative to it.

    accelerate launch -m rethink.training.instruct_pix2pix models/diffusers/sd15 my-pairs my-editor --precision bf16
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ..editors.pipeline_folder import open_pipeline, read_index
from ..errors import RethinkError, lazy_import
from ..model_files import snapshot_of
from .pair_dataset import PairFolder, make_collate_fn
from .train_loop import TrainConfig, add_train_arguments, read_train_config, train_loop, write_json

STARTS = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInstructPix2PixPipeline")


@dataclass(frozen=True)
class LossConfig:
    """What the loss is made of. Defaults are the paper's.

    drop: the shares of samples that lose the text, the image, or both (paper: 5% each).
    edit_weight: extra weight of latents that the edit changes (0: the plain L2 of the paper).
    last_timestep: share of samples trained at the noisiest timestep (0: uniform), for editors of few steps.
    train_text: train the text encoder too (from nothing it must; the paper keeps it frozen).
    """

    drop: float = 0.05
    edit_weight: float = 0.0
    last_timestep: float = 0.0
    train_text: bool = False


class EditorParts(Protocol):
    """What is trained and what it is conditioned on: a diffusers pipeline, or any object with these."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any


def widen_conv_in(unet: Any, latent_channels: int) -> None:
    """Lets a text-to-image UNet2DConditionModel take `latent_channels` more: the source's latents.

    The new weights start at zero, so that training starts from the model as it was (section 3.2).
    Raises RethinkError for a U-Net with another number of channels.
    """
    if unet.config.in_channels == 2 * latent_channels:
        return
    if unet.config.in_channels != latent_channels:
        raise RethinkError(
            f"This U-Net takes {unet.config.in_channels} channels; {latent_channels} or twice that is needed."
        )
    old = unet.conv_in
    new = nn.Conv2d(2 * latent_channels, old.out_channels, old.kernel_size, old.stride, old.padding)
    nn.init.zeros_(new.weight)
    with torch.no_grad():
        new.weight[:, :latent_channels].copy_(old.weight)
        if new.bias is not None:
            new.bias.copy_(old.bias)
    unet.conv_in = new
    unet.register_to_config(in_channels=2 * latent_channels)


class InstructPix2PixLoss(nn.Module):
    """The U-Net with all it is conditioned on; `forward(batch)` is the training loss.

    A batch is {"source", "edited": IMAGE [B, H, W, 3], or what `render` turns into one; "tokens": int [B, L]}.
    """

    null_tokens: torch.Tensor  # int [1, L], of the empty instruction
    alphas: torch.Tensor  # [T], the cumulative products of the noise schedule

    def __init__(
        self,
        pipe: EditorParts,
        loss_config: LossConfig,
        render: Callable[[torch.Tensor], torch.Tensor] | None = None,
        reuse: int = 1,
    ):
        super().__init__()
        self.unet: Any = pipe.unet
        self.vae: Any = pipe.vae
        self.text_encoder: Any = pipe.text_encoder
        self.scheduler, self.loss_config, self.render = pipe.scheduler, loss_config, render
        self.replay = LatentReplayBuffer(reuse) if reuse > 1 else None
        self.vae.requires_grad_(False)
        self.text_encoder.requires_grad_(loss_config.train_text)
        null = pipe.tokenizer("", padding="max_length", max_length=pipe.tokenizer.model_max_length, return_tensors="pt")
        self.register_buffer("null_tokens", null.input_ids, persistent=False)
        self.register_buffer("alphas", pipe.scheduler.alphas_cumprod.float(), persistent=False)

    def forward(self, batch: dict) -> torch.Tensor:
        source, edited, tokens = self.encode_batch(batch)
        clean = edited * self.vae.config.scaling_factor
        time = self.sample_timesteps(len(clean))
        noise = torch.randn_like(clean)
        alpha = self.alphas[time][:, None, None, None]
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        tokens, image = self.drop_conditions(tokens, source)
        text = self.text_encoder(tokens)[0]
        out = self.unet(torch.cat([noisy, image], 1), time, encoder_hidden_states=text).sample
        weight = 1 + self.loss_config.edit_weight * changed_latents(source, edited)
        return ((out.float() - self.target(clean, noise, alpha)).square() * weight).mean()

    @torch.no_grad()
    def encode_batch(self, batch: dict) -> tuple[torch.Tensor, ...]:
        """(source latents, edited latents, tokens), from the replay buffer where there is one."""
        fresh = self.encode(batch["source"]), self.encode(batch["edited"]), batch["tokens"]
        return self.replay.exchange(fresh) if self.replay else fresh

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """The mode of the latents, unscaled, as the image condition wants them."""
        image = self.render(images) if self.render else images
        image = image.permute(0, 3, 1, 2) * 2 - 1
        encoded = self.vae.encode(image.to(self.vae.dtype))
        return (encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()).float()

    def sample_timesteps(self, count: int) -> torch.Tensor:
        """int [count], uniform but for the share of `last_timestep`."""
        device, last = self.alphas.device, len(self.alphas) - 1
        time = torch.randint(0, last + 1, (count,), device=device)
        return torch.where(torch.rand(count, device=device) < self.loss_config.last_timestep, last, time)

    def drop_conditions(self, tokens: torch.Tensor, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Classifier-free guidance over two conditions: one draw decides, so that text, image and both are dropped
        equally often (section 3.2.1)."""
        draw, drop = torch.rand(len(tokens), device=tokens.device), self.loss_config.drop
        tokens = torch.where((draw < 2 * drop)[:, None], self.null_tokens.to(tokens), tokens)
        keep_image = (draw < drop) | (draw >= 3 * drop)
        return tokens, image * keep_image[:, None, None, None]

    def target(self, clean: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """What the scheduler's prediction type asks the U-Net for."""
        kind = self.scheduler.config.prediction_type
        if kind == "epsilon":
            return noise
        return clean if kind == "sample" else alpha.sqrt() * noise - (1 - alpha).sqrt() * clean


class LatentReplayBuffer:
    """Encoded pairs, each trained on `reuse` times, in other batches and with fresh noise: for small U-Nets, where encoding
    a pair costs more than a step."""

    def __init__(self, reuse: int, size: int = 16_384):
        self.reuse, self.size, self.seen = reuse, size, 0
        self.latents: list[torch.Tensor] = []

    def exchange(self, fresh: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Takes in tensors [B, …], in place of the oldest, and gives [B * reuse, …] drawn from all."""
        count, device = len(fresh[0]), fresh[0].device
        if not self.latents:
            self.latents = [new.new_empty(self.size, *new.shape[1:]) for new in fresh]
        place = torch.arange(self.seen, self.seen + count, device=device) % self.size
        for stored, new in zip(self.latents, fresh):
            stored[place] = new
        self.seen += count
        drawn = torch.randint(min(self.seen, self.size), (count * self.reuse,), device=device)
        return tuple(stored[drawn] for stored in self.latents)


def changed_latents(source: torch.Tensor, edited: torch.Tensor) -> torch.Tensor:
    """Which latents differ: [B, 1, h, w] of 0 and 1, relative to the spread of the image's own latents."""
    difference = (source - edited).abs().mean(1, keepdim=True)
    return (difference > 0.1 * source.std((1, 2, 3), keepdim=True)).float()


def train(
    pipe: EditorParts,
    dataset: torch.utils.data.Dataset,
    loss_config: LossConfig,
    config: TrainConfig,
    out: Path,
    *,
    render: Callable[[torch.Tensor], torch.Tensor] | None = None,
    reuse: int = 1,
    report: Callable[[str], None] = print,
) -> None:
    """Trains `pipe` on a dataset of pairs and saves a StableDiffusionInstructPix2PixPipeline in `out`.

    render: turns the dataset's samples into IMAGE. reuse: visits to each encoded pair (a step sees batch × reuse).
    """
    widen_conv_in(pipe.unet, pipe.vae.config.latent_channels)
    model = InstructPix2PixLoss(pipe, loss_config, render, reuse)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "training.json", {"objective": asdict(loss_config), "plan": asdict(config)})
    train_loop(model, dataset, config, out, collate=make_collate_fn(pipe.tokenizer), report=report)
    if lazy_import("accelerate").PartialState().is_main_process:
        save(pipe, out)


def save(pipe, out: Path) -> None:
    diffusers = lazy_import("diffusers")
    editor = diffusers.StableDiffusionInstructPix2PixPipeline(
        vae=pipe.vae,
        text_encoder=pipe.text_encoder,
        tokenizer=pipe.tokenizer,
        unet=pipe.unet,
        scheduler=pipe.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    editor.save_pretrained(out, safe_serialization=True)
    add_old_prefix(out)


def add_old_prefix(editor: Path) -> None:
    """Gives the text encoder's weights the names that transformers 4 looks for; transformers 5 leaves their beginning
    away when it saves, and reads both."""
    from safetensors.torch import load_file, save_file

    file = editor / "text_encoder" / "model.safetensors"
    weights, prefix = load_file(file), "text_model."
    if not any(name.startswith(prefix) for name in weights):
        save_file({prefix + name: value for name, value in weights.items()}, file, metadata={"format": "pt"})


def open_model(folder: Path):
    """The pipeline to start from, in full precision. Raises RethinkError for a folder of another kind, or a damaged one."""
    folder = snapshot_of(folder)
    index = read_index("model", folder)
    name = index.get("_class_name")
    if name not in STARTS:
        raise RethinkError(f"model: {folder} is a {name}; training starts from one of {', '.join(STARTS)}.")
    return open_pipeline("model", folder, index, getattr(lazy_import("diffusers"), name), torch.float32)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m rethink.training.instruct_pix2pix",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="diffusers folder to start from")
    parser.add_argument("data", type=Path, help="store of pairs, or folder with metadata.jsonl")
    parser.add_argument("out", type=Path, help="folder for the editor; a run that was interrupted goes on")
    parser.add_argument("--resolution", type=int, default=256, help="pixels, width and height (paper: 256)")
    parser.add_argument("--train-text", action="store_true", help="train the text encoder too")
    add_train_arguments(parser, TrainConfig())
    options = parser.parse_args(arguments)
    try:
        pipe = open_model(options.model)
        data = PairFolder(options.data, options.resolution)
        train(pipe, data, LossConfig(train_text=options.train_text), read_train_config(options), options.out)
    except RethinkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
