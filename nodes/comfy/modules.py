"""ComfyUI's own modules, imported on first use: not every host of the pack has them."""

import importlib
from typing import Any

from ...rethink.errors import RethinkError


def comfy_module(module: str) -> Any:
    """Import a module of ComfyUI on first use. Raises RethinkError if it does not exist."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RethinkError(
            f"model: ComfyUI's own models need a real and recent ComfyUI; this host has no {module} ({error})."
        ) from error


def comfy_extra(name: str) -> Any:
    """ComfyUI's own nodes in comfy_extras/nodes_NAME.py."""
    return comfy_module(f"comfy_extras.nodes_{name}")
