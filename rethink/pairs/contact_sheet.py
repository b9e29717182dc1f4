"""A contact sheet: input, target and instruction of some pairs, to check before training."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import RethinkError
from .store import EditPair, PairStore

if TYPE_CHECKING:
    from PIL.Image import Image

THUMB, SMALL, GAP, TEXT, COLUMNS = 224, 72, 8, 44, 3
PAPER, FRAME, INK = "#f4f4f2", "#c9c9c4", "#26262a"  # white padding stands out on this gray


def contact_sheet(store: PairStore, pairs: Iterable[EditPair]) -> Image:
    """`pairs` in up to three columns, each input → target with the instruction below; references are small, below the input.
    Unreadable images are gray."""
    from PIL import Image, ImageDraw, ImageFont

    cells = [([_thumbnail_inputs(store, pair), _thumbnail(store, pair.target)], pair.instruction) for pair in pairs]
    columns = min(COLUMNS, math.ceil(len(cells) ** 0.5)) or 1
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(thumb.height for thumbs, _ in row for thumb in thumbs) for row in rows]
    wide = 2 * THUMB + 4 * GAP
    size = columns * wide, sum(heights) + len(rows) * (TEXT + 2 * GAP) or THUMB
    sheet = Image.new("RGB", size, PAPER)
    pencil, font, y = ImageDraw.Draw(sheet), ImageFont.load_default(15), GAP
    for row, height in zip(rows, heights):
        for column, (thumbs, instruction) in enumerate(row):
            x = column * wide + GAP
            for side, thumb in enumerate(thumbs):
                left = x + side * (THUMB + 2 * GAP) + (THUMB - thumb.width) // 2
                top = y + (height - thumb.height) // 2
                sheet.paste(thumb, (left, top))
                pencil.rectangle((left - 1, top - 1, left + thumb.width, top + thumb.height), outline=FRAME)
            tip = x + THUMB + 3 * GAP // 2, y + height // 2
            pencil.polygon((tip, (tip[0] - GAP + 1, tip[1] - 5), (tip[0] - GAP + 1, tip[1] + 5)), fill=INK)
            lines = textwrap.wrap(instruction, 66)[:2]
            pencil.multiline_text((x, y + height + 4), "\n".join(lines), fill=INK, font=font)
        y += height + TEXT + 2 * GAP
    return sheet


def _thumbnail_inputs(store: PairStore, pair: EditPair) -> Image:
    """The input; with references, a row of them below it, as wide as a thumbnail."""
    input = _thumbnail(store, pair.input)
    if not pair.references:
        return input
    from PIL import Image

    side = min(SMALL, (THUMB + GAP) // len(pair.references) - GAP)
    both = Image.new(
        "RGB", (max(input.width, len(pair.references) * (side + GAP) - GAP), input.height + GAP + side), PAPER
    )
    both.paste(input, ((both.width - input.width) // 2, 0))
    for number, path in enumerate(pair.references):
        both.paste(_thumbnail(store, path, side), (number * (side + GAP), input.height + GAP))
    return both


def _thumbnail(store: PairStore, path: str, side: int = THUMB) -> Image:
    from PIL import Image

    try:
        image = Image.fromarray(store.read_image(path))
    except RethinkError:
        return Image.new("RGB", (side, side), "gray")
    scale = side / max(image.size)  # enlarges small ones
    return image.resize([max(1, round(length * scale)) for length in image.size], Image.Resampling.LANCZOS)
