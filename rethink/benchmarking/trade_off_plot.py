"""Plot the trade-off of editors, as an image and as a page that opens anywhere."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import atomic_write
from ..records import replace_surrogates
from .page import POLICY, STYLE
from .trade_off import Curve, CurvePoint, TradeOff

if TYPE_CHECKING:
    from PIL.Image import Image

PAGE, PLOT, SUMMARY = "rethink-curve.html", "rethink-curve.png", "rethink-curve.json"
WIDTH, HEIGHT = 760, 520  # of the plot, in its own units
LEFT, RIGHT, TOP, BOTTOM = 76, WIDTH - 24, 20, 420
LINE = 21  # height of a line in the legend
PAPER, INK, FAINT = (250, 249, 246), (40, 42, 48), (214, 212, 206)
COLORS = ("#2f6fd0", "#d1603d", "#3c9a5f", "#9358b8", "#b58900", "#4a9fb0", "#c2477f", "#7a7f88")
SHARPNESS = 2  # pixels of the image per unit
X, Y = "image similarity: the source is kept →", "direction similarity: the instruction is followed →"


@dataclass(frozen=True)
class _Axis:
    """A range of values mapped to a range of the plot, with its ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        """An axis about a quarter wider than the values, with about five ticks at round numbers."""
        low, high = min(values), max(values)
        margin = max(0.12 * (high - low), 1e-3)
        low, high = low - margin, high + margin
        rough = (high - low) / 5
        power = 10 ** math.floor(math.log10(rough))
        step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough)
        first = math.ceil(low / step)
        ticks = tuple(step * n for n in range(first, math.floor(high / step) + 1))
        return cls(low, high, start, end, ticks)

    def at(self, value: float) -> float:
        """The position of a value on the plot."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def words(self, tick: float) -> str:
        digits = max(0, -math.floor(math.log10(self.ticks[1] - self.ticks[0]) + 1e-9)) if len(self.ticks) > 1 else 3
        return f"{tick:.{digits}f}".replace("-0.000", "0.000")


@dataclass(frozen=True)
class _Dot:
    """A point of a curve at its position on the plot."""

    x: float
    y: float
    label: str
    words: str


@dataclass(frozen=True)
class _Plot:
    x: _Axis
    y: _Axis
    curves: tuple[tuple[str, str, tuple[_Dot, ...]], ...]  # (name, color, dots)

    @property
    def height(self) -> int:
        return HEIGHT + LINE * len(self.curves) - LINE


def _lay_out(found: TradeOff) -> _Plot | None:
    """Lay out the plot; None if nothing has a direction."""
    points = [(p.similarity, p.direction) for curve in found.curves for p in curve.points if p.direction is not None]
    if not points:
        return None
    x = _Axis.over([similarity.mean for similarity, _ in points], LEFT, RIGHT)
    y = _Axis.over([direction.mean for _, direction in points], BOTTOM, TOP)
    curves = tuple(
        (_legend(curve), COLORS[number % len(COLORS)], tuple(_dots(curve, x, y)))
        for number, curve in enumerate(found.curves)
    )
    return _Plot(x, y, curves)


def _legend(curve: Curve) -> str:
    scales = [f"{point.scale:g}" for point in curve.points if point.scale is not None]
    if not curve.knob:
        return f"{curve.editor}: one point, as it has no such scale"
    knob = curve.knob.replace("_", " ")
    return f"{curve.editor}: {knob} {scales[0]}" + (f" to {scales[-1]}" if len(scales) > 1 else "")


def _dots(curve: Curve, x: _Axis, y: _Axis) -> Iterator[_Dot]:
    shown = [(point, point.direction) for point in curve.points if point.direction is not None]
    for number, (point, direction) in enumerate(shown):
        label = "" if point.scale is None or number not in (0, len(shown) - 1) else f"{point.scale:g}"
        place = x.at(point.similarity.mean), y.at(direction.mean)
        yield _Dot(*place, label, _words(curve, point))


def _words(curve: Curve, point: CurvePoint) -> str:
    scale = "" if point.scale is None else f", {curve.knob.replace('_', ' ')} {point.scale:g}"
    direction = "" if point.direction is None else f", direction {point.direction.mean:.3f}"
    return f"{curve.editor}{scale}: image similarity {point.similarity.mean:.3f}{direction}"


# ── an image ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def draw_plot(found: TradeOff) -> Image:
    """The plot as an RGB image; a sentence instead if nothing could be measured."""
    from PIL import Image, ImageDraw, ImageFont

    plot = _lay_out(found)
    height = plot.height if plot else 80
    sheet = Image.new("RGB", (SHARPNESS * WIDTH, SHARPNESS * height), PAPER)
    pencil, font = ImageDraw.Draw(sheet), ImageFont.load_default(SHARPNESS * 13)

    def line(points: Sequence[tuple[float, float]], color, width: float = 1.0) -> None:
        pencil.line([(SHARPNESS * a, SHARPNESS * b) for a, b in points], color, round(SHARPNESS * width), "curve")

    def text(x: float, y: float, words: str, anchor: str, color=INK) -> None:
        pencil.text((SHARPNESS * x, SHARPNESS * y), words, color, font, anchor=anchor)

    if plot is None:
        text(20, 40, "No edit has a direction: nothing changed.", "lm")
        return sheet
    for tick in plot.x.ticks:
        line([(plot.x.at(tick), TOP), (plot.x.at(tick), BOTTOM)], FAINT)
        text(plot.x.at(tick), BOTTOM + 8, plot.x.words(tick), "mt")
    for tick in plot.y.ticks:
        line([(LEFT, plot.y.at(tick)), (RIGHT, plot.y.at(tick))], FAINT)
        text(LEFT - 8, plot.y.at(tick), plot.y.words(tick), "rm")
    line([(LEFT, TOP), (LEFT, BOTTOM), (RIGHT, BOTTOM)], INK)
    text((LEFT + RIGHT) / 2, BOTTOM + 32, _plain(X), "mt")
    _write_upwards(sheet, _plain(Y), font)
    for number, (name, color, dots) in enumerate(plot.curves):
        line([(dot.x, dot.y) for dot in dots], color, 2)
        for dot in dots:
            _spot(pencil, dot.x, dot.y, color)
            if dot.label:
                text(dot.x + 9, dot.y - 9, dot.label, "lb", color)
        place = BOTTOM + 68 + LINE * number
        _spot(pencil, LEFT + 6, place, color)
        text(LEFT + 20, place, _plain(name), "lm")
    return sheet


def _plain(words: str) -> str:
    """The text without arrows, which Pillow's own font lacks."""
    return words.replace(" →", "")


