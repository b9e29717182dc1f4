"""Stand-in for ComfyUI's command line."""

from types import SimpleNamespace

args = SimpleNamespace(preview_size=512)
