"""A comparison as one HTML file: all results in a grid, a blind vote by keyboard, and the result of the votes. It opens anywhere, offline.

Its contents may come from anyone: the page embeds them as data and runs nothing but our own script.

The script comes before the images and does not wait for them: a page of two hundred comparisons can be used while the rest is still
loading. A server sends the page without images (`page_without_images`), and each image on request.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..atomic import atomic_write
from ..errors import RethinkError, reason_of
from ..html_pages import join_modules, page_head, page_policy, read_web_file, web_folder
from ..pairs.pixels import read_pixels

PAGE, ENTRY = "comparison.html", "page.mjs"
STYLES = (("viewer", "viewer.css"), ("compare", "compare.css"))
PAGE_BYTES = 48 * 2**20  # about the most that the images of a page may take, so that it opens in a second or two
SIDES = (256, 1024)  # smallest and largest longer side of an image in the page, in pixels
BYTES_PER_PIXEL = 0.12  # of a photograph as WebP
QUALITIES = (88, 76, 62)  # tried in order until an image fits its share
WORKERS = 4
IMAGES = "<!-- images -->\n"  # the line before the images


def write_page(folder: Path, record: Mapping[str, Any]) -> Path:
    """Write the page of a comparison into its folder. record: from `CompareReport.as_dict`.

    Small images are embedded as they are, others as WebP, scaled so that the page stays light.
    """
    style = "\n" + "\n".join(read_web_file(web_folder(place) / name) for place, name in STYLES)
    script = "\n" + join_modules(web_folder("compare") / ENTRY)
    files = [*dict.fromkeys(task["file"] for task in record["tasks"]), *(edit["file"] for edit in record["edits"])]
    most = PAGE_BYTES // max(1, len(files))
    side = round(min(SIDES[1], max(SIDES[0], (most / BYTES_PER_PIXEL) ** 0.5)))
    policy = page_policy(style, script, "connect-src 'self'", images="'self' data:")
    head = page_head(record["title"], style, policy, "cp-page", "comparison", {**record, "side": side})
    target = folder / PAGE
    try:
        with (
            atomic_write(target) as part,
            part.open("w", encoding="utf-8", newline="\n") as page,
            ThreadPoolExecutor(WORKERS) as pool,
        ):
            page.write(head)
            page.write(f'<script type="module" async>{script}</script>\n{IMAGES}')
            for name, data in zip(files, pool.map(lambda name: encode_view(folder / name, side, most), files)):
                page.write(f'<script type="text/plain" id="{html.escape(name)}">{data}</script>\n')
    except OSError as error:
        raise RethinkError(f"output: {target} cannot be written: {reason_of(error)}.") from error
    return target


def page_without_images(folder: Path) -> bytes:
    """The page in a folder up to its images; the whole page if an older version wrote it. Raises OSError."""
    end, lines = IMAGES.encode(), []
    with (folder / PAGE).open("rb") as page:
        for line in page:
            if line == end:
                break
            lines.append(line)
    return b"".join(lines)


def encode_view(file: Path, side: int, most: int) -> str:
    """An image file as a data: URL for the page: unchanged if it takes at most `most` bytes and its longer side is at most `side`
    pixels, otherwise scaled, as WebP."""
    from PIL import Image

    data = file.read_bytes()
    pixels = read_pixels(io.BytesIO(data), side)
    if len(data) <= most and pixels.shape[:2] == read_pixels(io.BytesIO(data)).shape[:2]:
        return f"data:image/png;base64,{base64.b64encode(data).decode()}"
    for quality in QUALITIES:
        view = io.BytesIO()
        Image.fromarray(pixels).save(view, "WEBP", quality=quality, method=2)
        if view.tell() <= most:
            break
    return f"data:image/webp;base64,{base64.b64encode(view.getvalue()).decode()}"
