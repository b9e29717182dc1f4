"""Drawings that are made of photographs."""

from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


def test_pencil_and_ink_are_light_and_edges_are_dark():
    image = draw_image()
    pencil, ink, edges = (
        apply_by_seed("line_art", image, narrower={"kind": k}).image for k in ("pencil", "ink", "edges")
    )
    assert pencil.mean() > 128 and ink.mean() > 128 > edges.mean()
    assert all((drawing == drawing[..., :1]).all() for drawing in (pencil, ink, edges))
