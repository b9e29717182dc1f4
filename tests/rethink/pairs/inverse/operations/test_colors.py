"""Colors that are drawn."""

import numpy as np

from rethink.pairs.inverse.operations.colors import COLORS, PLAIN, draw_color


def test_a_plain_color_is_itself_and_others_are_drawn():
    rng = np.random.default_rng(0)
    assert draw_color("black", rng) == ("black", PLAIN["black"])
    names = {draw_color("colour", rng)[0] for _ in range(200)}
    assert names == set(COLORS)
