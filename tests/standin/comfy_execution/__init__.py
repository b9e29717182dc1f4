"""Stand-in for ComfyUI's executor."""
