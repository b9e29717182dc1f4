"""A comparison as one HTML file: all results in a grid, a blind vote by keyboard, and what the votes say. It opens anywhere, offline.

What it shows may come from anyone: the page holds it as data, and lets nothing run but our own script.

The script stands before the images and does not wait for them: a page of two hundred comparisons can be used while the rest of it is
still being read. A server sends the page without them (`page_without_images`), and each when it is asked for.
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
PAGE_BYTES = 48 * 2**20  # about what the images of a page may take: it opens in a second or two
SIDES = (256, 1024)  # smallest and largest longer side of an image in the page, in pixels
BYTES_PER_PIXEL = 0.12  # of a photograph as WebP
QUALITIES = (88, 76, 62)  # the first at which an image takes no more than its share
WORKERS = 4
IMAGES = "<!-- images -->\n"  # the line behind which they stand


def write_page(folder: Path, record: Mapping[str, Any]) -> Path:
    """Write the page of a comparison into its folder. record: of `CompareReport.as_dict`.

    Images are in it as they are where they are small, else as WebP, scaled so that the page stays light.
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
    """The page in a folder up to its images; all of one that an older version has written. Raises OSError."""
    end, lines = IMAGES.encode(), []
    with (folder / PAGE).open("rb") as page:
        for line in page:
            if line == end:
                break
            lines.append(line)
    return b"".join(lines)


def encode_view(file: Path, side: int, most: int) -> str:
    """An image file as the page holds it, a data: address: as it is where it takes at most `most` bytes and is no longer than
    `side` pixels, else scaled, as WebP."""
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
