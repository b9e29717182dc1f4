"""A contact sheet: the input, target and instruction of some pairs, to check them before training."""

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
WIDE = 2 * (THUMB + GAP)  # of input and target, from edge to edge
A_ROW = (WIDE + GAP) // (SMALL + GAP)  # references side by side
MOST = 2 * A_ROW  # references shown per pair: the most that any editor takes
PAPER, FRAME, INK = "#f4f4f2", "#c9c9c4", "#26262a"  # white padding stands out on this gray


def contact_sheet(store: PairStore, pairs: Iterable[EditPair]) -> Image:
    """`pairs` in up to three columns, each input → target with the instruction below; references are small, below both.
    Unreadable images are gray."""
    from PIL import Image, ImageDraw, ImageFont

    cells = [([_thumbnail(store, path) for path in (pair.input, pair.target)], pair) for pair in pairs]
    columns = min(COLUMNS, math.ceil(len(cells) ** 0.5)) or 1
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(thumb.height for thumbs, _ in row for thumb in thumbs) for row in rows]
    more = [max(_height_of_references(pair) for _, pair in row) for row in rows]
    wide = WIDE + 2 * GAP
    size = columns * wide, sum(heights) + sum(more) + len(rows) * (TEXT + 2 * GAP) or THUMB
    sheet = Image.new("RGB", size, PAPER)
    pencil, font, y = ImageDraw.Draw(sheet), ImageFont.load_default(15), GAP
    for row, height, below in zip(rows, heights, more):
        for column, (thumbs, pair) in enumerate(row):
            x = column * wide + GAP
            for side, thumb in enumerate(thumbs):
                left = x + side * (THUMB + 2 * GAP) + (THUMB - thumb.width) // 2
                top = y + (height - thumb.height) // 2
                sheet.paste(thumb, (left, top))
                pencil.rectangle((left - 1, top - 1, left + thumb.width, top + thumb.height), outline=FRAME)
            tip = x + THUMB + 3 * GAP // 2, y + height // 2
            pencil.polygon((tip, (tip[0] - GAP + 1, tip[1] - 5), (tip[0] - GAP + 1, tip[1] + 5)), fill=INK)
            _paste_references(store, pair, sheet, (x, y + height + GAP))
            lines = textwrap.wrap(pair.instruction, 66)[:2]
            pencil.multiline_text((x, y + height + below + 4), "\n".join(lines), fill=INK, font=font)
        y += height + below + TEXT + 2 * GAP
    return sheet


def _height_of_references(pair: EditPair) -> int:
    return math.ceil(len(pair.references[:MOST]) / A_ROW) * (SMALL + GAP)


def _paste_references(store: PairStore, pair: EditPair, sheet: Image, place: tuple[int, int]) -> None:
    """References in rows, as wide as input and target together. place: of the upper left corner."""
    for number, path in enumerate(pair.references[:MOST]):
        row, column = divmod(number, A_ROW)
        sheet.paste(_thumbnail(store, path, SMALL), (place[0] + column * (SMALL + GAP), place[1] + row * (SMALL + GAP)))


def _thumbnail(store: PairStore, path: str, side: int = THUMB) -> Image:
    from PIL import Image

    try:
        image = Image.fromarray(store.read_image(path))
    except RethinkError:
        return Image.new("RGB", (side, side), "gray")
    scale = side / max(image.size)  # enlarges small ones
    return image.resize([max(1, round(length * scale)) for length in image.size], Image.Resampling.LANCZOS)
