"""ComfyUI's graph of a running prompt, kept apart: older versions lack it, and only the Think Loop needs it."""

from comfy_execution.graph_utils import GraphBuilder, is_link

__all__ = ["GraphBuilder", "is_link"]
