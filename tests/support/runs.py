"""A made-up run of a thinking loop in a folder, with everything that a viewer has to show."""

from pathlib import Path

from torch import Tensor

from rethink.evaluation.preservation import measure
from rethink.steps import ChecklistItem, Critique, Step
from rethink.think_loop import LoopConfig, ThinkTask, run_config, score_of
from rethink.thinkers.critique import Thinker
from rethink.tiny import render, sample_task
from rethink.trajectory import Trajectory, new_trajectory

PROMPTS = (
    "make the smallest shape the color of the largest",
    "make the small circle red",
    "make the small circle at the top left red, like the large square",
    "make the small circle at the top left the same red as the large square; keep everything else as it is",
)


def made_up_run(folder: Path, *, turns: int = 4, candidates: int = 1, stopped: str = "accepted") -> Trajectory:
    """`turns` turns that grow better up to the last but one."""
    task = sample_task(3, "reasoning")
    source, target = render([task.source]), render([task.target])
    config = LoopConfig(turns=max(turns, 8), candidates=candidates, checklist=True)
    task = ThinkTask(source, PROMPTS[0], Thinker(Named("built-in thinker")), config=config)
    options = run_config(task, "built-in")
    trajectory = new_trajectory(folder, source, PROMPTS[0], options)
    for turn in range(1, turns + 1):
        for candidate in range(candidates):
            share = min(1.0, (turn - 1 + candidate / candidates) / max(1, turns - 2))
            trajectory = trajectory.append_step(made_up_step(source, target, turn, candidate, share, config))
    return trajectory.finish(stopped) if stopped else trajectory


class Named:
    def __init__(self, name: str):
        self.name = name


def made_up_step(source: Tensor, target: Tensor, turn: int, candidate: int, share: float, config: LoopConfig) -> Step:
    """share: how much of the edit is done, 0…1."""
    image = ((1 - share) * source + share * target) * 255
    image = image.round() / 255
    critique = Critique(
        "ok" if turn != 2 else "repaired",
        round(2 + 7 * share - 0.3 * (turn % 3), 1),
        round(6.5 + 2.5 * share - 0.4 * (turn % 2), 1),
        f"The source shows a large square and a small circle. {'The circle is still gray. ' * (share < 1)}"
        "The square was not touched, and the background is as it was.\n\nThe editor seems not to know which shape is the "
        "smallest, so the next prompt names it by its form and its place.",
        PROMPTS[turn % len(PROMPTS)],
        (
            ChecklistItem("the small circle has the square's color", share > 0.9),
            ChecklistItem("the square is unchanged", True),
            ChecklistItem("no new shapes"),
        ),
        note="The scores were written as words." if turn == 2 else "",
    )
    preserved = measure(source, image)[0]
    return Step(
        turn,
        candidate,
        PROMPTS[(turn - 1) % len(PROMPTS)],
        "user" if turn == 1 else "human" if turn == 3 else "thinker",
        turn * 10 + candidate,
        critique,
        preserved,
        score_of(critique, preserved, config),
        3.21,
        1.57,
        image=image,
    )
