"""ComfyUI's server brings it: anything, as far as types go."""

from typing import Any

def __getattr__(name: str) -> Any: ...