def _spot(pencil, x: float, y: float, color: str) -> None:
    reach = 4.5 * SHARPNESS
    center = SHARPNESS * x, SHARPNESS * y
    pencil.ellipse([center[0] - reach, center[1] - reach, center[0] + reach, center[1] + reach], color)


def _write_upwards(sheet: Image, words: str, font) -> None:
    from PIL import Image, ImageDraw

    strip = Image.new("RGB", (SHARPNESS * (BOTTOM - TOP), SHARPNESS * 18), PAPER)
    ImageDraw.Draw(strip).text((strip.width / 2, strip.height / 2), words, INK, font, anchor="mm")
    sheet.paste(strip.transpose(Image.Transpose.ROTATE_90), (SHARPNESS * 4, SHARPNESS * TOP))


# ── a page ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_PLOT_STYLE = """
svg.curves { max-width: 100%; height: auto } svg.curves .grid { stroke: currentColor; opacity: .15; stroke-width: 1 }
svg.curves .frame { stroke: currentColor; stroke-width: 1; fill: none } svg.curves .axis-name { font-size: 13px; opacity: 1 }
svg.curves polyline { fill: none; stroke-width: 2 }
"""


def write_results(found: TradeOff, folder: Path) -> Path:
    """Write the page, the image and the numbers; returns the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((PAGE, replace_surrogates(make_page(found))), (SUMMARY, json.dumps(found.as_dict(), indent=2))):
        with atomic_write(folder / name) as part:
            part.write_text(text, encoding="utf-8")
    with atomic_write(folder / PLOT) as part:
        draw_plot(found).save(part, "PNG")
    return folder / PAGE


