"""The dataset layouts of other tools: one file each, with its description, writer and reader.

Every module in this folder that defines FORMAT is found; there is no other list of them.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from ...errors import RethinkError
from .core import Format

__all__ = ["FORMATS", "Format", "get_format"]

# The order in menus; formats not listed here come last, by name.
MENU = (
    *("imagefolder", "instruct-pix2pix", "ai-toolkit", "musubi-tuner"),
    *("diffsynth", "simpletuner", "fal-zip", "webdataset"),
)


def _find_formats() -> dict[str, Format]:
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found = {module.FORMAT.name: module.FORMAT for module in modules if hasattr(module, "FORMAT")}
    return {
        name: found[name]
        for name in sorted(found, key=lambda name: (MENU.index(name) if name in MENU else len(MENU), name))
    }


FORMATS = _find_formats()


def get_format(name: str) -> Format:
    """The format of this name. Raises RethinkError naming the known ones."""
    if name not in FORMATS:
        raise RethinkError(f"format: there is no {name!r}; choose one of {', '.join(FORMATS)}.")
    return FORMATS[name]
