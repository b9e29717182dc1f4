"""The built-in world: small scenes of flat shapes, and their one renderer.

A scene is a background and up to four things, one in each quarter ("cell") of a 128×128 image. Everything is
discrete, so that the renderer is a table lookup that runs on a GPU or a CPU, equally fast, and so that the oracle
(`oracle.py`) can compare an image with every alternative.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random

import numpy as np
import torch

SIZE = 128  # pixels, width and height of an image
CELL = 64  # pixels, width and height of a cell
PLACES = ("top left", "top right", "bottom left", "bottom right")
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
SIZES = ("small", "medium", "large")
RADIUS = (13.0, 18.5, 24.0)  # pixels, of small, medium, large
JITTER = (-4, -2, 0, 2, 4)  # pixels, how far a thing may be from the center of its cell
COLORS = {
    "red": (222, 52, 58),
    "orange": (245, 134, 36),
    "yellow": (250, 210, 60),
    "green": (58, 164, 80),
    "blue": (46, 108, 214),
    "purple": (136, 70, 194),
    "pink": (246, 140, 192),
    "white": (250, 250, 248),
}
BACKGROUNDS = {
    "beige": (230, 214, 186),
    "gray": (150, 155, 163),
    "navy": (40, 52, 94),
    "teal": (38, 118, 122),
    "lavender": (204, 194, 234),
    "mint": (184, 226, 200),
}
BLACK = (20, 20, 22)
# Never seen in training, neither before nor after an edit; each shape and seven of the eight colors are still known.
HELD_OUT_LOOKS = frozenset(
    {
        ("pink", "circle"),
        ("yellow", "square"),
        ("blue", "triangle"),
        ("purple", "star"),
        ("green", "heart"),
        ("orange", "cross"),
    }
)
LOOKS = tuple((color, shape) for color in COLORS for shape in SHAPES)


@dataclass(frozen=True)
class SceneObject:
    """One shape in a cell (0…3, in reading order); `covered` hides it behind a black square."""

    cell: int
    shape: str
    color: str
    size: int
    dx: int = 0
    dy: int = 0
    covered: bool = False

    @property
    def look(self) -> tuple[str, str]:
        return self.color, self.shape

    @property
    def name(self) -> str:
        return "black square" if self.covered else f"{self.color} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """A background (plain or darkening downwards) and things sorted by cell, at most one per cell."""

    background: str
    gradient: bool
    things: tuple[SceneObject, ...]

    def at(self, cell: int) -> SceneObject | None:
        return next((thing for thing in self.things if thing.cell == cell), None)

    def with_thing(self, cell: int, thing: SceneObject | None) -> Scene:
        """The scene with the content of one cell replaced (by nothing, if `thing` is None)."""
        others = tuple(t for t in self.things if t.cell != cell)
        things = others if thing is None else (*others, replace(thing, cell=cell))
        return replace(self, things=tuple(sorted(things, key=lambda t: t.cell)))

    @property
    def empty_cells(self) -> tuple[int, ...]:
        taken = {thing.cell for thing in self.things}
        return tuple(cell for cell in range(4) if cell not in taken)

    @property
    def caption(self) -> str:
        """What an image of the scene shows, in one sentence."""
        things = [f"a {SIZES[t.size]} {t.name} at the {PLACES[t.cell]}" for t in self.things] or ["nothing"]
        return f"{' and '.join(things)} on a {self.background} background"


def is_test_scene(scene: Scene) -> bool:
    """Whether a scene is in the tenth, chosen by hash, that training never shows as a source."""
    return hashlib.blake2b(_hashed_text(scene).encode(), digest_size=2).digest()[0] % 10 == 0


def _hashed_text(scene: Scene) -> str:
    """A scene as fixed text. Other text would hold out other scenes than those that the built-in models never saw."""
    things = [
        f"Thing(cell={t.cell}, shape={t.shape!r}, color={t.color!r}, size={t.size}, dx={t.dx}, dy={t.dy}, "
        f"covered={t.covered})"
        for t in scene.things
    ]
    listed = f"({things[0]},)" if len(things) == 1 else f"({', '.join(things)})"
    return f"Scene(background={scene.background!r}, gradient={scene.gradient}, things={listed})"


def has_held_out_look(scene: Scene) -> bool:
    return any(thing.look in HELD_OUT_LOOKS for thing in scene.things)


def sample_scene(rng: Random, *, looks: tuple[tuple[str, str], ...] = LOOKS, count: int | None = None) -> Scene:
    """A random scene of `count` (else 1…4) things whose color-shape pairs differ from each other."""
    count = count or rng.choices((1, 2, 3, 4), (2, 4, 4, 1))[0]
    things = tuple(
        SceneObject(cell, shape, color, rng.randrange(3), rng.choice(JITTER), rng.choice(JITTER))
        for cell, (color, shape) in zip(sorted(rng.sample(range(4), count)), rng.sample(looks, count))
    )
    return Scene(rng.choice(tuple(BACKGROUNDS)), rng.random() < 0.5, things)


# --- rendering -------------------------------------------------------------------------------------------------

_FIELDS = 6  # per cell in an array: shape (-1: none), color, size, dx, dy (indices into JITTER), covered
_BLACK_SHAPE = len(SHAPES)
_EMPTY_PATCH = (len(SHAPES) + 1) * len(SIZES) * len(JITTER) ** 2


def encode(scene: Scene) -> np.ndarray:
    """The scene as an int16 array [26]: background, gradient, six numbers per cell; the input of `render_arrays`."""
    array = np.full(2 + 4 * _FIELDS, -1, np.int16)
    array[:2] = list(BACKGROUNDS).index(scene.background), scene.gradient
    for t in scene.things:
        start = 2 + t.cell * _FIELDS
        array[start : start + _FIELDS] = encode_object(t)
    return array


def encode_object(thing: SceneObject | None) -> tuple[int, ...]:
    if thing is None:
        return (-1,) * _FIELDS
    look = SHAPES.index(thing.shape), list(COLORS).index(thing.color)
    return *look, thing.size, JITTER.index(thing.dx), JITTER.index(thing.dy), int(thing.covered)


def render(scenes: list[Scene], device: torch.device | str = "cpu") -> torch.Tensor:
    """Images of the scenes: IMAGE [B, 128, 128, 3], rendered on `device`."""
    return render_arrays(torch.from_numpy(np.stack([encode(scene) for scene in scenes])).to(device))


def render_arrays(arrays: torch.Tensor) -> torch.Tensor:
    """Encoded scenes [B, 26] (any integer type, any device) → IMAGE [B, 128, 128, 3] on that device."""
    background = render_background(arrays[:, 0], arrays[:, 1])
    cells = arrays[:, 2:].reshape(-1, _FIELDS)
    patches = draw_cells(cells, split_cells(background).reshape(-1, CELL, CELL, 3))
    return join_cells(patches.reshape(-1, 4, CELL, CELL, 3))


def render_background(index: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Backgrounds [B] and gradient flags [B] → empty images [B, 128, 128, 3]."""
    color = _palette(BACKGROUNDS.values(), index.device)[index.long()]
    down = torch.linspace(0.06, -0.24, SIZE, device=index.device) * gradient.float()[:, None]
    return (color[:, None, None] * (1 + down[:, :, None, None])).clamp(0, 1).expand(-1, -1, SIZE, -1)


