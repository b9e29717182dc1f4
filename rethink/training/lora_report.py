"""A LoRA training as one self-contained HTML file: curves, saves with their scores, and held-out pairs edited at every save."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from ..atomic import atomic_write
from ..progress import format_bytes, format_duration
from ..records import replace_surrogates
from .best_save import Save, mean_scores
from .lora_curves import Curve, loss_curves
from .lora_run import REPORT, LoraRecord, LoraRun, PreviewPair
from .lora_view import samples_per_second, thin

WIDTH, HEIGHT, LOW = 720, 260, 48  # of the loss plot; LOW is the height of the learning rate plot below it
LEFT, RIGHT, ABOVE = 64, 12, 12

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; --held: light-dark(#b8500f, #ff9a55);
  --smooth: light-dark(#2f5fd0, #8fb2ff); --raw: #8885 }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top }
.saves td { font-variant-numeric: tabular-nums } .best { font-weight: 600 }
.legend span { margin-right: 1.2rem } .legend i { display: inline-block; width: 1.6em; height: .25em; margin-right: .4em;
  vertical-align: middle; background: currentColor }
.pair { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .8rem .5rem; margin: 1rem 0 }
figure { margin: 0 } figure img { display: block; width: 100%; border-radius: 4px } figcaption { font-size: .85em }
figure.small img { image-rendering: pixelated } figure.best img { outline: 3px solid var(--held) } small { opacity: .75 }
.raw { stroke: var(--raw); fill: none } .smooth, .rate { stroke: var(--smooth); fill: none; stroke-width: 2 }
.held { stroke: var(--held); fill: none; stroke-width: 2 } .dot { fill: var(--held) }
svg text { font-size: 12px; fill: currentColor } .axis { stroke: currentColor; opacity: .3; fill: none }
"""
MEASURES = {  # score → its column, its meaning, and its format
    "changed": ("change made", "how much of the target's change was made, averaged over the previews", "{:.0%}"),
    "kept": ("rest kept", "the share of everything else that stayed as in the input", "{:.0%}"),
    "thinker": ("thinker", "the thinker's score for the previews, out of 10", "{:.1f}"),
}


def write_report(run: LoraRun, record: LoraRecord) -> None:
    """Write `report.html` of a run."""
    parts = [_facts(record), _plot(record), _saves(record)]
    parts += [_pair(run, record, number, pair) for number, pair in enumerate(record.preview_pairs)]
    title = html.escape(replace_surrogates(record.title))
    page = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{title}</h1>\n" + "\n".join(parts) + "\n"
    )
    with atomic_write(run.folder / REPORT) as part:
        part.write_text(replace_surrogates(page), encoding="utf-8")


def _facts(record: LoraRecord) -> str:
    speed = samples_per_second(record)
    rows = {
        "Editor": f"{record.editor} ({record.family})",
        "Pairs": f"{record.pairs}, {len(record.held_out)} of them held out",
        "Steps": f"{record.step} in {format_duration(record.seconds)}" + (f", {speed:.3g} samples/s" if speed else ""),
        "Best": f"step {record.best}: {record.why}" if record.why else "–",
        **({"Peak memory": format_bytes(record.memory)} if record.memory else {}),
        **({"Layers": str(record.layers)} if record.layers else {}),
        **({"Previews": f"by {record.preview_editors}"} if record.preview_editors else {}),
        **({"Left out": f"{', '.join(record.skipped)}: their files are missing"} if record.skipped else {}),
        **({"Stopped": record.stopped} if record.stopped else {}),
        "Settings": ", ".join(
            f"{name} {value}" for name, value in record.settings.items() if not isinstance(value, list)
        ),
    }
    cells = "".join(f"<tr><th>{name}<td>{html.escape(text)}" for name, text in rows.items())
    return f"<table>{cells}</table>"


# ── curves ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _plot(record: LoraRecord) -> str:
    """The training and held-out losses on one scale, with the learning rate below."""
    raw, smooth = loss_curves(record.losses)
    if not raw:
        return ""
    held_out = [(save.step, save.held_out) for save in record.saves if save.held_out is not None]
    low, high = value_range([value for _, value in (*smooth, *held_out)])
    losses = Axes(record.step, low, high, ABOVE, HEIGHT)
    dots = "".join(
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{5 if step == record.best else 3}"><title>step {step}: {value:.5f}'
        f"{' ★ best' if step == record.best else ''}</title></circle>"
        for (x, y), (step, value) in zip(losses.places(held_out), held_out)
    )
    curves = [losses.curve("raw", raw), losses.curve("smooth", smooth), losses.curve("held", held_out) + dots]
    legend = ['<span style="color: var(--smooth)"><i></i>training loss, smoothed</span>']
    legend += ['<span style="color: var(--held)"><i></i>held-out loss</span>'] if held_out else []
    rates = thin(record.rates)
    lowest = ""
    if rates:
        top = max(rate for _, rate in rates)
        axes = Axes(record.step, 0, top * 1.15 or 1, HEIGHT + 2 * ABOVE, HEIGHT + 2 * ABOVE + LOW)
        steps = [*rates, (record.step, rates[-1][1])]
        level = [point for here, after in pairwise(steps) for point in (here, (after[0], here[1]))]
        lowest = axes.frame([(top, f"{top:.3g}")]) + axes.curve("rate", level)
        legend.append("<span>below: the learning rate</span>")
    height = HEIGHT + 2 * ABOVE + (LOW + ABOVE if rates else 0) + 12
    ticks = [(value, f"{value:.4g}") for value in round_values(low, high)]
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="losses and learning rate by step" width="100%">'
        f'{losses.frame(ticks)}{"".join(curves)}{lowest}<text x="{LEFT}" y="{height - 3}">step 1</text>'
        f'<text x="{WIDTH - RIGHT}" y="{height - 3}" text-anchor="end">step {record.step}</text></svg>'
        f'<p class="legend">{"".join(legend)}</p>'
    )


