"""ComfyUI's graph of a running prompt. By itself, since older ones lack it, and only the Think Loop builds on it."""

from comfy_execution.graph_utils import GraphBuilder, is_link

__all__ = ["GraphBuilder", "is_link"]
