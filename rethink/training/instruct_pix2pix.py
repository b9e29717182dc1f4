"""Trains an InstructPix2Pix editor (Brooks et al. 2022, arXiv 2211.09800, section 3.2) from a diffusers folder.

The folder contains a Stable Diffusion text-to-image pipeline, 1.x, 2.x or XL (its U-Net is widened to also take the source's
latents), or an InstructPix2Pix pipeline to train further.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..atomic import in_use_as_error
from ..editors.pipeline_folder import open_pipeline, read_index
from ..errors import RethinkError, lazy_import
from ..model_files import snapshot_of
from .loss_watch import Diverged
from .noising import QUANTILES, diffusion_target
from .pair_dataset import PairCollator
from .text_conditions import TextConditions, tokenizers_of
from .train_loop import TrainConfig, TrainWatch, train_loop, write_json

SETTINGS = "training.json"  # in the trained model's folder: how it was trained
STARTS = (
    *("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInstructPix2PixPipeline"),
    *("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInstructPix2PixPipeline"),
)


@dataclass(frozen=True)
class LossConfig:
    """The parts of the loss. Defaults are the paper's.

    drop: share of samples that lose the text, the image, or both (paper: 5% each).
    edit_weight: extra weight for latents that the edit changes (0: the plain L2 of the paper).
    last_timestep: extra share of samples trained at the noisiest timestep (0: uniform), for few-step editors.
    train_text: train the text encoder too (required when training from scratch; the paper keeps it frozen).
    """

    drop: float = 0.05
    edit_weight: float = 0.0
    last_timestep: float = 0.0
    train_text: bool = False


class EditorParts(Protocol):
    """The model to train and what it is conditioned on: a diffusers pipeline, or any object with these; XL's has more."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any


