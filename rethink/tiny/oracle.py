"""The exact judge of the built-in world: was it done, and was all else left alone?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import torch

from .scene import (
    BACKGROUNDS,
    COLORS,
    SHAPES,
    SIZES,
    Scene,
    SceneObject,
    draw_cells,
    encode_object,
    render,
    render_background,
    split_cells,
)
from .tasks import Task

CELL_RMS = 0.07  # a cell farther than this from what it should show is smeared or shifted, whatever it resembles most
OUTSIDE_PSNR = 27.0  # dB against the source, outside the edited region


@dataclass(frozen=True)
class Verdict:
    """done: what was asked for is there. kept: everything else is unchanged, object by object and by PSNR (dB) outside
    the edited region. answer: which of the task's accepted scenes the image was measured against."""

    done: bool
    kept: bool
    psnr_outside: float
    answer: int

    @property
    def success(self) -> bool:
        return self.done and self.kept


@dataclass(frozen=True)
class Observation:
    """What an image shows where a task looks: what each of the four cells and the background resembles most, and how
    far it is from that (RMS, the background's last). answer: the nearest of the task's accepted scenes."""

    things: tuple[SceneObject | None, ...]
    background: tuple[str, bool]
    errors: tuple[float, ...]
    psnr_outside: float
    answer: int


def judge(image: torch.Tensor, task: Task) -> Verdict:
    """Compare one image (IMAGE [1, 128, 128, 3]) with the task, by analysis through synthesis.

    The nearest accepted scene counts. Each cell must resemble what that scene has there more than any other of the 148
    things it could show, and closely (`CELL_RMS`); the background must be nearest to the right one of twelve. What
    differs between source and accepted scene decides `done`, the rest decides `kept`.
    """
    return verdict(observe(image, task), task)


def verdict(observation: Observation, task: Task) -> Verdict:
    scene, source = task.accepted[observation.answer], task.source
    *cells, background = [error <= CELL_RMS for error in observation.errors]
    cells = [ok and observation.things[cell] == visible_object(scene.at(cell)) for cell, ok in enumerate(cells)]
    background = background and observation.background == (scene.background, scene.gradient)
    changed = [scene.at(cell) != source.at(cell) for cell in range(4)]
    same_background = scene.background == source.background
    return Verdict(
        done=all(ok for ok, c in zip(cells, changed) if c) and (same_background or background),
        kept=all(ok for ok, c in zip(cells, changed) if not c)
        and (not same_background or background)
        and observation.psnr_outside >= OUTSIDE_PSNR,
        psnr_outside=observation.psnr_outside,
        answer=observation.answer,
    )


def observe(image: torch.Tensor, task: Task) -> Observation:
    """What an IMAGE [1, 128, 128, 3] shows where the task looks, computed on the image's device.

    Things are looked for on the background that is there, where one should be; in a cell that should be empty, where
    the source had one.
    """
    images = render([task.source, *task.accepted], image.device)
    source, answers = images[:1], images[1:]
    answer = int((answers - image).square().mean((1, 2, 3)).argmin())
    scene = task.accepted[answer]
    background, error = _nearest_background(image, [task.source, scene])
    known = [scene.at(cell) or task.source.at(cell) for cell in range(4)]
    things, errors = zip(*(nearest_object(image, background, cell, known[cell]) for cell in range(4)))
    psnr = _psnr(image, source, _untouched(source, answers[answer : answer + 1]))
    return Observation(things, background, (*errors, error), psnr, answer)


