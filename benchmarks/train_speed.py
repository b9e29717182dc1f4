"""Compare training on cached latents with a loop that encodes images and text at every step."""

import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rethink.builtin import EDITOR_FOLDER
from rethink.editors.loading import load_editor
from rethink.images import load_image
from rethink.pairs.store import PairStore
from rethink.progress import ignore_progress
from rethink.training.edit_lora import LoraTraining
from rethink.training.edit_lora_job import adapt
from rethink.training.edit_model import open_edit_model
from rethink.training.lora_pairs import read_pairs
from rethink.training.lora_settings import LoraSettings
from rethink.training.trainable_lora import ALL_LAYERS, target_layers
from rethink.training.trainable_parts import trainable_parts

WARM_UP = 3  # steps not counted
DROP = 0.05  # share of samples without the text, the image, or both


def compare_speed(pairs: PairStore, settings: LoraSettings, folder: Path, steps: int) -> dict[str, float]:
    """Samples per second and peak memory of both, each in its own process, in float32 with the same layers and batch.

    Ours runs twice: the second run finds the latents of the first, as every later training on the same pairs does.
    """
    figures = {}
    for name, loop in (("plain", run_plain_loop), ("ours", run_our_loop), ("ours", run_our_loop)):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            figures[name] = pool.apply(_measure, (loop, pairs.folder, settings, folder, steps))
    return {
        "samples_per_second": figures["ours"][0],
        "samples_per_second_plain": figures["plain"][0],
        "samples_per_second_ratio": figures["ours"][0] / figures["plain"][0],
        "peak_memory_mib": figures["ours"][1],
        "peak_memory_mib_plain": figures["plain"][1],
    }


Step = Callable[[int], None]


def _measure(loop: Callable, pairs: Path, settings: LoraSettings, folder: Path, steps: int) -> tuple[float, float]:
    """(samples per second of this process's CPU time, peak memory in MiB)."""
    torch.set_num_threads(1)
    seconds = loop(PairStore.open_existing(pairs), settings, folder, steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return settings.batch * steps / seconds, peak


def _time_steps(step: Step, steps: int) -> float:
    """CPU seconds of this process, which other work on the machine does not stretch."""
    for number in range(WARM_UP):
        step(number)
    started = time.process_time()
    for number in range(WARM_UP, WARM_UP + steps):
        step(number)
    return time.process_time() - started


def run_our_loop(pairs: PairStore, settings: LoraSettings, folder: Path, steps: int) -> float:
    """The trainer's own steps, after stage one."""
    model = open_edit_model(load_editor(EDITOR_FOLDER))
    settings = adapt(settings, model)
    with trainable_parts(model.editor.module):
        training = LoraTraining(settings, folder / "x.safetensors", folder, model, read_pairs(pairs), ignore_progress)
        training.run_folder.folder.mkdir(parents=True, exist_ok=True)
        training.encode_all()
        with model.denoiser_alone(), model.computing(settings.batch), training.lora.attached():
            return _time_steps(lambda number: training.step(number), steps)


def run_plain_loop(pairs: PairStore, settings: LoraSettings, folder: Path, steps: int) -> float:
    """What diffusers' example scripts for InstructPix2Pix and for LoRAs do, combined: a LoRA by peft on the U-Net; images are
    read and encoded at every step, and so is the instruction; conditions are dropped at random."""
    import diffusers
    from peft import LoraConfig

    pipeline = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(
        EDITOR_FOLDER, torch_dtype=torch.float32
    )
    vae, unet, texts = pipeline.vae, pipeline.unet, pipeline.text_encoder
    names = list(target_layers(unet, ALL_LAYERS, settings.rank))
    for part in (vae, unet, texts):
        part.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=settings.rank, lora_alpha=settings.rank, target_modules=names))
    weights = [weight for weight in unet.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, settings.learning_rate)
    batches = iter(_read_batches(pairs, pipeline.tokenizer, settings.batch))

    def encode(images: torch.Tensor) -> torch.Tensor:
        return vae.encode(images.permute(0, 3, 1, 2) * 2 - 1).latents

    def step(_: int) -> None:
        inputs, targets, tokens = next(batches)
        with torch.no_grad():
            clean, source = encode(targets) * vae.config.scaling_factor, encode(inputs)
            text, null = texts(tokens)[0], texts(_tokens(pipeline.tokenizer, [""]))[0]
        noise = torch.randn_like(clean)
        times = torch.randint(0, pipeline.scheduler.config.num_train_timesteps, (len(clean),))
        noisy = pipeline.scheduler.add_noise(clean, noise, times)
        draw = torch.rand(len(clean))
        text = torch.where((draw < 2 * DROP)[:, None, None], null, text)
        source = source * ((draw < DROP) | (draw >= 3 * DROP))[:, None, None, None]
        answer = unet(torch.cat([noisy, source], 1), times, text, return_dict=False)[0]
        torch.nn.functional.mse_loss(answer.float(), clean.float()).backward()  # this model predicts the clean latents
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return _time_steps(step, steps)


class _Pairs(torch.utils.data.Dataset):
    """The pairs as tensors, read again every time."""

    def __init__(self, pairs: PairStore, tokenizer: Any):
        self.pairs, self.tokenizer = read_pairs(pairs), tokenizer

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        pair = self.pairs[index]
        input, target = (load_image(path)[0] for path in (pair.input, pair.target))
        return input, target, _tokens(self.tokenizer, [pair.instruction])[0]


def _read_batches(pairs: PairStore, tokenizer: Any, batch: int):
    loader = torch.utils.data.DataLoader(_Pairs(pairs, tokenizer), batch_size=batch, shuffle=True, drop_last=True)
    while True:
        yield from loader


def _tokens(tokenizer: Any, texts: list[str]) -> torch.Tensor:
    length = tokenizer.model_max_length
    return tokenizer(texts, max_length=length, padding="max_length", truncation=True, return_tensors="pt").input_ids
