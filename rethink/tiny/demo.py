"""The main job on a bare machine: a few edits by the built-in editor, on one picture to look at."""

from __future__ import annotations

import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..editors.loading import load_editor
from ..images import to_pil
from . import EDITOR_FOLDER
from .oracle import judge
from .scene import render
from .tasks import KINDS, sample_task

SIDE, MARGIN, TEXT = 288, 28, 330  # pixels
PAPER, INK, QUIET, GOOD, BAD = "#faf9f6", "#22242a", "#8a8d96", "#2c8a4b", "#c0483c"


def make_demo(path: Path, seed: int, rows: int = 6) -> None:
    """Edits `rows` scenes, one of each kind, and writes source, instruction, result and the oracle's verdict to `path`."""
    tasks = [sample_task(1000 * seed + row, kind=kind) for row, kind in enumerate(KINDS[:rows])]
    editor = load_editor(EDITOR_FOLDER)
    sources = render([task.source for task in tasks])
    started = time.monotonic()
    results = editor.edit(editor.prepare(sources), [task.instruction for task in tasks], [seed] * rows)
    seconds = (time.monotonic() - started) / rows
    verdicts = [judge(result[None], task) for result, task in zip(results, tasks)]
    for task, verdict in zip(tasks, verdicts):
        print(f"{'done' if verdict.success else 'not quite':>9}  {task.instruction}")
    print(f"{seconds:.2f} s an edit")
    draw_sheet(to_pil(sources), tasks, to_pil(results), verdicts).save(path)


def draw_sheet(sources: list, tasks: list, results: list, verdicts: list) -> Image.Image:
    """A row a task: source, instruction, result."""
    width, height = 2 * SIDE + TEXT + 4 * MARGIN, len(tasks) * (SIDE + MARGIN) + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (source, task, result, verdict) in enumerate(zip(sources, tasks, results, verdicts)):
        top, text = MARGIN + row * (SIDE + MARGIN), SIDE + 2 * MARGIN
        sheet.paste(source.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (MARGIN, top))
        sheet.paste(result.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (text + TEXT + MARGIN, top))
        lines = wrap(draw, task.instruction, ImageFont.load_default(26), TEXT)
        y = top + SIDE // 2 - 17 * len(lines)
        for line in lines:
            draw.text((text, y), line, INK, ImageFont.load_default(26))
            y += 34
        note, color = ("done, all else kept", GOOD) if verdict.success else ("not quite", BAD)
        draw.text((text, y + 10), note, color, ImageFont.load_default(18))
        arrow(draw, text + TEXT + MARGIN // 2, top + SIDE // 2)
    return sheet


def arrow(draw: ImageDraw.ImageDraw, tip: int, y: int) -> None:
    """Pillow's own font has none."""
    draw.line([(tip - 26, y), (tip, y)], QUIET, 3)
    draw.line([(tip - 9, y - 8), (tip, y), (tip - 9, y + 8)], QUIET, 3, joint="curve")


def wrap(draw: ImageDraw.ImageDraw, text: str, font, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= width - 40 or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
