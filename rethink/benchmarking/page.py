"""A benchmark run as one HTML file: figures with their intervals, coverage, and the worst and best edits with their thinking. It opens
anywhere, offline."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import atomic_write
from ..errors import RethinkError
from ..evaluation.benchmarks.core import Benchmark, Item, Judged
from ..evaluation.statistics import Interval, mean_interval
from ..images import to_pil
from ..progress import format_count
from ..records import replace_surrogates
from ..trajectory import RECORD_FILE, load_trajectory
from .editing import RUNS
from .judging import decode_image
from .report import BenchmarkReport, number_text, source_digest, title_text

if TYPE_CHECKING:
    from torch import Tensor

PAGE = "rethink-report.html"
MOST_CASES, THUMBNAIL = 8, 320  # cases at each end; pixels of the longer side
_LEFT, _WIDTH, _ROW = 220, 480, 22  # of the plot, in pixels

# Nothing is loaded from elsewhere, and no script runs.
POLICY = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; --mark: light-dark(#2f5fd0, #8fb2ff) }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem } h1 small { font-weight: 400; opacity: .75; font-size: .6em }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .15rem .9rem .15rem 0; text-align: left; vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums } .scroll { overflow-x: auto }
.case { border-top: 1px solid #8884; padding: .8rem 0 } .case p { margin: .2rem 0 } small { opacity: .75 }
.images { display: flex; flex-wrap: wrap; gap: .6rem } figure { margin: 0; max-width: 100% }
figure img { display: block; max-width: 100%; height: 11rem; border-radius: 4px } figcaption { font-size: .85em; max-width: 16rem }
svg text { font-size: 12px; fill: currentColor } line { stroke: var(--mark); stroke-width: 2 }
circle { fill: var(--mark) } .axis { stroke: currentColor; opacity: .3; stroke-width: 1 }
"""


@dataclass(frozen=True)
class Case:
    """An item that was judged. value: its part of the headline figure."""

    item: Item
    value: float
    scores: Mapping[str, float | None]
    edit: Path | None


def write_page(
    benchmark: Benchmark,
    items: Sequence[Item],
    judged: Judged,
    edits: Mapping[str, Path],
    folder: Path,
    report: BenchmarkReport,
) -> None:
    """Write `rethink-report.html` into the results folder."""
    terms = benchmark.headline_terms(items, judged)
    cases = [
        Case(item, terms[item.id][0], judged.get(item.id) or {}, edits.get(item.id))
        for item in items
        if item.id in terms
    ]
    cases.sort(key=lambda case: (case.value, case.item.id))
    worst, best = cases[:MOST_CASES], cases[MOST_CASES:][-MOST_CASES:][::-1]
    title = html.escape(f"{report.title}: {report.record.get('editor') or folder.resolve().name}")
    parts = [
        f"<h1>{title}</h1>",
        "".join(f"<p>{html.escape(sentence)}</p>" for sentence in report.sentences),
        _plot(cases),
        _figures(report),
        _published(report),
        *_cases("Worst" if best else "All edits, worst first", worst, folder),
        *_cases("Best", best, folder),
        _settings(report),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"{POLICY}\n"
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n"
    )
    with atomic_write(folder / PAGE) as part:
        part.write_text(replace_surrogates(page), encoding="utf-8")


def _figures(report: BenchmarkReport) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(title_text(figure))}<td class=n>{number_text(figure.value)}<td class=n>{figure.items}"
        for figure in report.summary.figures
    )
    return f"<h2>Figures</h2><div class=scroll><table><tr><th>Figure<th>Value<th>Items{rows}</table></div>"


def _published(report: BenchmarkReport) -> str:
    if not report.published:
        return ""
    rows = "".join(
        f"<tr><td>{html.escape(p.editor)}<td>{html.escape(p.figure)}<td class=n>{p.value:g}<td>{html.escape(p.judge)}"
        f"<td>{html.escape(p.source)}"
        for p in report.published
    )
    return (
        "<h2>Published by others</h2><div class=scroll><table><tr><th>Editor<th>Figure<th>Value<th>Judge<th>Source"
        f"{rows}</table></div>"
    )


def _settings(report: BenchmarkReport) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(name)}<td>{html.escape(_setting_text(value))}"
        for name, value in report.record.items()
        if name != "data"
    )
    return f"<h2>Run</h2><table>{rows}</table>"


