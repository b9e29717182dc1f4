"""Pairs of images from pairs of captions, with Prompt-to-Prompt (Hertz et al. 2022, arXiv 2208.01626) in both forms:
shared self-attention, which InstructPix2Pix actually used (arXiv 2211.09800, section 3.1.2), and the paper's
cross-attention replacement, refinement and re-weighting.

Everything about a candidate follows from its 32-bit seed: its noise, then the fraction of steps in which the two images
share attention, then its guidance.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ...editors.samplers import SAMPLERS, Schedule
from ...errors import RethinkError
from ...options import check_limits, option

METHODS = ("self", "replace", "refine")


@dataclass(frozen=True)
class P2PConfig:
    """How candidates are sampled. The defaults are InstructPix2Pix's.

    method: what the second image takes from the first: "self" (self-attention), "replace" (cross-attention, where a
        replaced word attends where the old one did), "refine" (cross-attention, where new words attend freely).
    threshold: range of p; attention is shared until the fraction p of the steps is done. guidance: its range.
    weights: (word of the edited caption, factor of its attention) for re-weighting; empty: none.
    """

    method: str = option(
        "self",
        "What the second image takes from the first. self: self-attention, as in InstructPix2Pix. replace: "
        "cross-attention, for replaced words. refine: cross-attention, for added words.",
        choices=METHODS,
    )
    steps: int = option(100, "Denoising steps.", low=1, high=1000)
    sampler: str = option(
        "euler_ancestral",
        "The sampler. The paper uses euler_ancestral.",
        choices=tuple(SAMPLERS),
        advanced=True,
    )
    threshold: tuple[float, float] = option(
        (0.1, 0.9),
        "Fraction of the steps in which attention is shared. Drawn for every candidate.",
        low=0,
        high=1,
        step=0.05,
        advanced=True,
    )
    guidance: tuple[float, float] = option(
        (7.5, 15.0),
        "Guidance scale: how closely to follow the captions. Drawn for every candidate.",
        low=0,
        high=100,
        step=0.05,
        advanced=True,
    )
    weights: tuple[tuple[str, float], ...] = ()

    def __post_init__(self):
        check_limits(self)


def read_weights(text: str) -> tuple[tuple[str, float], ...]:
    """ "snowy: 1.5, street: 0.8" as (word, factor) pairs. Raises RethinkError for anything else."""
    weights = []
    for part in filter(str.strip, text.split(",")):
        word, _, factor = part.rpartition(":")
        try:
            weights.append((word.strip(), float(factor)))
        except ValueError:
            word = ""
        if not word.strip():
            raise RethinkError(f"weights: expected word: factor, separated by commas, got “{part.strip()}”.")
    return tuple(weights)


@dataclass(frozen=True, eq=False)
class Candidates:
    """N candidates for one pair of captions. before, after: IMAGE [N, H, W, 3]; the others: one value per candidate."""

    seeds: tuple[int, ...]
    thresholds: tuple[float, ...]
    guidances: tuple[float, ...]
    before: Tensor
    after: Tensor


@torch.inference_mode()
def generate(
    pipeline: Any,
    caption: str,
    edited_caption: str,
    seeds: Sequence[int],
    config: P2PConfig = P2PConfig(),
    on_step: Callable[[int, int], None] = lambda step, total: None,
) -> Candidates:
    """Draw one pair of images per seed, all as one batch.

    pipeline: a StableDiffusionPipeline or StableDiffusionXLPipeline, used for its modules and left as it was.
    on_step: called with (step 1…total, total); an exception from it ends the run.
    A pair does not depend on the other seeds of the batch. Raises RethinkError for captions that are equal.
    """
    with _sampling(pipeline, caption, edited_caption, seeds, config) as (predict, schedule, noise, draws):
        latents, first = schedule.init_latents(noise)
        total = len(schedule.timesteps)
        generators = [draw.generators[side] for side in (0, 1) for draw in draws]
        for index in range(first, total):
            model_input = schedule.model_input(latents, index)
            latents = schedule.step(predict(model_input, index), model_input, latents, index, generators)
            on_step(index + 1, total)
        return _candidates(pipeline.vae, draws, latents)


@torch.inference_mode()
def preview_sample(
    pipeline: Any,
    caption: str,
    edited_caption: str,
    seeds: Sequence[int],
    steps: int,
    config: P2PConfig = P2PConfig(),
    on_step: Callable[[int, int], None] = lambda step, total: None,
) -> Candidates:
    """A rough preview of what `generate` will draw, in `steps` steps instead of the config's.

    Every step skips several of the config's, from noise σ and signal α to σ' and α' (Denoising Diffusion Implicit Models,
    arXiv 2010.02502, equation 12). Stochastic solvers get the fresh noise of the skipped steps: as long as the predicted
    image stays the same, it is one Brownian motion in the time α²/σ², so its weighted sum follows the same path. Without
    it the preview would show another image.
    """
    with _sampling(pipeline, caption, edited_caption, seeds, config) as (predict, schedule, noise, draws):
        total = len(schedule.timesteps)
        stops = sorted({round(i * total / steps) for i in range(min(steps, total))})
        latents = noise
        for done, index in enumerate(stops, 1):
            signal, sigma = schedule.alpha_sigma(index)
            clean = schedule.predict_x0(predict(latents, index), latents, index)
            on_step(done, len(stops))
            if done < len(stops):
                next_index = stops[done]
                next_signal, next_sigma = schedule.alpha_sigma(next_index)
                direction = (latents - signal * clean) / sigma
                if schedule.stochastic:
                    retained = next_sigma * signal / (next_signal * sigma)
                    fresh = _added_noise(schedule, draws, index, next_index).to(latents)
                    direction = retained * direction + (1 - retained**2) ** 0.5 * fresh
                latents = next_signal * clean + next_sigma * direction
        return _candidates(pipeline.vae, draws, clean)


def _added_noise(schedule: Schedule, draws: list[_Draw], index: int, next_index: int) -> Tensor:
    """The fresh noise of the steps index…next_index for [first, second] × pairs, combined to unit variance."""
    times = [(signal / sigma) ** 2 for signal, sigma in map(schedule.alpha_sigma, range(index, next_index + 1))]
    weights = [((after - before) / (times[-1] - times[0])) ** 0.5 for before, after in itertools.pairwise(times)]

    def fresh(draw: _Draw) -> Tensor:
        return cast(Tensor, sum(w * torch.randn(draw.noise.shape, generator=draw.generators[0]) for w in weights))

    return torch.cat([fresh(draw) for draw in draws]).repeat(2, 1, 1, 1)


@contextmanager
def _sampling(
    pipeline: Any, caption: str, edited_caption: str, seeds: Sequence[int], config: P2PConfig
) -> Iterator[tuple]:
    """(predict(model input, index) → the guided model output, schedule, noise [2 · seeds, …], draws)."""
    if caption.strip() == edited_caption.strip():
        raise RethinkError("edited_caption: equals the caption; it must describe the edited image.")
    unet, device = pipeline.unet, pipeline._execution_device  # the weights of an offloaded model are on another one
    side = unet.config.sample_size
    draws = [_draw(seed, (1, unet.config.in_channels, side, side), config) for seed in seeds]
    schedule = Schedule(config.sampler, pipeline.scheduler, config.steps)
    conditions = _conditions(pipeline, [caption, edited_caption])
    sharing = _sharing(pipeline.tokenizer, caption, edited_caption, config, device)

    def predict(model_input: Tensor, index: int) -> Tensor:
        done = index / len(schedule.timesteps)
        sharing.rows = torch.tensor([done < draw.threshold for draw in draws], device=device)
        return _guided(unet, model_input, schedule.timesteps[index], conditions, draws)

    try:
        with _shared_attention(unet, sharing):
            yield predict, schedule, torch.cat([draw.noise for draw in draws]).repeat(2, 1, 1, 1).to(device), draws
    finally:
        pipeline.maybe_free_model_hooks()  # an offloaded model releases its memory after a Cancel too


@dataclass(frozen=True, eq=False)
class _Draw:
    seed: int
    noise: Tensor
    threshold: float
    guidance: float
    generators: tuple[torch.Generator, torch.Generator]  # for ancestral steps; both images get the same noise


def _draw(seed: int, shape: tuple[int, ...], config: P2PConfig) -> _Draw:
    generator, other = torch.Generator().manual_seed(seed % 2**32), torch.Generator()
    noise = torch.randn(shape, generator=generator)
    (low, high), (weak, strong) = config.threshold, config.guidance
    p, scale = torch.rand(2, generator=generator).tolist()
    other.set_state(generator.get_state())
    return _Draw(seed, noise, low + p * (high - low), weak + scale * (strong - weak), (generator, other))


def _guided(unet: Any, model_input: Tensor, timestep: Tensor, conditions: dict, draws: list[_Draw]) -> Tensor:
    """The model output for [first, second] × pairs, with every pair's own classifier-free guidance."""
    rows = {name: value.repeat_interleave(len(draws), 0) for name, value in conditions.items()}
    text = rows.pop("text")
    output = unet(
        model_input.repeat(2, 1, 1, 1).to(unet.dtype),
        timestep,
        encoder_hidden_states=text,
        added_cond_kwargs=rows,
        return_dict=False,
    )[0]
    uncond, cond = output.float().chunk(2)
    scale = torch.tensor([draw.guidance for draw in draws], device=uncond.device).repeat(2)
    return uncond + scale[:, None, None, None] * (cond - uncond)


