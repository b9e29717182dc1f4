"""Pairs, jobs and editors for the training of LoRAs on miniatures."""

from pathlib import Path

import numpy as np

from rethink.pairs.store import EditPair, PairStore
from rethink.training.edit_lora import LoraTraining
from rethink.training.edit_lora_job import TrainEditLoraJob
from rethink.training.edit_model import EditModel
from rethink.training.lora_pairs import read_pairs
from rethink.training.lora_settings import LoraSettings

QUICK = {"steps": 4, "rank": 2, "batch": 4, "accumulate": 1, "learning_rate": 1e-2, "keep": "off", "previews": 0}


def write_pairs(folder: Path, count: int = 8, size: tuple[int, int] = (32, 32), operation: str = "") -> PairStore:
    """Pairs of noise and the same with a black corner, each of a source of its own; the image with the corner is the input."""
    store = PairStore(folder)
    rng = np.random.default_rng(0)
    with store.writing():
        for number in range(count):
            target = rng.integers(60, 256, (*size, 3), dtype=np.uint8)
            input = target.copy()
            input[: size[0] // 2, : size[1] // 2] = 0
            id = f"{number:016x}"
            paths = [store.image_path(id, role) for role in ("input", "target")]
            for path, image in zip(paths, (input, target)):
                store.write_image(path, image)
            store.add(EditPair(id, *paths, "make it red", operation=operation, source=f"{number}.png"))
    return store


def make_job(root: Path, pairs: PairStore, **options) -> TrainEditLoraJob:
    """A job of a few steps, whose runs lie in `root`."""
    return TrainEditLoraJob(pairs, root / "learned.safetensors", root / "runs", LoraSettings(**{**QUICK, **options}))


def open_training(editor, job: TrainEditLoraJob) -> LoraTraining:
    """The run of a job with its first stage done."""
    model = EditModel(editor)
    pairs = read_pairs(job.pairs)
    training = LoraTraining(job.settings, job.output, job.folder, model, pairs, lambda progress: None)
    training.run_folder.folder.mkdir(parents=True)
    training.encode_all()
    return training