def _setting_text(value: object) -> str:
    """A setting as text; of several, only those that are not empty."""
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name.replace('_', ' ')} {_setting_text(inner)}" for name, inner in value.items() if inner != ""
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_setting_text, value)) if isinstance(value, (list, tuple)) else str(value)


# ── the plot ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _plot(cases: Sequence[Case]) -> str:
    """The mean of every group with its interval, on a common scale."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.item.group, []).append(case)
    if not groups:
        return ""
    found = {name: _interval(members) for name, members in sorted(groups.items())}
    ends = [value for each in found.values() for value in (each.mean, each.low, each.high) if value is not None]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return _LEFT + (value - low) / span * _WIDTH

    rows = "".join(_row(number, name, each, x) for number, (name, each) in enumerate(found.items()))
    bottom = len(found) * _ROW + 6
    scale = f"<line class=axis x1={_LEFT} x2={_LEFT + _WIDTH} y1={bottom} y2={bottom} />"
    scale += f"<text x={_LEFT} y={bottom + 16}>{low:.3g}</text>"
    scale += f"<text x={_LEFT + _WIDTH} y={bottom + 16} text-anchor=end>{high:.3g}</text>"
    size = f"0 0 {_LEFT + _WIDTH + 20} {bottom + 24}"
    plot = f'<svg viewBox="{size}" width={_LEFT + _WIDTH + 20} role=img aria-label="means by group">{rows}{scale}</svg>'
    return f"<h2>By group, with 95% intervals</h2><div class=scroll>{plot}</div>"


def _interval(cases: Sequence[Case]) -> Interval:
    return mean_interval([case.value for case in cases], [source_digest(case.item) for case in cases])


def _row(number: int, name: str, found: Interval, x) -> str:
    y = number * _ROW + 14
    bar = ""
    if found.low is not None and found.high is not None:
        bar = f"<line x1={x(found.low):.1f} x2={x(found.high):.1f} y1={y} y2={y} />"
    label = html.escape(f"{name} ({found.items})")
    title = f"<title>{label}: {found.text(3)}</title>"
    return f"<g>{title}<text x=0 y={y + 4}>{label}</text>{bar}<circle cx={x(found.mean):.1f} cy={y} r=4 /></g>"


# ── cases ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _cases(title: str, cases: Sequence[Case], folder: Path) -> list[str]:
    return [f"<h2>{title}</h2>", *(_case(case, folder) for case in cases)] if cases else []


def _case(case: Case, folder: Path) -> str:
    figures = [_figure(load, role) for role, load in case.item.images.items()]
    figures += [_figure(case.edit.read_bytes, "edit")] if case.edit else []
    scores = ", ".join(f"{name} {value:g}" for name, value in case.scores.items() if value is not None)
    return (
        f"<div class=case><p><b>{html.escape(case.item.instruction)}</b> <small>{html.escape(case.item.id)}</small></p>"
        f"<p>{case.value:.3g} <small>{html.escape(scores)}</small></p>"
        f"<div class=images>{''.join(figures)}</div>{_thoughts(folder / RUNS / case.item.id)}</div>"
    )


def _thoughts(run: Path) -> str:
    """The turns of a thinking run; "" without one."""
    if not (run / RECORD_FILE).is_file():
        return ""
    try:
        trajectory = load_trajectory(run)
    except RethinkError as error:
        return f"<p><small>{html.escape(str(error))}</small></p>"
    figures = []
    for number, step in enumerate(trajectory.steps):
        verdict = step.judge or step.critique
        scores = "no score" if verdict.semantic is None else f"{verdict.semantic:g} / {verdict.quality:g}"
        star = " ★" if number == trajectory.best else ""
        words = f"turn {step.turn}{star}, {scores}: {step.prompt}"
        figures.append(_figure((run / step.file).read_bytes, words))
    return f"<details><summary>{format_count(len(figures), 'turn')} of thinking</summary><div class=images>{''.join(figures)}</div></details>"


def _figure(load, caption: str) -> str:
    try:
        data = _thumbnail(decode_image(load()))
    except (OSError, RethinkError):
        return f"<figure><figcaption>{html.escape(caption)}: not readable</figcaption></figure>"
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/jpeg;base64,{data}"><figcaption>{text}</figcaption></figure>'


def _thumbnail(image: Tensor) -> str:
    small = to_pil(image)[0]
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return base64.b64encode(file.getvalue()).decode()
