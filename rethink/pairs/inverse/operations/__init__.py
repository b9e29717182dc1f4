"""The easy operations whose undoing is the edit to be learnt: the table of all of them."""

from __future__ import annotations

from ....errors import RethinkError
from .core import PARAMETERS, Box, Choice, Damaged, Operation, Place, Range, box_of, damage, sample_region, whole
from .fill import FILL
from .layout import LAYOUT
from .obscure import LOCAL
from .overlay import OVERLAY
from .tone import TONE
from .weather import WEATHER

__all__ = [
    "OPERATIONS",
    "PARAMETERS",
    "Box",
    "Choice",
    "Damaged",
    "Operation",
    "Place",
    "Range",
    "box_of",
    "damage",
    "operation",
    "sample_region",
    "whole",
]

OPERATIONS: dict[str, Operation] = {op.id: op for op in (*LOCAL, *TONE, *WEATHER, *LAYOUT, *OVERLAY, *FILL)}


def operation(id: str) -> Operation:
    """Raises RethinkError naming the known ones."""
    if id not in OPERATIONS:
        raise RethinkError(f"operation: there is no {id!r}; choose among {', '.join(OPERATIONS)}.")
    return OPERATIONS[id]
