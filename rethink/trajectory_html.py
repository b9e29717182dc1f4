"""A run as one HTML file with the viewer of `web/viewer`, its style and every image; it opens anywhere, offline.

The contents of a run may come from anyone: the page holds them as data, and only our own script can run in it.
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

    Images are stored as they are in the folder, pixel for pixel, so the file is a third larger than the folder.
    Raises RethinkError if an image cannot be read or the file cannot be written.
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
    """The file name of a run's page, from the run's folder and instruction, valid on every system."""
    folder = make_portable(trajectory.folder.resolve().name.strip("_"), "trajectory", LONGEST_NAME)
    return f"{make_portable(f'{folder} {trajectory.instruction}', folder, LONGEST_NAME)}.html"


def _image_bytes(folder: Path, name: str) -> bytes:
    """The bytes of an image of the run, a PNG in its folder. Raises RethinkError for links and anything but PNGs."""
    if not is_own_image(folder, name):
        raise RethinkError(
            f"html: the image {folder / name} is missing or not a file in its folder; copy the whole folder."
        )
    data = (folder / name).read_bytes()
    if not data.startswith(PNG):
        raise RethinkError(f"html: {folder / name} is not a PNG image; copy the whole folder again.")
    return data
