"""The easy operations that the model learns to undo: one file each, with its parameters and templates.

Every module in this folder that defines OPERATION is found; there is no other list of them.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from ....errors import RethinkError
from .core import (
    Box,
    Choice,
    Operation,
    OperationResult,
    Range,
    Region,
    apply_operation,
    bounding_box,
    sample_region,
    whole_image,
)

__all__ = [
    "OPERATIONS",
    "Box",
    "Choice",
    "Operation",
    "OperationResult",
    "Range",
    "Region",
    "apply_operation",
    "bounding_box",
    "get_operation",
    "sample_region",
    "whole_image",
]

# The order in menus; operations not listed here come last, by name.
MENU = (
    *("cover", "blur", "pixelate"),
    *("greyscale", "exposure", "relight", "old_photo", "compress", "weather"),
    *("crop_pad", "distort", "line_art", "watermark"),
    *("remove_object", "text_erase", "flat_background"),
)


def _find_operations() -> dict[str, Operation]:
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found = {module.OPERATION.id: module.OPERATION for module in modules if hasattr(module, "OPERATION")}
    return {id: found[id] for id in sorted(found, key=lambda id: (MENU.index(id) if id in MENU else len(MENU), id))}


OPERATIONS = _find_operations()


def get_operation(id: str) -> Operation:
    """The operation of this id. Raises RethinkError naming the known ones."""
    if id not in OPERATIONS:
        raise RethinkError(f"operation: there is no {id!r}; choose one of {', '.join(OPERATIONS)}.")
    return OPERATIONS[id]
