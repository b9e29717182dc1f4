"""Records of thinking runs that never ran."""

import json

import torch

from rethink.steps import Critique, Preservation, Step
from rethink.trajectory import new_trajectory

PRESERVED = Preservation(0.1, 40.0, False)


def write_trajectory(
    folder,
    scores,
    stopped="turns",
    judged=(),
    preserved=PRESERVED,
    *,
    instruction="make it red",
    options=(("kind", "color"),),
    images=None,
    chosen=None,
):
    """A run whose turn t got scores[t] and was edited with "prompt t". A score of None is a critique that failed.

    images: the source, and the edit of every turn, IMAGE [1, H, W, 3]; None: black ones. stopped: "" for a run that was cut
    off.
    """
    images = [torch.zeros(1, 8, 8, 3)] * (1 + len(scores)) if images is None else images
    run = new_trajectory(folder, images[0], instruction, dict(options))
    for turn, score in enumerate(scores):
        critique = Critique("failed", note="gone")
        if score is not None:
            critique = Critique("ok", score, score, f"reason {turn}", f"prompt {turn + 1}")
        scorer = Critique("ok", judged[turn], judged[turn]) if judged else None
        run = run.append_step(
            Step(
                *(turn + 1, 0, f"prompt {turn}", "thinker", turn, critique, preserved, score, 1.0, 1.0, scorer),
                images[turn + 1],
            )
        )
    return run.finish(stopped, chosen=chosen) if stopped else run


def draw_images(seed, count, size=64):
    """A source and `count` edits of it, each with another square, IMAGE [1, size, size, 3] of 8 bits; all look different."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (1, 3, 9, 9), generator=generator) / 255
    source = torch.nn.functional.interpolate(coarse, (size, size), mode="nearest").movedim(1, -1)
    images = [source]
    for number in range(count):
        edited = source.clone()
        side = size // 4 + number
        edited[:, :side, :side] = torch.randint(0, 256, (3,), generator=generator) / 255
        images.append(edited)
    return images


def rewrite_steps(run, change):
    """Change every step of the record of a run on disk: change(step) has it as it stands there."""
    steps = json.loads((run.folder / "trajectory.json").read_text(encoding="utf-8"))["steps"]
    for step in steps:
        change(step)
    return rewrite_record(run, steps=steps)


def rewrite_record(run, **changes):
    """Change the record of a run on disk, as another version or a careless person would."""
    file = run.folder / "trajectory.json"
    record = {**json.loads(file.read_text(encoding="utf-8")), **changes}
    file.write_text(json.dumps(record), encoding="utf-8")
    return run
