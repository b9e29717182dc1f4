"""The instruction templates of every operation, and of an edit by an editor."""

from __future__ import annotations

from collections.abc import Sequence

from .operations import OPERATIONS

EDITOR = (
    "Restore {place}.",
    "Bring {place} back to what it was.",
    "Undo what was done to {place}.",
    "Undo this change: {inverse}.",
    "Reverse this edit: {inverse}.",
    "Take this edit back: {inverse}.",
    "Make the picture what it was before this edit: {inverse}.",
)

# {operation, or operation/variant: templates}
TEMPLATES: dict[str, Sequence[str]] = {
    f"{op.id}/{variant}" if variant else op.id: templates
    for op in OPERATIONS.values()
    for variant, templates in op.templates.items()
} | {"editor": EDITOR}