def make_page(found: TradeOff) -> str:
    """The page as one HTML file."""
    sentences = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in found.sentences)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n{POLICY}\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>Trade-off of editors</title>\n'
        f"<style>{STYLE}{_PLOT_STYLE}</style>\n<h1>Trade-off of editors</h1>\n"
        f"<p>Higher and farther to the right is better: more of what was asked for, and more of the source kept.</p>\n"
        f"<div class=scroll>{_svg(found)}</div>\n{_table(found)}\n{sentences}\n{_settings(found)}\n"
    )


def _svg(found: TradeOff) -> str:
    plot = _lay_out(found)
    if plot is None:
        return "<p>No edit has a direction: nothing changed.</p>"
    parts = [
        *(_grid(plot.x.at(t), TOP, plot.x.at(t), BOTTOM) for t in plot.x.ticks),
        *(_grid(LEFT, plot.y.at(t), RIGHT, plot.y.at(t)) for t in plot.y.ticks),
        *(_text(plot.x.at(t), BOTTOM + 18, plot.x.words(t), "middle") for t in plot.x.ticks),
        *(_text(LEFT - 8, plot.y.at(t) + 4, plot.y.words(t), "end") for t in plot.y.ticks),
        f'<path class=frame d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" />',
        f'<text class=axis-name x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 44}" text-anchor=middle>{X}</text>',
        f'<text class=axis-name transform="translate(16 {(TOP + BOTTOM) / 2}) rotate(-90)" text-anchor=middle>{Y}</text>',
    ]
    for number, curve in enumerate(plot.curves):
        parts += _drawn(number, *curve)
    size = f"0 0 {WIDTH} {plot.height}"
    return (
        f'<svg class=curves viewBox="{size}" width={WIDTH} role=img aria-label="{X} against {Y}">{"".join(parts)}</svg>'
    )


def _grid(x: float, y: float, to_x: float, to_y: float) -> str:
    return f"<line class=grid x1={x:.1f} y1={y:.1f} x2={to_x:.1f} y2={to_y:.1f} />"


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f"<text x={x:.1f} y={y:.1f} text-anchor={anchor}>{html.escape(words)}</text>"


def _drawn(number: int, name: str, color: str, dots: Sequence[_Dot]) -> Iterator[str]:
    path = " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in dots)
    yield f'<g style="stroke:{color}">'
    yield f'<polyline points="{path}" /></g><g style="fill:{color}">'
    for dot in dots:
        title = f"<title>{html.escape(dot.words)}</title>"
        yield f'<circle style="fill:{color}" cx={dot.x:.1f} cy={dot.y:.1f} r=5>{title}</circle>'
        yield _text(dot.x + 9, dot.y - 9, dot.label, "start") if dot.label else ""
    place = BOTTOM + 72 + LINE * number
    yield f'<circle style="fill:{color}" cx={LEFT + 6} cy={place - 4} r=5 /></g>{_text(LEFT + 20, place, name, "start")}'


def _table(found: TradeOff) -> str:
    head = "<tr><th>Editor<th>Scale<th>Image similarity<th>Direction<th>Items"
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) for row in found.rows)
    return f"<h2>Figures</h2><div class=scroll><table>{head}{rows}</table></div>"


def _settings(found: TradeOff) -> str:
    def words(curve: Curve) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in curve.settings.items())

    rows = "".join(f"<tr><th>{html.escape(curve.editor)}<td>{html.escape(words(curve))}" for curve in found.curves)
    return f"<h2>Settings</h2><table>{rows}</table>"