def draw_cells(cells: torch.Tensor, under: torch.Tensor) -> torch.Tensor:
    """Things [N, 6] drawn over their backgrounds [N, 64, 64, 3]."""
    shape, color, size, dx, dy, covered = cells.long().unbind(1)
    covered, empty = covered == 1, shape < 0
    row = torch.where(covered, _BLACK_SHAPE, shape) * len(SIZES) + size
    patch = torch.where(empty, _EMPTY_PATCH, (row * len(JITTER) + dx) * len(JITTER) + dy)
    shadow, line, fill, light = _atlas(cells.device)[patch].unsqueeze(-1).unbind(1)
    colors = _palette([*COLORS.values(), BLACK], cells.device)
    paint = colors[torch.where(covered, len(COLORS), color)][:, None, None]
    under = under * (1 - 0.3 * shadow)
    under = torch.lerp(under, 0.55 * paint.expand_as(under), line)
    return torch.lerp(under, (paint * light).clamp(0, 1), fill)


def split_cells(image: torch.Tensor) -> torch.Tensor:
    """[B, 128, 128, 3] → [B, 4, 64, 64, 3] in reading order."""
    return image.reshape(-1, 2, CELL, 2, CELL, 3).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, CELL, CELL, 3)


def join_cells(cells: torch.Tensor) -> torch.Tensor:
    return cells.reshape(-1, 2, 2, CELL, CELL, 3).permute(0, 1, 3, 2, 4, 5).reshape(-1, SIZE, SIZE, 3)


