"""Self-contained pages: our modules joined into one script, and a policy that lets nothing else run.

What such a page shows may come from anyone: it is stored as data.
"""

import base64
import hashlib
import html
import re
from pathlib import Path

from .errors import RethinkError
from .records import json_text, replace_surrogates

_HERE = Path(__file__).resolve().parent
_IMPORT = re.compile(r'^import [^;]*? from "(\.\.?/[\w./]+)";\n', re.MULTILINE)


def web_folder(name: str) -> Path:
    """A folder of the pack's web part: next to the library in a wheel, else in the repository."""
    return next((folder for folder in (_HERE / name, _HERE.parent / "web" / name) if folder.is_dir()), _HERE)


def join_modules(entry: Path) -> str:
    """A module and its imports as one script, each after what it needs; no two of them use a name for different things.

    Raises RethinkError if one is missing.
    """
    return _joined(entry.resolve(), set())


def _joined(file: Path, seen: set[Path]) -> str:
    if file in seen:
        return ""
    seen.add(file)
    text = read_web_file(file)
    before = "".join(_joined((file.parent / needed).resolve(), seen) for needed in _IMPORT.findall(text))
    return before + re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE)


def read_web_file(file: Path) -> str:
    """The text of a module or a style sheet. Raises RethinkError if it is missing."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise RethinkError(f"html: the viewer is not installed ({error}); use the whole repository.") from error


def page_policy(style: str, script: str, *more: str, images: str = "data:") -> str:
    """What a page may do: run exactly this script, use exactly this style, and show images from `images`.

    By default, those are the images within it. Nothing else is allowed except `more`.
    """
    digests = {kind: hashlib.sha256(text.encode()).digest() for kind, text in (("style", style), ("script", script))}
    allowed = [f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" for kind, digest in digests.items()]
    return "; ".join(
        ["default-src 'none'", *allowed, f"img-src {images}", *more, "base-uri 'none'", "form-action 'none'"]
    )


def page_head(title: str, style: str, policy: str, kind: str, name: str, record: object) -> str:
    """The beginning of a page that its script draws. kind: the class of the body; name: the id of the record in it."""
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n'
        f'<link rel="icon" href="data:,">\n'  # else browsers ask a server for one
        f"<title>{html.escape(replace_surrogates(title))}</title>\n"
        f'<style>{style}</style>\n<body class="{kind}">\n'
        f"<noscript>This page needs JavaScript to show its images.</noscript>\n"
        f'<script type="application/json" id="{name}">{text_for_script(record)}</script>\n'
    )


def text_for_script(record: object) -> str:
    """JSON in which no text can end the script element around it."""
    return json_text(record).replace("<", "\\u003c")
