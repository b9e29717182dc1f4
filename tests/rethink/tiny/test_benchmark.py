"""The built-in benchmark counts what the oracle says, and nothing else."""

import torch

from rethink.tiny import render, sample_task
from rethink.tiny.benchmark import evaluate, success_by_wording, summarize
from rethink.tiny.tasks import HELD_OUT_WORDINGS


class Scripted:
    """An editor that answers an instruction with the scene it was told, and returns all others unedited."""

    def __init__(self, tasks):
        self.answers = {task.instruction: task.target for task in tasks}

    def prepare(self, images):
        return images

    def edit(self, images, instructions, seeds, settings):
        answers = [self.answers.get(instruction) for instruction in instructions]
        return torch.cat([render([a]) if a else image[None] for a, image in zip(answers, images)])


def test_half_right_is_half():
    tasks = [sample_task(seed) for seed in range(40)]  # more than one batch
    instructions = {task.instruction for task in tasks}
    tasks = [next(t for t in tasks if t.instruction == instruction) for instruction in sorted(instructions)][:30]
    figures = summarize(evaluate(Scripted(tasks[::2]), tasks))
    assert figures["success"] == figures["done"] == 0.5
    assert figures["psnr_outside"] > 60


def test_every_held_out_wording_has_its_row():
    lines = []
    rates = success_by_wording(Scripted([]), 1, lines.append)
    wordings = [wording for kind in HELD_OUT_WORDINGS.values() for wording in kind]
    assert list(rates) == wordings and len(lines) == len(wordings)
    assert not any(rates.values())
