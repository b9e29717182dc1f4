"""Kill trainings of the built-in editor at random moments, as `kill -9` does, and let them resume to the end: their losses and LoRAs
must equal those of an uninterrupted training.

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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from safetensors.torch import load_file

from rethink.images import save_image
from rethink.pairs.inverse.drafts import SynthesisConfig
from rethink.pairs.inverse.job import SynthesisJob
from rethink.pairs.inverse.sources import ImageFolder
from rethink.tiny.scene import render
from rethink.tiny.tasks import sample_task

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ("--rank", "4", "--batch", "4", "--accumulate", "1", "--learning-rate", "1e-3", "--replay", "8")


def main() -> None:
    options = read_options()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        make_pairs(work, options.pairs)
        started = time.monotonic()
        subprocess.run(command(work, "whole", options.steps), check=True, capture_output=True, cwd=ROOT)
        whole = time.monotonic() - started
        rng, kills, rounds = random.Random(options.seed), 0, 0
        reference = result(work, "whole")
        same_losses = same_weights = True
        while kills < options.kills:
            name = f"killed-{rounds}"
            while kills < options.kills and not live_until(command(work, name, options.steps), rng.uniform(0, whole)):
                kills += 1
            subprocess.run(command(work, name, options.steps), check=True, capture_output=True, cwd=ROOT)
            losses, weights = result(work, name)
            same_losses &= losses == reference[0]
            same_weights &= all(torch.equal(weights[key], reference[1][key]) for key in reference[1])
            rounds += 1
    figures = {"kills": kills, "trainings": rounds, "steps": options.steps, "seconds": round(whole, 1)}
    print(json.dumps({"bench": "resume", **figures, "same_losses": same_losses, "same_weights": same_weights}))
    sys.exit(not (same_losses and same_weights))


def live_until(command: list[str], seconds: float) -> bool:
    """Run a command and kill it after this many seconds; → whether it finished by then."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


def result(work: Path, name: str) -> tuple[list[float], dict[str, torch.Tensor]]:
    """(losses, weights of the last step) of a finished training."""
    [file] = (work / f"{name}-training").glob(f"{name}-*/training.json")
    record = json.loads(file.read_text(encoding="utf-8"))
    return record["losses"], load_file(file.parent / record["saves"][-1]["file"])


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=60)
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


if __name__ == "__main__":
    main()