def nearest_object(
    image: torch.Tensor, background: tuple[str, bool], cell: int, known: SceneObject | None
) -> tuple[SceneObject | None, float]:
    """What a cell of an IMAGE [1, 128, 128, 3] resembles most at the place of a known thing, and its distance (RMS)."""
    place = (known.dx, known.dy) if known else (0, 0)
    things = _things_at(cell, place)
    shown = split_cells(image)[0, cell]
    distances = _distances_to_nearest(background, cell // 2, place, image.device)
    for guess in {0, things.index(visible_object(known))}:  # nothing, and what is known
        error = _errors(shown, [things[guess]], background, cell).item()
        if error < 0.49 * distances[guess]:  # then all others are farther, as the distance is a metric
            return things[guess], error
    errors = _errors(shown, things, background, cell)
    return things[int(errors.argmin())], float(errors.min())


def _things_at(cell: int, place: tuple[int, int]) -> list[SceneObject | None]:
    """Everything that a cell can show at a place: nothing, and 147 things."""
    looks = (SceneObject(cell, shape, color, size, *place, covered) for shape, color, size, covered in _ALL)
    return [None, *map(visible_object, looks)]


def _errors(
    shown: torch.Tensor, things: list[SceneObject | None], background: tuple[str, bool], cell: int
) -> torch.Tensor:
    """The distance of a cell [64, 64, 3] from each of the things [N] (RMS)."""
    return (_draw(things, background, cell, shown.device) - shown).square().mean((1, 2, 3)).sqrt()


def _draw(
    things: list[SceneObject | None], background: tuple[str, bool], cell: int, device: torch.device
) -> torch.Tensor:
    """The cell with each of the things [N, 64, 64, 3]."""
    under = split_cells(render([Scene(*background, ())], device))[0, cell]
    looks = torch.tensor([encode_object(t) for t in things], device=device)
    return draw_cells(looks, under.expand(len(things), -1, -1, -1))


@cache
def _distances_to_nearest(
    background: tuple[str, bool], row: int, place: tuple[int, int], device: torch.device
) -> list[float]:
    """For each of the things at a place in a row of cells, the distance of the most similar other one (RMS)."""
    pixels = _draw(_things_at(2 * row, place), background, 2 * row, device).flatten(1)
    distances = torch.cdist(pixels, pixels).fill_diagonal_(torch.inf).amin(1)
    return (distances / pixels.shape[1] ** 0.5).tolist()


_ALL = [(*look, False) for look in product(SHAPES, COLORS, range(len(SIZES)))] + [
    (SHAPES[0], next(iter(COLORS)), size, True) for size in range(len(SIZES))
]


def visible_object(thing: SceneObject | None) -> SceneObject | None:
    """What is visible of a thing: behind a black square, shape and color do not count."""
    if thing is None or not thing.covered:
        return thing
    return SceneObject(thing.cell, SHAPES[0], next(iter(COLORS)), thing.size, thing.dx, thing.dy, True)


def _nearest_background(image: torch.Tensor, scenes: list[Scene]) -> tuple[tuple[str, bool], float]:
    empty = render([replace(scene, things=()) for scene in scenes], image.device)
    things = (render(scenes, image.device) - empty).abs()
    free = (things.amax(-1) < 1 / 255).all(0)  # pixels that only show background
    names = torch.arange(len(BACKGROUNDS), device=image.device).repeat_interleave(2)
    backgrounds = render_background(names, torch.arange(2, device=image.device).repeat(len(BACKGROUNDS)))
    error = (backgrounds - image).square().mean(-1)[:, free].mean(1).sqrt()
    nearest = int(error.argmin())
    return (tuple(BACKGROUNDS)[nearest // 2], bool(nearest % 2)), float(error[nearest])


def _untouched(source: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """The pixels [128, 128] more than three pixels away from any that the edit should change."""
    touched = ((source - expected).abs().amax(-1, keepdim=True) > 1 / 255).float().permute(0, 3, 1, 2)
    return torch.nn.functional.max_pool2d(touched, 7, 1, 3)[0, 0] == 0


def _psnr(image: torch.Tensor, source: torch.Tensor, where: torch.Tensor) -> float:
    """The PSNR in dB; infinite if nothing had to be left alone."""
    error = (image - source)[0][where].square().mean()
    return float("inf") if not where.any() else float(-10 * torch.log10(error.clamp(min=1e-10)))
