"""The plain and the bright colors that something is covered or filled with."""

from __future__ import annotations

from .core import Rng

RGB = tuple[int, int, int]

COLORS = {
    "red": (214, 40, 40),
    "green": (34, 139, 58),
    "blue": (38, 84, 214),
    "yellow": (248, 212, 32),
    "orange": (245, 130, 32),
    "purple": (130, 60, 170),
    "pink": (244, 120, 170),
    "turquoise": (40, 190, 190),
}
PLAIN = {"black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128)}


def draw_color(fill: str, rng: Rng) -> tuple[str, RGB]:
    """(name, RGB) of a plain color, or of a random bright one where `fill` is not a plain one."""
    if fill in PLAIN:
        return fill, PLAIN[fill]
    name = list(COLORS)[int(rng.integers(len(COLORS)))]
    return name, COLORS[name]
