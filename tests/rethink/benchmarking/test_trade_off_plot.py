"""The trade-off curve as an image and as a page."""

import re

import numpy as np
import pytest
from PIL import Image

from rethink.benchmarking.trade_off import Curve, CurvePoint, TradeOff
from rethink.benchmarking.trade_off_plot import (
    PAGE,
    PLOT,
    SHARPNESS,
    SUMMARY,
    WIDTH,
    draw_plot,
    make_page,
    write_results,
)
from rethink.evaluation.statistics import Interval


def point(scale, x, y):
    interval = Interval(x, x - 0.1, x + 0.1, 9, 9)
    return CurvePoint(scale, interval, None if y is None else Interval(y, None, None, 9, 9))


@pytest.fixture
def found():
    points = (point(1.0, 0.8, 0.3), point(1.5, 0.85, 0.2), point(2.0, 0.9, 0.12))
    first = Curve("<b>built-in</b>", "image_guidance", {"steps": 8}, points)
    second = Curve("Kontext", "", {"steps": 28}, (point(None, 0.7, 0.25),))
    return TradeOff((first, second), 9, "clip")


def pixels(image, color):
    """Where a color is: (x, y) of each pixel, in units of the plot."""
    array = np.asarray(image.convert("RGB"))
    rows, columns = np.nonzero((array == color).all(-1))
    return columns / SHARPNESS, rows / SHARPNESS


def test_the_image_has_a_curve_for_each_editor_where_it_belongs(found):
    image = draw_plot(found)
    blue, red = (pixels(image, color) for color in ((0x2F, 0x6F, 0xD0), (0xD1, 0x60, 0x3D)))
    within = [x for x, y in zip(*blue) if y < 420]
    single = [x for x, y in zip(*red) if y < 420]
    assert image.width == SHARPNESS * WIDTH and max(within) - min(within) > 250
    assert max(single) < min(within) and max(single) - min(single) < 12, "one dot, further to the left"


def test_the_page_is_whole_and_shows_no_strangers_markup(found, tmp_path):
    page = write_results(found, tmp_path / "new")
    text = page.read_text(encoding="utf-8")
    assert "<b>" not in text and "&lt;b&gt;built-in" in text and "http" not in text.replace("http-equiv", "")
    assert len(re.findall("<circle", text)) == 4 + 2 and "Kontext: one point" in text
    assert "image guidance 1.5: image similarity 0.850, direction 0.200" in text
    with Image.open(tmp_path / "new" / PLOT) as image:
        assert image.size == draw_plot(found).size
    assert {file.name for file in (tmp_path / "new").iterdir()} == {PAGE, PLOT, SUMMARY}


def test_without_any_direction_words_stand_in_its_place(found):
    still = TradeOff((Curve("a", "", {}, (point(None, 1.0, None),)),), 1, "clip")
    assert draw_plot(still).height < draw_plot(found).height
    assert "No edit has a direction" in make_page(still) and "not measured" in make_page(still)


def test_one_point_alone_is_drawn():
    alone = TradeOff((Curve("a", "", {}, (point(None, 0.9, 0.1),)),), 1, "clip")
    assert len(pixels(draw_plot(alone), (0x2F, 0x6F, 0xD0))[0]) > 100
