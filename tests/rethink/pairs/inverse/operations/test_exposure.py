"""Light and color that are wrong as a camera's are."""

from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image


def test_dark_is_darker_bright_is_brighter_and_a_cast_is_named():
    image = draw_image()
    dark, bright, cast = (
        apply_by_seed("exposure", image, narrower={"kind": kind}) for kind in ("dark", "bright", "cast")
    )
    assert dark.image.mean() < image.mean() < bright.image.mean()
    assert "tint" not in dark.template_vars and cast.template_vars["tint"] in ("warm", "cold", "green", "magenta")


def test_a_warm_cast_has_more_red_and_less_blue():
    image = draw_image()
    warm = apply_by_seed("exposure", image, narrower={"kind": "cast", "tint": "warm"}).image
    shift = warm.mean((0, 1)) - image.mean((0, 1))
    assert shift[0] > 0 > shift[2]