def _conditions(pipeline: Any, captions: list[str]) -> dict[str, Tensor]:
    """Text embeddings, for SDXL also its added conditions, four rows each: [uncond, cond] × [first, second]."""
    encoded = pipeline.encode_prompt(
        captions, device=pipeline._execution_device, num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    cond, uncond, *pooled = encoded
    text = torch.cat([uncond, cond]).to(pipeline.unet.dtype)
    if not pooled:
        return {"text": text}
    size = pipeline.unet.config.sample_size * 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
    sizes = torch.tensor([[size, size, 0, 0, size, size]], dtype=text.dtype, device=text.device)
    return {
        "text": text,
        "text_embeds": torch.cat([pooled[1], pooled[0]]).to(text.dtype),
        "time_ids": sizes.repeat(4, 1),
    }


def _candidates(vae: Any, draws: list[_Draw], latents: Tensor) -> Candidates:
    before, after = _decode(vae, latents).chunk(2)
    return Candidates(
        tuple(draw.seed for draw in draws),
        tuple(draw.threshold for draw in draws),
        tuple(draw.guidance for draw in draws),
        before,
        after,
    )


def _decode(vae: Any, latents: Tensor) -> Tensor:
    """IMAGE [rows, H, W, 3], decoded one row at a time: the VAE's activations determine the peak memory."""
    overflows = vae.config.get("force_upcast") and vae.dtype == torch.float16  # Stable Diffusion XL's does
    if overflows:
        vae.float()
    rows = (latents / vae.config.scaling_factor + (vae.config.get("shift_factor") or 0)).to(vae.dtype)
    images = [vae.decode(row, return_dict=False)[0].float().cpu() for row in rows.split(1)]
    if overflows:
        vae.half()
    return (torch.cat(images) / 2 + 0.5).clamp(0, 1).movedim(1, -1)


# --- attention -------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Sharing:
    """An attention processor through which the second images take attention from the first ones.

    rows: bool [pairs], which pairs share at this step. cross: None, or (mapping [T, T], replaced [T]): token j of the
    edited caption attends like Σᵢ mapping[i, j] · (token i of the caption), to the degree replaced[j]. weights: [T].
    """

    self_attention: bool
    cross: tuple[Tensor, Tensor] | None
    weights: Tensor | None
    rows: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None, **_):
        crossing = encoder_hidden_states is not None
        context = encoder_hidden_states if crossing else hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        if not crossing and self.self_attention:
            query, key = self._from_first(query), self._from_first(key)
        query, key, value = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (query, key, value))
        if crossing and (self.cross or self.weights is not None):
            maps = self._edited((query @ key.transpose(-1, -2) * attn.scale).float().softmax(-1))
            mixed = maps.to(value.dtype) @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, scale=attn.scale)
        return attn.to_out[1](attn.to_out[0](mixed.transpose(1, 2).flatten(2)))

    def _from_first(self, x: Tensor) -> Tensor:
        """Queries or keys of the second images replaced by those of the first, and with them the attention logits."""
        parts = x.unflatten(0, (2, 2, -1))
        first, second = parts.unbind(1)
        rows = self.rows.view(1, -1, *[1] * (x.ndim - 1))
        return torch.stack([first, torch.where(rows, first, second)], 1).flatten(0, 2)

    def _edited(self, maps: Tensor) -> Tensor:
        """Cross-attention maps [2 · 2 · pairs, heads, pixels, T], changed for the second images' conditional rows."""
        maps = maps.unflatten(0, (2, 2, -1)).clone()
        first, second = maps[1, 0], maps[1, 1]
        if self.cross:
            mapping, replaced = self.cross
            replaced = replaced * self.rows[:, None, None, None]
            second = replaced * (first @ mapping) + (1 - replaced) * second
        if self.weights is not None:
            second = second * self.weights
        maps[1, 1] = second
        return maps.flatten(0, 2)


