"""What the front end may ask about comparisons: what is compared, images, votes.

A node publishes a folder under a key, and only published folders are served: no path and no folder name ever comes from the
front end. A restart forgets the keys, but not the votes, which are in the folder.
"""

import hashlib
import io
from collections import OrderedDict
from pathlib import Path

from ..rethink.errors import RethinkError
from ..rethink.names import is_within
from ..rethink.pairs.pixels import read_pixels
from .comfy import server

MAX_PUBLISHED = 32
SIDE = 1280  # pixels along the longer side of an image, at most

_published: OrderedDict[str, Path] = OrderedDict()
_vote_count = 0


def publish(folder: Path) -> str:
    """A key under which the front end can ask about a comparison."""
    key = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    _published[key] = folder
    _published.move_to_end(key)
    while len(_published) > MAX_PUBLISHED:
        _published.popitem(last=False)
    return key


def vote_count() -> int:
    """The number of vote lines since the start: nodes that depend on votes run again when it grows."""
    return _vote_count


def read_comparison(key: str) -> dict:
    """What is compared, as `CompareReport.as_dict` has it."""
    from ..rethink.comparison.job import read_record

    return read_record(_folder(key)) | {"side": SIDE}


def read_image(key: str, file: str, digest: str = "") -> bytes:
    """An image of the comparison as WebP. digest: of its content, so that the address changes with it."""
    from PIL import Image

    from ..rethink.comparison.job import read_record

    folder, record = _folder(key), read_record(_folder(key))
    known = {task["file"] for task in record["tasks"]} | {edit["file"] for edit in record["edits"]}
    if file not in known or not is_within(folder / file, folder) or not (folder / file).is_file():
        raise RethinkError("file: there is no such image in this comparison.")
    pixels, data = read_pixels(folder / file, SIDE), io.BytesIO()
    small = max(pixels.shape[:2]) <= 512  # lossless, so that every visible difference is real
    Image.fromarray(pixels).save(data, "WEBP", lossless=small, quality=90, method=2)
    return data.getvalue()


def list_votes(key: str) -> dict:
    """{"votes": [every line]}."""
    from ..rethink.comparison.votes import vote_log

    return {"votes": list(vote_log(_folder(key)))}


def add_votes(key: str, votes: list) -> dict:
    """Append lines to the votes. Returns {"written": how many}."""
    from ..rethink.comparison.votes import append_votes

    global _vote_count
    written = append_votes(_folder(key), votes)
    _vote_count += written
    return {"written": written}


def _folder(key: str) -> Path:
    folder = _published.get(key)
    if folder is None:
        raise RethinkError("This comparison is no longer known, because ComfyUI was restarted. Run the workflow again.")
    return folder


def serve() -> None:
    """Add the routes, and keep other sites from embedding the page."""
    server.forbid_framing("compare/page.html")
    server.add_route("GET", "/rethink/comparisons/{key}", read_comparison)
    server.add_route("GET", "/rethink/comparisons/{key}/image", read_image)
    server.add_route("GET", "/rethink/comparisons/{key}/votes", list_votes)
    server.add_route("POST", "/rethink/comparisons/{key}/votes", add_votes)
