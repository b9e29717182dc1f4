"""Stand-in for comfy_api.latest: the few names that the pack uses."""

from . import io, ui


class ComfyExtension:
    async def on_load(self):
        pass

    async def get_node_list(self):
        raise NotImplementedError


__all__ = ["ComfyExtension", "io", "ui"]