def value_range(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest value, with a margin."""
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def round_values(low: float, high: float) -> list[float]:
    """A few round values between two bounds."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough)
    return [count * step for count in range(math.ceil(low / step), math.floor(high / step) + 1)]


class Axes:
    """Axes with steps 1 to `last` across the plot, and values from `low` to `high` between two heights; other values are clipped."""

    def __init__(self, last: int, low: float, high: float, top: float, bottom: float):
        self._last, self._low, self._high, self._top, self._bottom = last, low, high, top, bottom

    def _y(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return self._bottom - min(1.0, max(0.0, share)) * (self._bottom - self._top)

    def places(self, curve: Curve) -> list[tuple[float, float]]:
        width = WIDTH - LEFT - RIGHT
        return [(LEFT + width * (step - 1) / max(1, self._last - 1), self._y(value)) for step, value in curve]

    def curve(self, kind: str, curve: Curve) -> str:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in self.places(curve))
        return f'<polyline class="{kind}" points="{points}"/>' if points else ""

    def frame(self, ticks: Sequence[tuple[float, str]]) -> str:
        """The lines on the left and at the bottom, and labeled ticks."""
        lines = "".join(f"M{LEFT - 4},{self._y(value):.1f}H{WIDTH - RIGHT}" for value, _ in ticks)
        texts = "".join(
            f'<text x="{LEFT - 8}" y="{self._y(value) + 4:.1f}" text-anchor="end">{text}</text>'
            for value, text in ticks
        )
        return f'<path class="axis" d="M{LEFT},{self._top}V{self._bottom}H{WIDTH - RIGHT}{lines}"/>{texts}'


# ── saves and previews ───────────────────────────────────────────────────────────────────────────────────────────────


def _saves(record: LoraRecord) -> str:
    means = {save.step: mean_scores(save.scores) for save in record.saves}
    measured = [name for name in MEASURES if any(name in each for each in means.values())]
    heads = "".join(f'<th title="{MEASURES[name][1]}">{MEASURES[name][0]}' for name in measured)
    base = mean_scores([pair.scores for pair in record.preview_pairs])
    rows = [f"<tr><td>editor alone<td>–<td>–{_cells(base, measured)}<td>"] if base else []
    rows += [_save_row(record, save, _cells(means[save.step], measured)) for save in record.saves]
    file = "<th>file" if any(save.file for save in record.saves) else ""  # saves of a whole editor are not kept
    notes = "; ".join(f"{MEASURES[name][0]}: {MEASURES[name][1]}" for name in measured)
    return (
        f'<table class="saves"><tr><th>step<th>training loss<th>held-out loss{heads}{file}{"".join(rows)}</table>'
        f"<p><small>{notes[:1].upper()}{notes[1:]}{'.' if notes else ''}</small></p>"
    )


def _save_row(record: LoraRecord, save: Save, measures: str) -> str:
    is_best = save.step == record.best
    held_out = "–" if save.held_out is None else f"{save.held_out:.5f}"
    return (
        f"<tr{' class=best' if is_best else ''}><td>{save.step}{' ★' if is_best else ''}<td>{save.loss:.5f}<td>{held_out}"
        f"{measures}<td>{html.escape(save.file)}"
    )


def _cells(means: Mapping[str, float], names: Sequence[str]) -> str:
    return "".join(f"<td>{MEASURES[name][2].format(means[name]) if name in means else '–'}" for name in names)


def _pair(run: LoraRun, record: LoraRecord, number: int, pair: PreviewPair) -> str:
    """An instruction with its images side by side: input, target, the edit by the editor alone, and those by every save."""
    figures = [
        _figure(run, pair.input, "input"),
        *(_figure(run, file, f"image {place}") for place, file in enumerate(pair.references, 2)),
        _figure(run, pair.target, "target"),
        _figure(run, pair.base, "editor alone", pair.scores),
    ]
    for save in record.saves:
        if number < len(save.previews):
            scores = save.scores[number] if number < len(save.scores) else {}
            star = " ★" if save.step == record.best else ""
            figures.append(_figure(run, save.previews[number], f"step {save.step}{star}", scores))
    return f'<h2>{html.escape(pair.instruction)}</h2>\n<div class="pair">{"".join(figures)}</div>'


def _figure(run: LoraRun, file: str, name: str, scores: Mapping[str, float | str | None] | None = None) -> str:
    path = run.folder / file
    if not path.is_file():
        return ""
    means = mean_scores([scores or {}])
    words = ", ".join(f"{MEASURES[key][0]} {MEASURES[key][2].format(means[key])}" for key in MEASURES if key in means)
    note = html.escape(str((scores or {}).get("note") or ""))
    data = base64.b64encode(path.read_bytes()).decode()
    kinds = " ".join(["best"] * ("★" in name))
    return (
        f'<figure class="{kinds}"><img alt="{name}" title="{note}" src="data:image/png;base64,{data}">'
        f"<figcaption>{name}{f'<br><small>{words}</small>' if words else ''}</figcaption></figure>"
    )
