"""Kills a training of the built-in editor at random moments, as `kill -9` does, until it is done: its losses and its LoRA are
those of a training that nobody killed.

    python benchmarks/resume.py --kills 10
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from rethink.images import save_image
from rethink.pairs.inverse.drafts import SynthesisConfig
from rethink.pairs.inverse.job import SynthesisJob
from rethink.pairs.inverse.sources import ImageFolder
from rethink.tiny.scene import render
from rethink.tiny.tasks import sample_task

OPTIONS = ("--rank", "4", "--batch", "4", "--accumulate", "1", "--learning-rate", "1e-3", "--replay", "8")


def main() -> None:
    options = read_options()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        make_pairs(work, options.pairs)
        started = time.monotonic()
        subprocess.run(command(work, "whole", options.steps), check=True, capture_output=True)
        whole = time.monotonic() - started
        rng, kills = random.Random(options.seed), 0
        while kills < options.kills:
            process = subprocess.Popen(
                command(work, "killed", options.steps), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(rng.uniform(0.2, 1.0) * whole * options.share)
            if process.poll() is not None:
                break  # it is done
            process.kill()
            process.wait()
            kills += 1
        subprocess.run(command(work, "killed", options.steps), check=True, capture_output=True)
        records = [read_record(work, name) for name in ("whole", "killed")]
        files = [load_file(work / f"{name}.safetensors") for name in ("whole", "killed")]
    same_losses = records[0]["losses"] == records[1]["losses"]
    same_weights = all(torch.equal(files[0][name], files[1][name]) for name in files[0])
    figures = {"kills": kills, "steps": len(records[0]["losses"]), "seconds": round(whole, 1)}
    print(json.dumps({"bench": "resume", **figures, "same_losses": same_losses, "same_weights": same_weights}))
    sys.exit(not (same_losses and same_weights))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--share", type=float, default=1.0, help="of a whole training's time, that one lives at most")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def make_pairs(work: Path, count: int) -> None:
    images = work / "images"
    images.mkdir()
    for seed in range(count):
        save_image(render([sample_task(seed).target]), images / f"{seed}.png")
    SynthesisJob(ImageFolder(images), work / "pairs", SynthesisConfig(("cover",))).run()


def command(work: Path, name: str, steps: int) -> list[str]:
    arguments = [
        str(work / "pairs"),
        "-o",
        str(work / f"{name}.safetensors"),
        "--steps",
        str(steps),
        "--save-every",
        "4",
    ]
    return [sys.executable, "-m", "rethink", "train-lora", *arguments, *OPTIONS]


def read_record(work: Path, name: str) -> dict:
    [file] = (work / f"{name}-training").glob(f"{name}-*/training.json")
    return json.loads(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
