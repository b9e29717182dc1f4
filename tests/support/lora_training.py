"""Pairs, jobs and editors for the training of LoRAs on miniatures."""

import multiprocessing
import random
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from rethink.editors import loading
from rethink.pairs.store import EditPair, PairStore
from rethink.training.edit_lora import LoraTraining
from rethink.training.edit_lora_job import TrainEditLoraJob, adapt
from rethink.training.edit_model import EditModel
from rethink.training.lora_pairs import read_pairs
from rethink.training.lora_settings import LoraSettings
from tests.support.process_groups import run_together

QUICK = {"steps": 4, "rank": 2, "batch": 4, "accumulate": 1, "learning_rate": 1e-2, "keep": "off", "previews": 0}


def write_pairs(
    folder: Path,
    count: int = 8,
    size: tuple[int, int] = (32, 32),
    operation: str = "",
    references: tuple[int, ...] = (0,),
) -> PairStore:
    """Pairs of noise and the same with a black corner, each of a source of its own; the image with the corner is the input.

    references: how many the first pair has, the second and so on, over and over; each is of another size and color.
    """
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
            others = [store.image_path(id, f"reference{n}") for n in range(2, references[number % len(references)] + 2)]
            for n, path in enumerate(others):
                store.write_image(path, np.full((24, 32 + 16 * n, 3), (20 * number, 90, 40 * n), np.uint8))
            pair = EditPair(id, *paths, "make it red", operation=operation, source=f"{number}.png")
            store.add(replace(pair, references=tuple(others)))
    return store


def make_job(root: Path, pairs: PairStore, **options) -> TrainEditLoraJob:
    """A job of a few steps, whose runs lie in `root`."""
    return TrainEditLoraJob(pairs, root / "learned.safetensors", root / "runs", LoraSettings(**{**QUICK, **options}))


def open_training(editor, job: TrainEditLoraJob) -> LoraTraining:
    """The run of a job with its first stage done."""
    model = EditModel(editor)
    settings = adapt(job.settings, model)
    pairs = read_pairs(job.pairs)
    training = LoraTraining(settings, job.output, job.folder, model, pairs, lambda progress: None)
    training.run_folder.folder.mkdir(parents=True)
    training.encode_all()
    return training


def train_and_kill(job: TrainEditLoraJob, editor, rng: random.Random, most_steps: int) -> bool:
    """Run the job in a process of its own, which is killed after so many reports of progress, and a while, as `rng` draws.

    → whether it was done by then.
    """
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_train, args=(job, editor, there))
    process.start()
    there.close()
    reports = rng.randrange(1, most_steps)
    try:
        for _ in range(reports):
            if here.recv() == "done":
                break
        time.sleep(rng.random() * 0.02)
    except EOFError:
        pass
    process.kill()
    process.join()
    return process.exitcode == 0


def train_together(job: TrainEditLoraJob, editor, count: int) -> list[int | None]:
    """Run the job in so many processes at once; → their exit codes."""
    return run_together(lambda processes: job.run(editor, processes=processes), count)


def _train(job: TrainEditLoraJob, editor, connection: Connection) -> None:
    import torch

    torch.set_num_threads(1)  # a fork has no other threads
    job.run(editor, lambda progress: connection.send(progress.line))
    connection.send("done")


def take_one_step_for_previews(monkeypatch) -> None:
    """Previews of a whole editor's training are edits of one step, in place of a hundred."""
    from rethink.training import editor_run

    def edit_with(pipeline, name):
        editor = loading.edit_with(pipeline, name)
        editor.defaults = replace(editor.defaults, steps=1)
        return editor

    monkeypatch.setattr(editor_run, "edit_with", edit_with)
