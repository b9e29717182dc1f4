"""ComfyUI's own models, imported when they are first needed: not every host of the pack has them."""

import importlib
from typing import Any

from ...rethink.errors import RethinkError


def comfy_module(module: str) -> Any:
    """A module of ComfyUI's, imported when it is first needed. Raises RethinkError where there is none."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RethinkError(
            f"model: ComfyUI's own models need a real and recent ComfyUI; this host has no {module} ({error})."
        ) from error


def comfy_extra(name: str) -> Any:
    """ComfyUI's own nodes of comfy_extras/nodes_NAME.py."""
    return comfy_module(f"comfy_extras.nodes_{name}")