@lru_cache
def _palette_on(colors: tuple, device: str) -> torch.Tensor:
    return torch.tensor(colors, dtype=torch.float32, device=device) / 255


def _palette(colors, device) -> torch.Tensor:
    return _palette_on(tuple(colors), str(device))


@lru_cache
def _atlas_on(device: str) -> torch.Tensor:
    return torch.from_numpy(_draw_atlas()).to(device)


def _atlas(device) -> torch.Tensor:
    return _atlas_on(str(device))


@lru_cache
def _draw_atlas() -> np.ndarray:
    """Shadow, outline, fill (coverage 0…1) and light (a factor) of every shape × size × dx × dy: [N, 4, 64, 64]."""
    margin = max(map(abs, JITTER))
    pixels = np.arange(-margin, CELL + margin, dtype=np.float32) + 0.5 - CELL / 2
    y, x = np.meshgrid(pixels, pixels, indexing="ij")
    shifted = [slice(margin - offset, margin - offset + CELL) for offset in JITTER]  # each is drawn once and cut out
    patches = []
    for outline in [*map(_outline, SHAPES), None]:
        for radius in RADIUS:
            drawn = _draw(outline, radius, x, y)
            patches += [drawn[:, rows, columns] for columns in shifted for rows in shifted]
    blank = np.zeros((CELL, CELL))
    patches.append(np.stack([blank, blank, blank, blank + 1]))
    return np.stack(patches).astype(np.float32)


def _draw(outline: np.ndarray | None, radius: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if outline is None:  # the black square: no outline, no shadow
        fill = np.clip(radius + 3 - np.maximum(abs(x), abs(y)) + 0.5, 0, 1)
        return np.stack([np.zeros_like(x), np.zeros_like(x), fill, np.ones_like(x)])
    corner = 1.5  # pixels: corners are rounded by drawing a smaller polygon with a thick edge
    polygon = outline * (radius - corner)
    distance = _distance(polygon, x, y) - corner
    shadow = np.clip(0.5 - _distance(polygon, x - 1, y - 2) / 5, 0, 1)
    light = 1.06 - 0.14 * (y / radius + 1) / 2
    return np.stack([shadow, np.clip(0.5 - distance, 0, 1), np.clip(-1.0 - distance, 0, 1), light])


def _outline(shape: str) -> np.ndarray:
    """A polygon [N, 2] (x, y downwards) around the origin that fits a circle of radius 1."""
    turn = 2 * np.pi * np.arange(48) / 48
    if shape == "circle":
        return 0.94 * np.stack([np.cos(turn), np.sin(turn)], 1)
    if shape == "square":
        return 0.82 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    if shape == "triangle":
        return np.array([[0, -0.98], [1.0, 0.8], [-1.0, 0.8]])
    if shape == "star":
        angle, reach = np.pi * np.arange(10) / 5 - np.pi / 2, np.where(np.arange(10) % 2, 0.45, 1.05)
        return np.stack([reach * np.cos(angle), reach * np.sin(angle)], 1) + np.array([0, 0.06])
    if shape == "heart":
        across = 16 * np.sin(turn) ** 3
        up = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
        return np.stack([across, -up - 2], 1) / 16.5
    arm, end = 0.34, 0.98  # cross
    corner = np.array([[-arm, -end], [arm, -end], [arm, -arm]])
    quarter = np.array([[0, 1], [-1, 0]])
    return np.concatenate([corner @ np.linalg.matrix_power(quarter, turns) for turns in range(4)])


def _distance(polygon: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance in pixels of each point from a simple polygon, negative inside."""
    points = np.stack([x, y], -1)
    nearest, inside = np.full(x.shape, np.inf), np.zeros(x.shape, bool)
    for a, b in zip(polygon, np.roll(polygon, -1, 0)):
        edge, to = b - a, points - a
        along = np.clip((to @ edge) / (edge @ edge), 0, 1)[..., None]
        nearest = np.minimum(nearest, ((to - along * edge) ** 2).sum(-1))
        crosses = (a[1] > y) != (b[1] > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0])
    return np.where(inside, -1, 1) * np.sqrt(nearest)
