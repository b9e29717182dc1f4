"""Rebuilds every built-in model from scratch: `python -m rethink.tiny.build_models`.

README.md says how to do this on a CPU, and how long it takes; `--scale` makes a weaker, faster build. Interrupted
builds resume.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import torch

from ..builtin import CLIP_FOLDER, EDITOR_FOLDER, THINKER_FOLDER
from ..editors.loading import load_editor
from ..errors import lazy_import
from ..thinkers.backends.local_folder import load_thinker
from ..training import instruct_pix2pix, pair_dataset
from ..training.train_loop import TrainConfig, main_process_first, train_loop, write_json
from . import build_thinker, train_autoencoder, train_clip, train_thinker
from .architectures import (
    CLIP_TOKENS,
    TEXT_TOKENS,
    make_clip,
    make_scheduler,
    make_text_encoder,
    make_tokenizer,
    make_unet,
    make_vae,
)
from .scene import (
    SIZE,
    encode,
    render,
    render_arrays,
    sample_scene,
    split_cells,
)
from .tasks import sample_task
from .thinker_lessons import STAGES
from .unlearned_words import add_words

REUSE = 8  # uses of each encoded pair: drawing and encoding two images takes longer than the U-Net
WORDY = 8  # a conversation takes as much memory as this many images
CLIP_MEAN = CLIP_STD = [0.5, 0.5, 0.5]
DEFAULTS = {"steps": 4, "text_guidance": 1.0, "image_guidance": 1.0}  # measured: see README.md


class Edits(torch.utils.data.IterableDataset):
    """Endless training tasks, drawn on the fly, as encoded scenes; every worker and process draws different ones.

    unambiguous: leave out tasks that accept several answers.
    """

    def __init__(self, seed: int, unambiguous: bool = False):
        self.seed, self.unambiguous = seed, unambiguous

    def random(self) -> Random:
        """A generator seeded by the clock too, so that a resumed build does not see the same tasks again."""
        worker = torch.utils.data.get_worker_info()
        return Random(f"{self.seed}-{time.time_ns()}-{worker.id if worker else os.getpid()}")

    def __iter__(self):
        rng = self.random()
        while True:
            task = sample_task(rng.getrandbits(60), split="train")
            if self.unambiguous and len(task.accepted) > 1:
                continue
            source, edited = (torch.from_numpy(encode(scene)) for scene in (task.source, task.target))
            captions = task.source.caption, task.target.caption
            yield {"source": source, "edited": edited, "instruction": task.instruction, "captions": captions}


class SceneImages(Edits):
    """Images {"image": [128, 128, 3]} for the autoencoder, often full of things, sometimes with a black square."""

    def __iter__(self):
        rng = self.random()
        while True:
            scene = sample_scene(rng, count=rng.choice((1, 2, 3, 4, 4)))
            thing = rng.choice(scene.things)
            if rng.random() < 0.5:
                scene = scene.with_thing(thing.cell, replace(thing, covered=True))
            yield {"image": render([scene])[0]}


class Cells(SceneImages):
    """The same, cut into cells {"image": [64, 64, 3]}, which teach shapes faster; their borders lack the neighbors."""

    def __iter__(self):
        for image in super().__iter__():
            for cell in split_cells(image["image"][None])[0]:
                yield {"image": cell}


def build_autoencoder(work: Path, plan: TrainConfig, device: str, report):
    done = work / "autoencoder" / "model"
    if not done.exists():
        vae = make_vae().to(device)
        train_autoencoder.train(vae, Cells(1), plan, work / "autoencoder" / "cells", report=report)
        whole = replace(plan, batch=max(1, plan.batch // 4), learning_rate=plan.learning_rate / 2)
        train_autoencoder.train(vae, SceneImages(1), whole, work / "autoencoder" / "pictures", report=report)
        with main_process_first() as first:
            if first:
                vae.save_pretrained(done)
    return lazy_import("diffusers").AutoencoderTiny.from_pretrained(done).to(device)


def build_editor(work: Path, vae, plan: TrainConfig, device: str, report) -> None:
    tokenizer = make_tokenizer(work / "tokenizer", TEXT_TOKENS)
    parts: Any = SimpleNamespace(
        vae=vae,
        unet=make_unet().to(device),
        text_encoder=make_text_encoder(tokenizer).to(device),
        tokenizer=tokenizer,
        scheduler=make_scheduler(),
    )
    loss_config = instruct_pix2pix.LossConfig(edit_weight=4, last_timestep=0.5, train_text=True)
    plan = replace(plan, batch=max(1, plan.batch // REUSE))
    instruct_pix2pix.train(
        parts, Edits(2), loss_config, plan, work / "editor", render=render_arrays, reuse=REUSE, report=report
    )


class DecoderFinetuneLoss(instruct_pix2pix.InstructPix2PixLoss):
    """`forward(batch)` trains only the decoder, on latents that the U-Net predicts, so that it draws the editor's
    results crisply. Half of the latents remain true ones."""

    def __init__(self, pipe):
        super().__init__(pipe, instruct_pix2pix.LossConfig(), render_arrays)
        self.requires_grad_(False)
        self.vae.decoder.requires_grad_(True)

    def forward(self, batch: dict) -> torch.Tensor:
        with torch.no_grad():
            source, edited, tokens = self.encode_batch(batch)
            clean = edited * self.vae.config.scaling_factor
            answer = self.answer(source, self.text(tokens, source))
            latents = torch.where(torch.rand(len(clean), 1, 1, 1, device=clean.device) < 0.5, answer, clean)
            image = render_arrays(batch["edited"]).permute(0, 3, 1, 2) * 2 - 1
        return train_autoencoder.distance(self.vae.decode(latents / self.vae.config.scaling_factor).sample, image)

    def answer(self, source: torch.Tensor, text: dict[str, Any]) -> torch.Tensor:
        """Two steps: from noise to clean latents, noised again halfway, and denoised again."""
        noisy, last = torch.randn_like(source), len(self.alphas) - 1
        for now, next_step in ((last, last // 2), (last // 2, 0)):
            clean = self.unet(torch.cat([noisy, source], 1), now, **text).sample.float()
            alpha = self.alphas[next_step]
            noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * torch.randn_like(source)
        return clean


def polish_decoder(work: Path, plan: TrainConfig, device: str, report) -> None:
    pipe = lazy_import("diffusers").StableDiffusionInstructPix2PixPipeline.from_pretrained(work / "editor").to(device)
    train_loop(
        DecoderFinetuneLoss(pipe),
        Edits(4, unambiguous=True),
        plan,
        work / "decoder",
        collate=pair_dataset.PairCollator([pipe.tokenizer]),
        report=report,
    )
    with main_process_first() as first:
        if first:
            pipe.vae.save_pretrained(work / "editor" / "vae")


def build_clip(work: Path, plan: TrainConfig, device: str, report) -> None:
    tokenizer = make_tokenizer(work / "clip", CLIP_TOKENS)
    model = make_clip(tokenizer).to(device)
    contrast = train_clip.Contrast(model, render_arrays, CLIP_MEAN, CLIP_STD)
    train_clip.train(contrast, tokenizer, Edits(3), plan, work / "clip", report=report)
    with main_process_first() as first:
        if first:
            model.save_pretrained(work / "clip")


def make_trajectories(work: Path, count: int, minutes: float, device: str, report) -> None:
    """Make the trajectories, a part in every process; they wait for each other, as the thinker learns from all."""
    from accelerate import PartialState

    built, state = work / "editor", PartialState()
    editor = load_editor(built if (built / "model_index.json").exists() else EDITOR_FOLDER, device=device)
    part = state.process_index, state.num_processes
    build_thinker.make_trajectories(editor, work / "trajectories", count, minutes, *part, report)
    state.wait_for_everyone()


def publish(work: Path, out: Path) -> None:
    """Copy the trained models to where they ship, in float16."""
    from transformers import CLIPModel

    editor, clip_folder = out / EDITOR_FOLDER.name, out / CLIP_FOLDER.name
    if (work / "editor" / "model_index.json").exists():
        pipe = lazy_import("diffusers").StableDiffusionInstructPix2PixPipeline.from_pretrained(
            work / "editor", torch_dtype=torch.float16
        )
        add_words(pipe)
        pipe.text_encoder.half()
        shutil.rmtree(editor, ignore_errors=True)
        pipe.save_pretrained(editor)
        instruct_pix2pix.add_old_prefix(editor / "text_encoder" / "model.safetensors")
        strip_local_paths(editor)
        for name in ("vocab.json", "merges.txt"):  # transformers 4 reads these, transformers 5 tokenizer.json
            shutil.copy(work / "tokenizer" / name, editor / "tokenizer" / name)
        write_json(editor / "rethink.json", DEFAULTS)
    trained = train_thinker.find_trained(work)
    if trained:
        thinker = out / THINKER_FOLDER.name
        shutil.rmtree(thinker, ignore_errors=True)
        build_thinker.save(load_thinker(trained, dtype="fp16").module, trained, thinker)
    if (work / "clip" / "config.json").exists():
        shutil.rmtree(clip_folder, ignore_errors=True)
        CLIPModel.from_pretrained(work / "clip", torch_dtype=torch.float16).save_pretrained(clip_folder)
        for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
            shutil.copy(work / "clip" / name, clip_folder / name)
        write_json(
            clip_folder / "preprocessor_config.json",
            {
                "image_processor_type": "CLIPImageProcessor",
                "do_resize": True,
                "size": {"height": SIZE, "width": SIZE},
                "do_center_crop": False,
                "do_convert_rgb": True,
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": CLIP_MEAN,
                "image_std": CLIP_STD,
                "resample": 3,
            },
        )


def strip_local_paths(folder: Path) -> None:
    """Remove from diffusers' configs where on this machine the model was loaded from."""
    for file in folder.rglob("*.json"):
        record = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(record, dict) and record.pop("_name_or_path", None):
            write_json(file, record)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m rethink.tiny.build_models", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/tiny"), help="folder for checkpoints")
    parser.add_argument(
        "--out", type=Path, default=EDITOR_FOLDER.parent, help="folder for the finished models (default: the pack)"
    )
    stages = ("autoencoder", "editor", "decoder", "clip", "trajectories", *STAGES, "publish")
    parser.add_argument("--only", choices=stages, help="run a single stage")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("no", "bf16"), default="bf16")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the number of steps")
    parser.add_argument("--batch", type=int, default=1024, help="images per step and process")
    parser.add_argument("--minutes", type=float, default=0.0, help="end the stage's schedule after this many minutes")
    parser.add_argument("--workers", type=int, default=4, help="processes that draw tasks")
    options = parser.parse_args(arguments)

    def plan(steps: int, rate: float, **more) -> TrainConfig:
        return TrainConfig(
            steps=max(1, int(steps * options.scale)),
            batch=options.batch,
            learning_rate=rate,
            minutes=options.minutes,
            workers=options.workers,
            precision=options.precision,
            **more,
        )

    def wanted(stage: str) -> bool:
        return options.only in (None, stage)

    def report(line: str) -> None:
        print(line, flush=True)

    from accelerate import PartialState

    PartialState(cpu=options.device == "cpu")  # the first call decides for all, such as the backend under torchrun
    torch.set_float32_matmul_precision("high")
    if wanted("autoencoder") or wanted("editor"):
        vae = build_autoencoder(
            options.work, plan(12_000, 2e-3, warmup=200, decay_from=0.4, ema=0.998), options.device, report
        )
    if wanted("editor"):
        build_editor(
            options.work, vae, plan(40_000, 1e-3, warmup=300, decay_from=0.5, ema=0.999), options.device, report
        )
    if wanted("decoder"):
        polish_decoder(options.work, plan(10_000, 5e-4, decay_from=0.3, ema=0.998), options.device, report)
    if wanted("clip"):
        build_clip(options.work, plan(8_000, 1e-3, warmup=300, decay_from=0.3, ema=0.998), options.device, report)
    if wanted("trajectories"):
        make_trajectories(options.work, max(4, int(12_000 * options.scale)), options.minutes, options.device, report)
    plans = {
        "thinker": plan(2_500, 3e-3, warmup=50, decay_from=0.4, ema=0.99, save_every=250, log_every=50),
        "wide": plan(3_000, 2e-3, warmup=50, decay_from=0.2, ema=0.99, save_every=250, log_every=50),
        "finish": plan(4_500, 1.5e-3, warmup=50, decay_from=0.2, ema=0.99, save_every=250, log_every=50),
    }
    for stage in filter(wanted, plans):
        wordy = replace(plans[stage], batch=max(1, options.batch // WORDY))
        train_thinker.train(stage, options.work, wordy, report)
    if wanted("publish"):
        publish(options.work, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
