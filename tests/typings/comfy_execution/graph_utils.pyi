"""What the pack takes of ComfyUI's, which no package holds."""

from typing import Any

class GraphBuilder:
    def __getattr__(self, name: str) -> Any: ...

def is_link(obj: object) -> bool: ...
