"""Rethink: edit images by instruction, think while editing, and teach editors new edits. Torch in, torch out.

The names below are imported when they are first used, so that importing Rethink brings in nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .editors.loading import load_editor
    from .errors import RethinkError
    from .images import load_image, save_image
    from .pairs.store import PairStore
    from .think_job import ThinkJob
    from .think_loop import LoopConfig, ThinkTask, think_while_edit
    from .thinkers.loading import ThinkerConfig, open_thinker
    from .trajectory import load_trajectory

__all__ = [
    "LoopConfig",
    "PairStore",
    "RethinkError",
    "ThinkJob",
    "ThinkTask",
    "ThinkerConfig",
    "load_editor",
    "load_image",
    "load_trajectory",
    "open_thinker",
    "save_image",
    "think_while_edit",
]

_MODULES = {
    "LoopConfig": "loop_config",
    "PairStore": "pairs.store",
    "RethinkError": "errors",
    "ThinkJob": "think_job",
    "ThinkTask": "think_loop",
    "ThinkerConfig": "thinkers.loading",
    "load_editor": "editors.loading",
    "load_image": "images",
    "load_trajectory": "trajectory",
    "open_thinker": "thinkers.loading",
    "save_image": "images",
    "think_while_edit": "think_loop",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
