"""A run as one HTML file: the viewer of `web/viewer`, its style and every image inside; it opens anywhere, offline.

The contents of a run may come from anyone: the page holds them as data, and lets nothing run but our own script.
"""

import base64
from os import PathLike
from pathlib import Path

from .atomic import atomic_write
from .errors import RethinkError, reason_of
from .html_pages import join_modules, page_head, page_policy, read_web_file, web_folder
from .names import make_portable
from .trajectory import SOURCE_FILE, Trajectory, is_own_image

VIEWER = web_folder("viewer")
ENTRY = "page.mjs"
LONGEST_NAME = 100  # bytes of a page's name before its ending
PNG = b"\x89PNG\r\n\x1a\n"


def write_html(trajectory: Trajectory, path: str | PathLike) -> None:
    """Write the view of `trajectory` to `path`, which appears whole or not at all.

    Pictures are stored as the folder has them, pixel for pixel, so the file is a third larger than the folder.
    Raises RethinkError when a image cannot be read or the file not be written.
    """
    path = Path(path)
    style, script = f"\n{read_web_file(VIEWER / 'viewer.css')}", f"\n{join_modules(VIEWER / ENTRY)}"
    policy = page_policy(style, script)
    head = page_head(trajectory.instruction, style, policy, "rt-page", "trajectory", trajectory.as_dict())
    try:
        with atomic_write(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(head)
            for name in (
                SOURCE_FILE,
                *(step.file for step in trajectory.steps),
            ):  # one by one: a run may be larger than memory
                data = base64.b64encode(_image_bytes(trajectory.folder, name)).decode()
                file.write(f'<script type="text/plain" id="{name}">data:image/png;base64,{data}</script>\n')
            file.write(f'<script type="module">{script}</script>\n')
    except OSError as error:
        raise RethinkError(f"html: {path} cannot be written: {reason_of(error)}") from error


def page_name(trajectory: Trajectory) -> str:
    """What the page of a run is called: by the run's folder and its instruction, as every system can have it."""
    folder = make_portable(trajectory.folder.resolve().name.strip("_"), "trajectory", LONGEST_NAME)
    return f"{make_portable(f'{folder} {trajectory.instruction}', folder, LONGEST_NAME)}.html"


def _image_bytes(folder: Path, name: str) -> bytes:
    """An image of the run, a file in its folder. Links and anything but PNGs are left out of the page."""
    if not is_own_image(folder, name):
        raise RethinkError(f"html: the image {folder / name} is missing, or no file of its own; copy the whole folder.")
    data = (folder / name).read_bytes()
    if not data.startswith(PNG):
        raise RethinkError(f"html: {folder / name} is no PNG image; copy the whole folder anew.")
    return data
