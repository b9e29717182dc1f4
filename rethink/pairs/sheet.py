"""A contact sheet: input, target and instruction of some pairs, to be looked at before anything is trained."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import RethinkError
from .store import EditPair, PairStore

if TYPE_CHECKING:
    from PIL.Image import Image

THUMB, GAP, TEXT, COLUMNS = 224, 8, 40, 3


def contact_sheet(store: PairStore, pairs: Iterable[EditPair]) -> Image:
    """`pairs` in three columns, each input → target with the instruction under it. What cannot be read stays grey."""
    from PIL import Image, ImageDraw, ImageFont

    pairs = list(pairs)
    columns = min(COLUMNS, max(1, len(pairs)))
    wide, high = 2 * THUMB + 3 * GAP, THUMB + TEXT + 2 * GAP
    sheet = Image.new("RGB", (columns * wide, -(-len(pairs) // columns) * high or high), "white")
    pencil, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for index, pair in enumerate(pairs):
        x, y = index % columns * wide + GAP, index // columns * high + GAP
        for side, path in enumerate((pair.input, pair.target)):
            thumb = _thumb(store, path)
            left = x + side * (THUMB + GAP) + (THUMB - thumb.width) // 2
            sheet.paste(thumb, (left, y + (THUMB - thumb.height) // 2))
        lines = textwrap.wrap(pair.instruction, 74)[:2]
        pencil.multiline_text((x, y + THUMB + 4), "\n".join(lines), fill="black", font=font)
    return sheet


def _thumb(store: PairStore, path: str) -> Image:
    from PIL import Image

    try:
        picture = Image.fromarray(store.read_image(path))
    except RethinkError:
        return Image.new("RGB", (THUMB, THUMB), "grey")
    picture.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    return picture