def widen_conv_in(unet: Any, latent_channels: int) -> None:
    """Widen a text-to-image UNet2DConditionModel by `latent_channels` input channels, for the source's latents.

    The new weights start at zero, so that training starts from the original model (section 3.2).
    Raises RethinkError for a U-Net with another number of channels.
    """
    if unet.config.in_channels == 2 * latent_channels:
        return
    if unet.config.in_channels != latent_channels:
        raise RethinkError(
            f"This U-Net takes {unet.config.in_channels} channels; {latent_channels} or twice that is required."
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
    """The U-Net with everything it is conditioned on; `forward(batch)` is the training loss.

    A batch is {"source", "edited": IMAGE [B, H, W, 3], or anything that `render` turns into one; "tokens": int [B, encoders, L]}.
    """

    alphas: Tensor  # [T], the cumulative products of the noise schedule

    def __init__(
        self,
        pipe: EditorParts,
        loss_config: LossConfig,
        render: Callable[[Tensor], Tensor] | None = None,
        reuse: int = 1,
    ):
        super().__init__()
        self.unet: Any = pipe.unet
        self.vae: Any = pipe.vae
        self.text = TextConditions(pipe, loss_config.train_text)
        self.scheduler, self.loss_config, self.render = pipe.scheduler, loss_config, render
        self.replay = LatentReplayBuffer(reuse) if reuse > 1 else None
        self.vae.requires_grad_(False)
        self.register_buffer("alphas", pipe.scheduler.alphas_cumprod.float(), persistent=False)

    def forward(self, batch: dict) -> Tensor:
        source, edited, tokens = self.encode_batch(batch)
        time = self.sample_timesteps(len(edited))
        lost_text, lost_image = self.draw_lost(len(edited))
        weight = 1 + self.loss_config.edit_weight * changed_latents(source, edited)
        noise = torch.randn_like(edited)
        image = source * ~lost_image[:, None, None, None]
        return (self.squared_error(image, edited, tokens, time, noise, lost_text) * weight).mean()

    @torch.no_grad()
    def held_out_loss(self, source: Tensor, edited: Tensor, tokens: Tensor, generator: torch.Generator) -> float:
        """The plain L2 for unscaled latents with nothing dropped, at fixed timesteps, with noise from a CPU generator."""
        errors = []
        for share in QUANTILES:
            time = torch.full((len(edited),), round(share * (len(self.alphas) - 1)), device=edited.device)
            noise = torch.randn(edited.shape, generator=generator).to(edited)
            errors.append(self.squared_error(source, edited, tokens, time, noise).mean())
        return torch.stack(errors).mean().item()

    def squared_error(
        self,
        source: Tensor,
        edited: Tensor,
        tokens: Tensor,
        time: Tensor,
        noise: Tensor,
        lost_text: Tensor | None = None,
    ) -> Tensor:
        """The squared error of the U-Net's predictions [B, C, h, w] for noisy latents of the edited images. source, edited: latents,
        unscaled."""
        clean = edited * self.vae.config.scaling_factor
        alpha = self.alphas[time][:, None, None, None]
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        conditions = self.text(tokens, edited, lost_text)
        out = self.unet(torch.cat([noisy, source], 1), time, **conditions).sample
        kind = self.scheduler.config.prediction_type
        return (out.float() - diffusion_target(kind, clean, noise, alpha)).square()

    @torch.no_grad()
    def encode_batch(self, batch: dict) -> tuple[Tensor, ...]:
        """(source latents, edited latents, tokens), from the replay buffer if there is one."""
        fresh = self.encode(batch["source"]), self.encode(batch["edited"]), batch["tokens"]
        return self.replay.exchange(fresh) if self.replay else fresh

    def encode(self, images: Tensor) -> Tensor:
        """The mode of the latents, unscaled, as the image condition needs them."""
        image = self.render(images) if self.render else images
        image = image.permute(0, 3, 1, 2) * 2 - 1
        encoded = self.vae.encode(image.to(self.vae.dtype))
        return (encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()).float()

    def sample_timesteps(self, count: int) -> Tensor:
        """Timesteps, int [count], uniform except for the share of `last_timestep`."""
        device, last = self.alphas.device, len(self.alphas) - 1
        time = torch.randint(0, last + 1, (count,), device=device)
        return torch.where(torch.rand(count, device=device) < self.loss_config.last_timestep, last, time)

    def draw_lost(self, count: int) -> tuple[Tensor, Tensor]:
        """(which rows lose their text, which their image), bool [count], for classifier-free guidance over two conditions. There is
        one draw per row, so that text, image and both are dropped equally often (section 3.2.1)."""
        draw, drop = torch.rand(count, device=self.alphas.device), self.loss_config.drop
        return draw < 2 * drop, (draw >= drop) & (draw < 3 * drop)


class LatentReplayBuffer:
    """Encoded pairs that are each trained on `reuse` times, in different batches and with fresh noise: for small U-Nets, where
    encoding a pair takes longer than a step."""

    def __init__(self, reuse: int, size: int = 16_384):
        self.reuse, self.size, self.seen = reuse, size, 0
        self.latents: list[torch.Tensor] = []

    def exchange(self, fresh: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Store tensors [B, …] in place of the oldest, and return [B * reuse, …] drawn from all."""
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
    """Which latents differ, relative to the standard deviation of the source's latents: [B, 1, h, w] of 0 and 1."""
    difference = (source - edited).abs().mean(1, keepdim=True)
    return (difference > 0.1 * source.std((1, 2, 3), keepdim=True)).float()


def train(
    pipe: EditorParts,
    dataset: torch.utils.data.Dataset,
    loss_config: LossConfig,
    config: TrainConfig,
    out: Path,
    *,
    render: Callable[[Tensor], Tensor] | None = None,
    reuse: int = 1,
    report: Callable[[str], None] = print,
    watch: Callable[[InstructPix2PixLoss], TrainWatch] | None = None,
) -> None:  # more than eight: what is trained, on what, how, and who is told
    """Train `pipe` on a dataset of pairs and save a diffusers InstructPix2Pix pipeline in `out`.

    render: turns the dataset's samples into IMAGE. reuse: uses of each encoded pair (a step sees batch × reuse). watch: makes the
    TrainWatch, which looks at every save and has the last word on the weights.
    Raises RethinkError if the loss explodes; weights that `watch` rescues are saved.
    """
    widen_conv_in(pipe.unet, pipe.vae.config.latent_channels)
    model = InstructPix2PixLoss(pipe, loss_config, render, reuse)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / SETTINGS, {"objective": asdict(loss_config), "plan": asdict(config)})
    collate = PairCollator(tokenizers_of(pipe))
    onlooker = watch(model) if watch else None
    try:
        train_loop(model, dataset, config, out, collate=collate, report=report, watch=onlooker)
    except Diverged as error:
        if not (onlooker and is_main_process() and onlooker.rescue(str(error))):
            raise
        save(pipe, out)
        raise RethinkError(f"{error} The best weights so far are kept: {out}.") from None
    if is_main_process():
        save(pipe, out)


def is_main_process() -> bool:
    return lazy_import("accelerate").PartialState().is_main_process


def as_editor(pipe: Any) -> Any:
    """The parts as a diffusers InstructPix2Pix pipeline that shares their weights."""
    diffusers = lazy_import("diffusers")
    names = ["vae", "unet", "text_encoder", "tokenizer", "scheduler"]
    if getattr(pipe, "text_encoder_2", None) is None:
        parts = {name: getattr(pipe, name) for name in names}
        return diffusers.StableDiffusionInstructPix2PixPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    parts = {name: getattr(pipe, name) for name in [*names, "text_encoder_2", "tokenizer_2"]}
    zeros = pipe.config.force_zeros_for_empty_prompt
    return diffusers.StableDiffusionXLInstructPix2PixPipeline(
        **parts, force_zeros_for_empty_prompt=zeros, add_watermarker=False
    )


def save(pipe: Any, out: Path) -> None:
    """Save an editor's folder. Raises RethinkError if files of the one to be replaced are in use."""
    with in_use_as_error(out):
        as_editor(pipe).save_pretrained(out, safe_serialization=True)
        for encoder in sorted(out.glob("text_encoder*")):
            add_old_prefix(encoder / "model.safetensors")


def add_old_prefix(file: Path) -> None:
    """Give a text encoder's weights the names that transformers 4 looks for; transformers 5 drops their prefix when it saves, and
    reads both."""
    from safetensors.torch import load, save_file

    weights, prefix = load(file.read_bytes()), "text_model."  # not memory-mapped: Windows cannot overwrite mapped files
    if not any(name.startswith(prefix) for name in weights):
        save_file({prefix + name: value for name, value in weights.items()}, file, metadata={"format": "pt"})


def open_model(folder: Path) -> Any:
    """The pipeline to start from, in full precision. Raises RethinkError for a damaged folder, or one of another kind."""
    folder = snapshot_of(folder)
    index = read_index("model", folder)
    name = index.get("_class_name")
    if name not in STARTS:
        raise RethinkError(f"model: {folder} is a {name}; training starts from one of {', '.join(STARTS)}.")
    pipe = open_pipeline("model", folder, index, getattr(lazy_import("diffusers"), name), torch.float32)
    if not hasattr(pipe.scheduler, "alphas_cumprod"):
        raise RethinkError(
            f"model: {folder} has the scheduler {type(pipe.scheduler).__name__}, whose noise the trainer cannot reproduce; "
            "start from one with a beta schedule (DDIM, DDPM, Euler)."
        )
    return pipe
