"""A run as one HTML file: the viewer of `web/viewer`, its style and every picture inside; it opens anywhere, offline."""

import base64
import html
import json
import re
from os import PathLike
from pathlib import Path

from .errors import RethinkError
from .files import appearing
from .trajectory import SOURCE, Trajectory

_HERE = Path(__file__).resolve().parent
VIEWER = next((f for f in (_HERE / "viewer", _HERE.parent / "web" / "viewer") if f.is_dir()), _HERE)  # in a wheel, else here
ENTRY = "page.mjs"

_IMPORT = re.compile(r'^import [^;]*? from "\./([\w.]+)";\n', re.MULTILINE)

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
<body class="rt-page">
<noscript>This page needs JavaScript to show its pictures.</noscript>
<script type="application/json" id="trajectory">{record}</script>
"""


def write_html(trajectory: Trajectory, path: str | PathLike) -> None:
    """Write the view of `trajectory` to `path`, which appears whole or not at all.

    Pictures are stored as the folder has them, pixel for pixel, so the file is a third larger than the folder.
    Raises RethinkError when a picture cannot be read or the file not be written.
    """
    path = Path(path)
    record = _in_script(trajectory.record)
    head = _PAGE.format(title=html.escape(trajectory.instruction), style=_read("viewer.css"), record=record)
    try:
        with appearing(path) as part, part.open("w", encoding="utf-8") as file:
            file.write(head)
            for name in (SOURCE, *(step.file for step in trajectory.steps)):  # one by one: a run may be larger than memory
                data = base64.b64encode((trajectory.folder / name).read_bytes()).decode()
                file.write(f'<script type="text/plain" id="{name}">data:image/png;base64,{data}</script>\n')
            file.write(f'<script type="module">\n{_joined(ENTRY)}</script>\n')
    except OSError as error:
        raise RethinkError(f"html: {path} cannot be written: {error}") from error


def _joined(name: str, seen: set[str] | None = None) -> str:
    """A module and what it imports as one, each after what it needs: no two of them use a name for different things."""
    seen = set() if seen is None else seen
    if name in seen:
        return ""
    seen.add(name)
    text = _read(name)
    before = "".join(_joined(needed, seen) for needed in _IMPORT.findall(text))
    return before + re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE)


def _read(name: str) -> str:
    try:
        return (VIEWER / name).read_text(encoding="utf-8")
    except OSError as error:
        raise RethinkError(f"html: the viewer is not installed ({error}); use the whole repository.") from error


def _in_script(record) -> str:
    """JSON that no text within can end the script element around it."""
    return json.dumps(record, ensure_ascii=False).replace("<", "\\u003c")