@contextmanager
def _shared_attention(unet: Any, sharing: _Sharing) -> Iterator[None]:
    original = unet.attn_processors
    unet.set_attn_processor(sharing)
    try:
        yield
    finally:
        unet.set_attn_processor(original)


def _sharing(tokenizer: Any, caption: str, edited_caption: str, config: P2PConfig, device: torch.device) -> _Sharing:
    tokens, edited_tokens = _tokens(tokenizer, caption), _tokens(tokenizer, edited_caption)
    cross = None
    if config.method != "self":
        mapping, replaced = align(tokens, edited_tokens, tokenizer.eos_token_id, config.method)
        cross = mapping.to(device), replaced.to(device)
    weights = _weights(tokenizer, edited_tokens, config.weights)
    return _Sharing(config.method == "self", cross, weights if weights is None else weights.to(device))


def _tokens(tokenizer: Any, text: str) -> list[int]:
    length = tokenizer.model_max_length
    return tokenizer(text, padding="max_length", truncation=True, max_length=length).input_ids


def align(source: list[int], target: list[int], end: int, method: str) -> tuple[Tensor, Tensor]:
    """How the tokens of an edited caption correspond to those of the caption: (mapping [T, T], replaced [T]).

    Equal tokens in the same order correspond to each other, as do the end tokens and the padding. Where words were
    exchanged, "replace" distributes the old ones' attention among the new ones; "refine" leaves new words their own
    attention, as both methods do with added words (Prompt-to-Prompt, section 3.2).
    """
    length = len(source)
    mapping, replaced = torch.zeros(length, length), torch.zeros(length)
    i, j = source.index(end), target.index(end)
    for kind, a, b, c, d in SequenceMatcher(None, source[:i], target[:j], autojunk=False).get_opcodes():
        if kind == "equal":
            mapping[range(a, b), range(c, d)] = 1
        elif kind == "replace" and method == "replace":
            mapping[a:b, c:d] = 1 / (d - c)  # the total attention stays the same
        if kind == "equal" or (kind == "replace" and method == "replace"):
            replaced[c:d] = 1
    rest = length - max(i, j)
    mapping[range(i, i + rest), range(j, j + rest)] = 1
    replaced[j : j + rest] = 1
    return mapping, replaced


def _weights(tokenizer: Any, tokens: list[int], factors: tuple[tuple[str, float], ...]) -> Tensor | None:
    if not factors:
        return None
    weights = torch.ones(len(tokens))
    for word, factor in factors:
        word_tokens = tokenizer(word, add_special_tokens=False).input_ids
        found = [k for k in range(len(tokens)) if word_tokens and tokens[k : k + len(word_tokens)] == word_tokens]
        if not found:
            raise RethinkError(f"weights: “{word}” does not occur in the edited caption.")
        for k in found:
            weights[k : k + len(word_tokens)] = factor
    return weights
