"""The sampling loop as pure functions: guided prediction, denoising, preview."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from .families import Pass
from .samplers import Schedule

# (model input [rows, c, h, w], timestep) → the model's guided output [rows, c, h, w]
Predict = Callable[[Tensor, Tensor], Tensor]


def make_cfg_predictor(unet: Any, passes: Sequence[Pass], text: Tensor, null: Tensor, source: Tensor | None) -> Predict:
    """The weighted sum of the passes, all run as one batch. A pass of weight 0 in every row is skipped.

    unet: a diffusers UNet2DConditionModel. text, null: embeddings of the instructions and of empty ones, each [rows, tokens, width].
    source: latents [rows, c, h, w] for the model's extra input channels, zero if a pass does not see the image.
    """
    passes = [p for p in passes if p.weight.any()]
    dtype = unet.dtype
    embeddings = torch.cat([text if p.sees_text else null for p in passes]).to(dtype)
    weights = [p.weight.to(text.device).view(-1, 1, 1, 1) for p in passes]
    extra_channels = None
    if source is not None:
        extra_channels = torch.cat([source if p.sees_image else torch.zeros_like(source) for p in passes]).to(dtype)

    def predict(model_input: Tensor, timestep: Tensor) -> Tensor:
        batch = model_input.to(dtype).repeat(len(passes), 1, 1, 1)
        if extra_channels is not None:
            batch = torch.cat([batch, extra_channels], dim=1)
        outputs = unet(batch, timestep, encoder_hidden_states=embeddings, return_dict=False)[0]
        return cast(Tensor, sum(weight * output for weight, output in zip(weights, outputs.float().chunk(len(passes)))))

    return predict


def denoise(
    predict: Predict,
    schedule: Schedule,
    latents: Tensor,
    first: int,
    generators: list[torch.Generator],
    *,
    constrain: Callable[[Tensor, int], Tensor] = lambda latents, index: latents,
    after_step: Callable[[int, int, Callable[[], Tensor]], None] = lambda step, total, clean: None,
) -> Tensor:
    """Noisy latents [rows, c, h, w] at the timestep `first` → clean latents, always in float32.

    constrain: (latents, index of their timestep) → latents, applied after every step.
    after_step: (step 1…total, total, lazy estimate of the clean latents), called after every step.
    """
    total = len(schedule.timesteps) - first
    for index in range(first, first + total):
        model_input = schedule.model_input(latents, index)
        output = predict(model_input, schedule.timesteps[index])
        latents = constrain(schedule.step(output, model_input, latents, index, generators), index + 1)
        after_step(index + 1 - first, total, lambda o=output, x=model_input, i=index: schedule.predict_x0(o, x, i))
    return latents


def latents_to_rgb(latents: Tensor, images: Tensor) -> Callable[[Tensor], Tensor]:
    """The linear map from latents to colors that best fits one pair of them (ridge regression), as a function.

    latents [B, c, h, w] are those of images [B, H, W, 3]. The map takes [rows, c, h, w] to an IMAGE [rows, h, w, 3]
    of the latents' size: a preview that costs almost nothing and needs no constants for any model.
    """
    colors = F.interpolate(images.movedim(-1, 1), size=latents.shape[-2:], mode="area").movedim(1, -1).reshape(-1, 3)
    known = _with_ones(latents.float().cpu()).flatten(0, 2)
    gram = known.T @ known
    ridge = 1e-3 * gram.diagonal().mean() * torch.eye(len(gram))
    weights = torch.linalg.solve(gram + ridge, known.T @ colors.float().cpu())
    return lambda latents: (_with_ones(latents.float().cpu()) @ weights).clamp(0, 1)


def _with_ones(latents: Tensor) -> Tensor:
    return F.pad(latents.movedim(1, -1), (0, 1), value=1.0)
