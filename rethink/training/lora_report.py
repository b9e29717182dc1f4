"""A LoRA training as one HTML file: losses, and held-out pairs by every save. It opens anywhere, offline."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from ..atomic import atomic_write
from ..progress import format_duration
from ..records import replace_surrogates
from .lora_pairs import LoraPair
from .lora_run import REPORT, LoraRecord, LoraRun

WIDTH, HEIGHT, MARGIN = 720, 240, 48  # of the plot
MOST_POINTS = 400  # of a curve

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }
.pair { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0 } figure { margin: 0; width: 9rem }
figure img { width: 100%; image-rendering: pixelated } figcaption { font-size: .85em }
.train { stroke: #888; fill: none } .held { stroke: #c2571a; fill: none; stroke-width: 2 } .dot { fill: #c2571a }
text { font-size: 12px; fill: currentColor } .axis { stroke: currentColor; opacity: .4 }
"""


def write_report(run: LoraRun, record: LoraRecord, shown: Sequence[LoraPair]) -> None:
    """Write `report.html` of a run. shown: the held-out pairs that have previews, in their order."""
    parts = [_facts(record), _plot(record), _saves(record)]
    parts += [_pair(run, record, number, pair) for number, pair in enumerate(shown) if record.saves]
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
    rows = {
        "Editor": f"{record.editor} ({record.family})",
        "Pairs": f"{record.pairs}, of which {len(record.held_out)} held out",
        "Steps": f"{record.step} in {format_duration(record.seconds)}",
        "Best": f"step {record.best}: {record.why}" if record.why else "–",
        "Layers": str(record.layers),
        **({"Stopped": record.stopped} if record.stopped else {}),
        "Settings": ", ".join(
            f"{name} {value}" for name, value in record.settings.items() if not isinstance(value, list)
        ),
    }
    cells = "".join(f"<tr><th>{name}<td>{html.escape(text)}" for name, text in rows.items())
    return f"<table>{cells}</table>"


def _plot(record: LoraRecord) -> str:
    """The training loss, averaged over neighbors, and the held-out loss, each on its own scale from 0."""
    if not record.losses:
        return ""
    size = max(1, len(record.losses) // MOST_POINTS)
    means = [
        (start + len(part), sum(part) / len(part))
        for start in range(0, len(record.losses), size)
        if (part := record.losses[start : start + size])
    ]
    held_out = [(save.step, save.held_out) for save in record.saves if save.held_out is not None]
    curves = [_curve(means, record.step, "train"), _curve(held_out, record.step, "held")]
    top = [max((value for _, value in points), default=0.0) for points in (means, held_out)]
    bottom = HEIGHT - MARGIN / 2
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="losses by step" width="100%">'
        f'<path class="axis" d="M{MARGIN},{MARGIN / 2}V{bottom}H{WIDTH - MARGIN}"/>{"".join(curves)}'
        f'<text x="{MARGIN + 4}" y="{MARGIN / 2}">training loss up to {top[0]:.4g} (gray)'
        f"{f', held-out loss up to {top[1]:.4g} (orange)' if held_out else ''}</text>"
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 6}" text-anchor="end">step {record.step}</text></svg>'
    )


def _curve(points: Sequence[tuple[int, float]], last: int, kind: str) -> str:
    highest = max((value for _, value in points), default=0.0) or 1.0
    across, down = WIDTH - 2 * MARGIN, HEIGHT - MARGIN
    places = [
        (MARGIN + across * step / max(1, last), MARGIN / 2 + down * (1 - value / highest)) for step, value in points
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places if kind == "held")
    return f'<polyline class="{kind}" points="{line}"/>{dots}' if places else ""


def _saves(record: LoraRecord) -> str:
    rows = "".join(
        f"<tr><td>{save.step}{' ★' if save.step == record.best else ''}<td>{save.loss:.5f}"
        f"<td>{'–' if save.held_out is None else f'{save.held_out:.5f}'}<td>{html.escape(save.file)}"
        for save in record.saves
    )
    return f"<table><tr><th>step<th>training loss<th>held-out loss<th>file{rows}</table>"


def _pair(run: LoraRun, record: LoraRecord, number: int, pair: LoraPair) -> str:
    shown: list[tuple[str, Path]] = [("input", pair.input), ("target", pair.target)]
    shown.append(("editor alone", run.preview_path(0, number)))
    shown += [(f"step {save.step}", run.preview_path(save.step, number)) for save in record.saves if save.previews]
    figures = "".join(
        f'<figure><img alt="{name}" src="data:image/{_kind(path)};base64,{_data(path)}"><figcaption>{name}</figcaption></figure>'
        for name, path in shown
        if path.is_file()
    )
    return f'<h2>{html.escape(pair.instruction)}</h2>\n<div class="pair">{figures}</div>'


def _kind(path: Path) -> str:
    ending = path.suffix.lower().lstrip(".")
    return {"jpg": "jpeg"}.get(ending, ending)


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
